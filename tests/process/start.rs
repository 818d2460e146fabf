//! How the daemon starts, and how it refuses to.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};

use nix::sys::signal::Signal;
use nix::unistd::{Uid, getgid};
use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd, needs, run};

/// A user and group that own nothing.
const NOBODY: u32 = 65_534;

fn echo(client: &mut Client) {
    let answer = client.ask_well("ping", json!({"n": 1}));
    assert_eq!(answer["body"], json!({"n": 1}));
}

#[test]
fn it_says_where_it_listens_and_how_to_try_it() {
    let mut telexd = Telexd::start();
    let path = telexd.dir().join("telex.sock");
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "telexd {version} listens on unix:{path}\n\
         try it: echo '{{\"message_type\":\"whoami\"}}' | nc -N -U {path}\n",
        path = path.display()
    );
    assert_eq!(telexd.greeting, expected);
    echo(&mut telexd.client());
    telexd.stop();
    assert!(!path.exists(), "the socket file is removed");
}

#[test]
fn every_kind_of_address_at_once() {
    let name = format!("telex-test-{}", std::process::id());
    let mut telexd = Starter::new()
        .listen(&format!("unix:@{name}"))
        .listen("tcp:127.0.0.1:0")
        .listen("tcp:[::1]:0")
        .listen("unix:relative.sock")
        .start();
    let addresses = telexd.addresses.clone();
    assert_eq!(addresses.len(), 4, "{addresses:?}");
    assert_eq!(addresses[0], format!("unix:@{name}"));
    for (address, start) in addresses[1..3].iter().zip(["tcp:127.0.0.1:", "tcp:[::1]:"]) {
        let port = address.strip_prefix(start).expect(address);
        assert_ne!(port, "0", "the real port is told");
    }
    assert_eq!(addresses[3], "unix:relative.sock");
    for address in &addresses[..3] {
        let mut client = Client::connect(address);
        let transport = client.ask_well("whoami", json!({}))["transport"].clone();
        assert_eq!(transport, json!(if address.starts_with("tcp") { "tcp" } else { "unix" }));
        // One exchange over each, with an instance behind the other kind of socket.
        let mut other = Client::connect(&addresses[1]);
        let node = format!("node {address}");
        other.register(&node);
        client.send(&json!({"message_id": 1, "message_type": "ask", "to": node}));
        let asked = other.message();
        other.send(&json!({"message_type": "ask_reply", "to": asked["from"], "body": {"in_reply_to": 1}}));
        assert_eq!(client.message()["from"], json!(node));
    }
    let mut last = Client::connect(&format!("unix:{}", telexd.dir().join("relative.sock").display()));
    echo(&mut last);
    telexd.stop();
}

#[test]
fn localhost_is_all_its_addresses_under_one_port() {
    let telexd = Starter::new().listen("tcp:localhost:0").start();
    let ports: Vec<_> = telexd.addresses.iter().filter_map(|address| address.rsplit(':').next()).collect();
    assert!(!ports.is_empty() && ports.iter().all(|port| *port == ports[0]), "{:?}", telexd.addresses);
    for address in &telexd.addresses {
        echo(&mut Client::connect(address));
    }
}

#[test]
fn the_setting_listen_is_used_where_no_option_is_given() {
    let starter = Starter::new();
    let config = starter.dir().join("telexd.toml");
    let socket = starter.dir().join("own.sock");
    fs::write(&config, format!("listen = [\"unix:{}\", \"127.0.0.1:*\"]\n", socket.display())).unwrap();
    let telexd = starter.listen_by_itself().argument("--config").argument(&config).start();
    assert_eq!(telexd.addresses[0], format!("unix:{}", socket.display()));
    assert_eq!(telexd.addresses.len(), 2);
    telexd.addresses.iter().for_each(|address| echo(&mut Client::connect(address)));
}

#[test]
fn version_help_and_check() {
    let told = run(&["--version"]);
    assert_eq!(
        (told.code, &*told.out, &*told.err),
        (Some(0), concat!("telexd ", env!("CARGO_PKG_VERSION"), "\n"), "")
    );
    let told = run(&["--help"]);
    assert_eq!((told.code, &*told.err), (Some(0), ""));
    assert!(told.out.contains("--listen") && told.out.contains("--check"), "{}", told.out);
    let told = run(&["--check"]);
    assert_eq!((told.code, &*told.err), (Some(0), ""), "{}", told.out);
    for wrong in [&["--nonsense"][..], &["stray"], &["--listen"], &["--listen", "tcp:nowhere"]] {
        let told = run(wrong);
        assert_eq!((told.code, &*told.out), (Some(2), ""), "{wrong:?}");
        assert!(
            told.err.starts_with("telexd: ") && told.err.contains(wrong[wrong.len() - 1]),
            "{}",
            told.err
        );
    }
}

