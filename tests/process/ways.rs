//! Odd ways to be started: sockets that are none to listen at, a place that is taken, variables and file systems that
//! are missing.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};

use crate::support::{Client, Starter, needs};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// What a shell does first to hand this descriptor over to the daemon, as the first of so many (sd_listen_fds(3)).
pub(super) fn handing_over(given: &impl AsFd, count: usize) -> String {
    fcntl(given.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).expect("inherited");
    let number = given.as_fd().as_raw_fd();
    // Not every shell knows numbers of more than one digit.
    format!("set -- bash -c 'exec 3<&{number}; LISTEN_FDS={count} LISTEN_PID=$$ exec \"$@\"' bash \"$@\"")
}

/// Why a daemon does not start that this descriptor is handed to.
fn refusal(given: &impl AsFd, count: usize) -> String {
    let give = handing_over(given, count);
    let told = Starter::new().before(&give).run();
    assert_eq!((told.code, &*told.out), (Some(1), ""), "{}", told.err);
    told.err
}

#[test]
fn what_is_handed_over_must_listen() {
    let dir = tempfile::tempdir().expect("a directory");
    let seqpacket = || -> OwnedFd {
        let socket =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("one");
        bind(socket.as_raw_fd(), &UnixAddr::new(&dir.path().join("seqpacket")).expect("a path"))
            .expect("bound");
        listen(&socket, Backlog::MAXCONN).expect("it listens");
        socket
    };
    let (_peer, connection) = UnixStream::pair().expect("a pair");
    let datagram = UnixDatagram::bind(dir.path().join("datagram")).expect("a socket");
    let cases: [(OwnedFd, &str); 4] = [
        (connection.into(), "descriptor 3 is a connection (Accept=yes); right is a socket that listens"),
        (datagram.into(), "descriptor 3 is a datagram socket (ListenDatagram=); right is ListenStream="),
        (seqpacket(), "descriptor 3 is a SEQPACKET socket (ListenSequentialPacket=)"),
        (File::open("/dev/null").expect("a file").into(), "descriptor 3 is no socket (ListenFIFO="),
    ];
    for (given, why) in cases {
        let told = refusal(&given, 1);
        assert!(told.contains(why), "{told}");
    }
    let listener = UnixListener::bind(dir.path().join("stream")).expect("a socket");
    let told = refusal(&listener, 5);
    assert!(
        told.contains("of the 5 descriptors from 3 on that LISTEN_FDS tells of, one is not open"),
        "{told}"
    );
    // What the daemon opens itself is not taken for it.
    let none = "set -- bash -c 'exec 3>&-; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"' bash \"$@\"";
    let told = Starter::new().before(none).run();
    assert_eq!((told.code, &*told.out), (Some(1), ""), "{}", told.err);
    let why = "of the 1 descriptors from 3 on that LISTEN_FDS tells of, one is not open";
    assert!(told.err.contains(why), "{}", told.err);
}

#[test]
fn a_process_that_hangs_at_the_socket_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("telex.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    listen(&listener, Backlog::new(0).expect("a number")).expect("no queue");
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let waiting: Vec<OwnedFd> = std::iter::from_fn(|| {
        let waits = socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a socket");
        connect(waits.as_raw_fd(), &UnixAddr::new(&path).expect("a path")).ok().map(|()| waits)
    })
    .collect();
    assert!(!waiting.is_empty());
    let began = Instant::now();
    let told = Starter::new().listen(&format!("unix:{}", path.display())).run();
    assert_eq!(told.code, Some(1));
    let why = "another process listens there already, and takes no connections: it is stopped, or hangs";
    assert!(told.err.contains(why), "{}", told.err);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(path.exists());
}

#[test]
fn a_profile_that_is_almost_named_as_the_host_is_told_of() {
    let host = nix::unistd::gethostname().expect("a name").into_string().expect("a text");
    let other = match host.split_once('.') {
        Some((first, _)) => first.to_owned(),
        None => format!("{host}.example.org"),
    };
    let with_config = || {
        let starter = Starter::new();
        let config = starter.dir().join("telexd.toml");
        fs::write(&config, format!("[profile.\"{other}\"]\nmax_names = 3\n")).expect("a configuration");
        starter.argument("--config").argument(config)
    };
    let why =
        format!("is not taken: this host is called {host:?}; name the profile so, or start telexd with");
    let checked = with_config().argument("--check").run();
    assert_eq!(checked.code, Some(0));
    assert!(checked.err.contains(&why) && checked.err.contains(&other), "{}", checked.err);
    let telexd = with_config().start();
    telexd.wait_for_log(&why);
    telexd.reload();
    assert_eq!(telexd.log().matches(&why).count(), 2, "{}", telexd.log());
}

/// What a shell as root does first, in file systems of its own, to become a daemon of another user.
fn as_nobody(first: &str) -> String {
    let as_user = format!("exec setpriv --reuid={NOBODY} --clear-groups env -u XDG_RUNTIME_DIR");
    format!("set -- unshare -m sh -c '{first} {as_user} \"$@\"' sh \"$@\"")
}

/// As `telex` and the snippets of README.md have it.
#[test]
fn without_a_runtime_directory_the_usual_one_is_taken() {
    if !needs::root() {
        return;
    }
    let start = |first: &str| {
        let starter = Starter::new().listen_by_itself();
        let copied =
            std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_telexd")).arg(starter.dir()).status();
        assert!(copied.expect("cp").success());
        nix::unistd::chown(starter.dir(), Some(NOBODY.into()), None).expect("chown");
        let binary = starter.dir().join("telexd");
        let before = format!("shift; set -- {} \"$@\"; {}", binary.display(), as_nobody(first));
        starter.before(&before)
    };
    let folder = format!("/run/user/{NOBODY}");
    let make = format!("mount -t tmpfs none /run; mkdir -p {folder}; chown {NOBODY} {folder};");
    let mut telexd = start(&make).start();
    assert_eq!(telexd.addresses, [format!("unix:{folder}/telex.sock")]);
    let socket = telexd.process().root().join(&folder[1..]).join("telex.sock");
    Client::connect(&format!("unix:{}", socket.display())).ping();
    telexd.stop();

    let told = start("mount -t tmpfs none /run;").run();
    assert_eq!(told.code, Some(1));
    let why =
        format!("$XDG_RUNTIME_DIR is no absolute path, and there is no {folder}; say where with --listen");
    assert!(told.err.contains(&why), "{}", told.err);
}

#[test]
fn it_serves_without_proc() {
    if !needs::root() {
        return;
    }
    let hide = "set -- unshare -m sh -c 'mount -t tmpfs none /proc; exec \"$@\"' sh \"$@\"";
    let mut telexd = Starter::new().before(hide).start();
    telexd.client().ping();
    telexd.reload();
    telexd.stop();
    assert!(!telexd.log().contains("warning"), "{}", telexd.log());
}
