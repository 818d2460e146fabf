{
    // For the examples of the documentation: a switch of their own in their process, at which `default_address` is,
    // and a house full of nodes at it: `heating`, `hall`, `attic`, `accounts` and `logger`.
    use std::time::Duration;
    use telex::address::Address;
    use telex::client::Handle;
    use telex::config::{CommandLine, Config, Machine};
    use telex::daemon::Daemon;

    let dir = tempfile::tempdir().expect("a directory");
    let address = format!("unix:{}", dir.path().join("telex.sock").display());
    let state = dir.path().join("state").display().to_string();
    let arguments = ["telexd", "--listen", &address, "--state-dir", &state, "--set", "log_level=error"];
    let command_line = CommandLine::parse(arguments).expect("arguments");
    // The user's own configuration has no say.
    for (name, value) in [("TELEX_ADDRESS", address.as_ref()), ("XDG_CONFIG_HOME", dir.path().as_os_str())] {
        // SAFETY: the example has no other thread yet.
        unsafe { std::env::set_var(name, value) };
    }
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let machine = Machine { host_name: "host".to_owned(), has_group: |_| true };
        let config = Config::load(&command_line, &machine).expect("a configuration");
        let daemon = Daemon::start(command_line, config, machine, Vec::new(), Vec::new()).expect("a daemon");
        ready.send(()).expect("an example");
        daemon.run().expect("a run to the end");
    });
    is_ready.recv().expect("a switch");

    let house = Handle::connect(&Address::parse(&address).expect("an address")).expect("a house");
    for name in ["heating", "hall", "attic", "accounts", "logger"] {
        house.register(name).wait().expect(name);
    }
    house.on_signal(|_| {});
    house.on("read", |_| Ok::<_, String>(r#"{"c":20.5}"#));
    house.on("add", |_| Ok::<_, String>(""));
    let ours = house.downgrade();
    // The heating looks at the thermometer, if there is one.
    house.on("set", move |_| {
        if let Some(house) = ours.upgrade() {
            drop(house.call("thermometer", "read", "", Duration::from_secs(5)));
        }
        Ok::<_, String>(r#"{"c":21}"#)
    });
    let sensors = house.subscribe("sensors", None).wait().expect("sensors");
    (dir, house, sensors)
}