#[test]
fn a_faulty_configuration_is_told_by_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("telexd.toml");
    let name = file.to_str().unwrap();
    for (text, line, key) in [
        ("# fine\nmax_names = 0\n", 2, "max_names"),
        ("max_lin_bytes = 2048\n", 1, "max_lin_bytes"),
        ("\n\nlisten = \"unix:/x\"\n", 3, "listen"),
        ("\nstall_timeout = \"10 parsecs\"\n", 2, "stall_timeout"),
        ("[profile.small]\nmax_queue_bytes = 1\n", 2, "max_queue_bytes"),
        ("max_names = 1\nmax_names = 2\n", 2, "duplicate key max_names"),
        ("max_line_bytes = \"1MiB\"\nmax_queue_bytes = \"2MiB\"\n", 2, "max_queue_bytes"),
        ("socket_mode = \"0999\"\n", 1, "socket_mode"),
        ("\nsocket_group = \"no-such-group-here\"\n", 2, "socket_group"),
    ] {
        fs::write(&file, text).unwrap();
        for check in [true, false] {
            let socket = format!("unix:{}/telex.sock", dir.path().display());
            let state = format!("{}/state", dir.path().display());
            let mut arguments = vec!["--config", name, "--listen", &socket, "--state-dir", &state];
            arguments.extend(check.then_some("--check"));
            let told = run(&arguments);
            assert_eq!((told.code, &*told.out), (Some(2), ""), "{text:?} {}", told.err);
            assert!(told.err.contains(&format!("{name}:{line}")), "{text:?}: {}", told.err);
            assert!(told.err.contains(key), "{text:?}: {}", told.err);
        }
    }
    let told = run(&["--config", "/nowhere/telexd.toml", "--check"]);
    assert_eq!(told.code, Some(2));
    assert!(told.err.contains("/nowhere/telexd.toml"), "{}", told.err);
}

#[test]
fn tcp_is_for_loopback_addresses_alone() {
    for address in ["tcp:0.0.0.0:0", "tcp:*:0", "tcp:[::]:0", "tcp:192.0.2.1:0"] {
        let told = Starter::new().listen(address).run();
        assert_ne!(told.code, Some(0), "{address}");
        assert!(told.err.contains("authentication") && told.err.contains("tcp:[::1]:PORT"), "{}", told.err);
    }
}

#[test]
fn without_an_address_others_than_root_use_their_runtime_directory() {
    let starter = Starter::new().listen_by_itself();
    let starter = if Uid::effective().is_root() { starter.user(NOBODY) } else { starter };
    let (runtime, config) = (starter.dir().to_owned(), starter.dir().join("none"));
    let mut telexd = starter
        .variable("XDG_RUNTIME_DIR", &runtime)
        .variable("HOME", config)
        .variable("XDG_STATE_HOME", &runtime)
        .start();
    assert_eq!(telexd.addresses, [format!("unix:{}/telex.sock", runtime.display())]);
    let mut client = telexd.client();
    let me = client.ask_well("whoami", json!({}));
    assert_eq!(me["uid"], json!(Uid::effective().as_raw()));
    assert_eq!(me["administrator"], json!(true), "root and the daemon's own user are");
    telexd.stop();

    let starter = Starter::new().listen_by_itself();
    let starter = if Uid::effective().is_root() { starter.user(NOBODY) } else { starter };
    let told = starter.variable("XDG_RUNTIME_DIR", "").run();
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("XDG_RUNTIME_DIR") && told.err.contains("--listen"), "{}", told.err);
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let mut first = Telexd::start();
    let path = first.dir().join("telex.sock");
    let address = format!("unix:{}", path.display());
    let told = Starter::new().listen(&address).run();
    assert_eq!((told.code, &*told.out), (Some(1), ""), "{}", told.err);
    assert!(told.err.contains(&address) && told.err.contains("listens there already"), "{}", told.err);
    echo(&mut first.client());

    first.signal(Signal::SIGKILL);
    first.wait();
    assert!(path.exists(), "it had no time to tidy up");
    let mut second = Starter::new().listen(&address).start();
    echo(&mut second.client());
    second.stop();
    assert!(!path.exists());
}

