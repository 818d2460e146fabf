{
    // For the examples of the documentation: a switch of their own in their process, at which `default_address` is.
    use telex::config::{CommandLine, Config, Machine};
    use telex::daemon::Daemon;

    let dir = tempfile::tempdir().expect("a directory");
    let address = format!("unix:{}", dir.path().join("telex.sock").display());
    let state = dir.path().join("state").display().to_string();
    let arguments = ["telexd", "--listen", &address, "--state-dir", &state, "--set", "log_level=error"];
    let command_line = CommandLine::parse(arguments).expect("arguments");
    // SAFETY: the example has no other thread yet.
    unsafe { std::env::set_var("TELEX_ADDRESS", &address) };
    // Nor has the user's own configuration a say.
    unsafe { std::env::set_var("XDG_CONFIG_HOME", dir.path()) };
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let machine = Machine { host_name: "host".to_owned(), has_group: |_| true };
        let config = Config::load(&command_line, &machine).expect("a configuration");
        let daemon = Daemon::start(command_line, config, machine, Vec::new()).expect("a daemon");
        ready.send(()).expect("an example");
        daemon.run().expect("a run to the end");
    });
    is_ready.recv().expect("a switch");
    dir
}