#[test]
fn what_is_no_listening_socket_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (file, folder) = (dir.path().join("file"), dir.path().join("folder"));
    let (link, datagram) = (dir.path().join("link"), dir.path().join("datagram"));
    fs::write(&file, "precious").unwrap();
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let _socket = UnixDatagram::bind(&datagram).unwrap();
    for path in [&file, &folder, &link, &datagram, &dir.path().join("not/there")] {
        let told = Starter::new().listen(&format!("unix:{}", path.display())).run();
        assert_eq!((told.code, &*told.out), (Some(1), ""), "{}", told.err);
        assert!(told.err.contains(path.to_str().unwrap()), "{}", told.err);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(folder.is_dir() && link.is_symlink());
    assert!(fs::metadata(&datagram).unwrap().file_type().is_socket());
}

#[test]
fn who_cannot_start_leaves_no_socket_behind() {
    let taken = Starter::new().listen("tcp:127.0.0.1:0").start();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("telex.sock");
    let address = format!("unix:{}", socket.display());
    let told = Starter::new().listen(&address).listen(&taken.addresses[0]).run();
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(!socket.exists(), "what listens nowhere has no file");
    let told = Starter::new().listen(&address).listen(&address).run();
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(!socket.exists());
    let told = Starter::new().listen(&address).state_dir("/dev/null/state".as_ref()).run();
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("/dev/null/state"), "{}", told.err);
    assert!(!socket.exists());
    if Uid::effective().is_root() {
        let told = Starter::new().user(NOBODY).set("socket_group=root").run();
        assert_eq!(told.code, Some(1));
        assert!(told.err.contains("socket_group"), "{}", told.err);
        let starter = Starter::new().user(NOBODY).set("socket_group=root");
        let socket = starter.dir().join("telex.sock");
        let mut telexd = starter.start_silently();
        assert_eq!(telexd.wait().code(), Some(1));
        assert!(!socket.exists());
    }
}

#[test]
fn an_abstract_name_or_a_port_that_is_taken() {
    let name = format!("telex-taken-{}", std::process::id());
    let first = Starter::new().listen(&format!("unix:@{name}")).listen("tcp:127.0.0.1:0").start();
    for address in &first.addresses {
        let told = Starter::new().listen(address).run();
        assert_eq!(told.code, Some(1), "{}", told.err);
        assert!(told.err.contains(address) && told.err.contains("listens there already"), "{}", told.err);
    }
}

#[test]
fn the_socket_file_has_the_mode_and_group_that_are_set() {
    let telexd = Telexd::start();
    let found = fs::metadata(telexd.dir().join("telex.sock")).unwrap();
    assert_eq!((found.permissions().mode() & 0o7777, found.gid()), (0o660, getgid().as_raw()));

    let telexd = Telexd::with(&["socket_mode=0606"]);
    let found = fs::metadata(telexd.dir().join("telex.sock")).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o606);

    let told = Starter::new().set("socket_group=no-such-group-here").run();
    assert_eq!(told.code, Some(2));
    assert!(told.err.contains("--set socket_group: is \"no-such-group-here\""), "{}", told.err);
}

#[test]
fn root_may_give_the_socket_file_any_group() {
    if !needs::root() {
        return;
    }
    // Whatever group this machine has besides root's.
    let groups = fs::read_to_string("/etc/group").unwrap();
    let (name, gid) = groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            Some((fields.next()?, fields.nth(1)?.parse::<u32>().ok()?))
        })
        .find(|(_, gid)| *gid != 0)
        .expect("a group");
    let telexd = Telexd::with(&[&format!("socket_group={name}")]);
    assert_eq!(fs::metadata(telexd.dir().join("telex.sock")).unwrap().gid(), gid);
}

#[test]
fn a_user_without_permission_cannot_connect() {
    if !needs::root() {
        return;
    }
    // Root may connect to everything, so the daemon is root's and the caller somebody else.
    let telexd = Telexd::with(&["socket_mode=0600"]);
    fs::set_permissions(telexd.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let state = telexd.dir().join("other-state");
    let socket = telexd.dir().join("telex.sock");
    let told =
        Starter::new().user(NOBODY).listen(&format!("unix:{}", socket.display())).state_dir(&state).run();
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(socket.exists(), "a socket that cannot be tried is left alone");
    echo(&mut telexd.client());
}

#[test]
fn the_socket_file_is_removed_only_where_it_is_still_its_own() {
    let mut telexd = Telexd::start();
    let path = telexd.dir().join("telex.sock");
    // In one step: a file that is only removed is made again.
    let others = telexd.dir().join("other.sock");
    let _other = UnixListener::bind(&others).unwrap();
    fs::rename(&others, &path).unwrap();
    telexd.stop();
    assert!(path.exists(), "it is another's by now");

    let mut telexd = Telexd::start();
    fs::remove_file(telexd.dir().join("telex.sock")).unwrap();
    telexd.stop();
    assert!(!telexd.log().contains("cannot remove"), "{}", telexd.log());
}

#[test]
fn the_limit_of_open_files_is_raised() {
    let telexd = Starter::new().before("ulimit -S -n 100; ulimit -H -n 5000").start();
    assert_eq!(telexd.process().open_files_limits(), ("5000".to_owned(), "5000".to_owned()));
}

#[test]
fn two_daemons_cannot_share_a_state_directory() {
    let first = Telexd::start();
    let state = first.dir().join("state");
    let dir = tempfile::tempdir().unwrap();
    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let told = Starter::new().listen(&format!("unix:{}", stale.display())).state_dir(&state).run();
    assert_eq!((told.code, &*told.out), (Some(1), ""));
    assert!(told.err.contains(state.to_str().unwrap()) && told.err.contains("--state-dir"), "{}", told.err);
    assert!(stale.exists(), "it may be that one's, bound a moment ago");
    echo(&mut first.client());
}

#[test]
fn unique_ids_are_never_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut last = 0;
    // However it ends, and also where it ends before it has served anybody.
    for end in [None, Some(Signal::SIGKILL), Some(Signal::SIGTERM), Some(Signal::SIGKILL), None] {
        let mut telexd = Starter::new().state_dir(&state).start();
        let mut clients: Vec<_> = (0..if end.is_none() { 0 } else { 3 }).map(|_| telexd.client()).collect();
        for client in &mut clients {
            let number: u64 = client.unique_id()[1..].parse().unwrap();
            assert!(number > last, "{number} after {last}");
            last = number;
        }
        telexd.signal(end.unwrap_or(Signal::SIGTERM));
        telexd.wait();
    }
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let told = Starter::new().state_dir(dir.path()).listen("unix:/not/there").run();
        assert_eq!(told.code, Some(1), "{}", told.err);
        let numbers = fs::read_to_string(dir.path().join("connections")).unwrap();
        assert_eq!(numbers.trim().parse(), Ok(1), "who cannot start uses none up");
    }
    let told = fs::write(state.join("connections"), "garbage")
        .map(|()| Starter::new().state_dir(&state).run())
        .unwrap();
    assert_eq!(told.code, Some(1), "better none than one that was used");
    assert!(told.err.contains("connections"), "{}", told.err);
}

#[test]
fn it_needs_no_stdout_and_no_stderr() {
    for before in ["exec >&- 2>&-", "exec >/dev/full 2>/dev/full"] {
        let telexd = Starter::new().before(before).start_silently();
        let address = format!("unix:{}", telexd.dir().join("telex.sock").display());
        let mut client = crate::support::wait_for("a listener", || Client::try_connect(&address).ok());
        assert_eq!(client.ask("nonsense", Value::Null)["code"], json!("unknown_type"));
        client.register("somebody");
        drop(client);
        // What is logged about that goes nowhere.
        let mut telexd = telexd;
        echo(&mut Client::connect(&address));
        telexd.stop();
    }
}

#[test]
fn a_profile_is_chosen_and_overlays() {
    let starter = Starter::new();
    let config = starter.dir().join("telexd.toml");
    fs::write(
        &config,
        "max_names = 3\n[profile.base]\nhost = \"beta\"\nmax_names = 2\n\
         [profile.small]\nparent = \"base\"\nmax_requests = 7\n",
    )
    .unwrap();
    let telexd =
        starter.argument("--config").argument(&config).argument("--profile").argument("small").start();
    let daemon = telexd.client().ask_well("whoami", json!({}))["daemon"].clone();
    assert_eq!(daemon["host"], json!("beta"));
    assert_eq!((&daemon["limits"]["max_names"], &daemon["limits"]["max_requests"]), (&json!(2), &json!(7)));
    let mut client = telexd.client();
    assert_eq!(client.ask_well("register", json!({"node_id": "at-%n"}))["node_id"], json!("at-beta"));
}
