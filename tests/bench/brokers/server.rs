//! Knows the servers' processes: how each is started on its core, reached, and what it has used.
//! Never: what is said to it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::dialect::{Dbus, Dialect, Mqtt, Nats, Party, Redis, Relay, Telex};

/// The core that the server has for itself, and the one that the load comes from.
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

/// How long anything may take that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Program {
    Telexd,
    Relay,
    Nats,
    Redis,
    Mosquitto,
    DbusBroker,
    /// Another build of telexd.
    Beside,
}

/// Where that is.
static BESIDE: OnceLock<PathBuf> = OnceLock::new();

pub(crate) fn set_beside(program: PathBuf) {
    // Of two the first one is it.
    let _ = BESIDE.set(program);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Transport {
    Unix,
    Tcp,
}

/// A program, and what it is reached over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Server(pub(crate) Program, pub(crate) Transport);

impl Server {
    /// Those of the table, in the order of its columns.
    pub(crate) const USUAL: [Server; 6] = [
        Server(Program::Telexd, Transport::Unix),
        Server(Program::Telexd, Transport::Tcp),
        Server(Program::Relay, Transport::Unix),
        Server(Program::Relay, Transport::Tcp),
        Server(Program::Nats, Transport::Tcp),
        Server(Program::Redis, Transport::Unix),
    ];

    pub(crate) const MOSQUITTO: Server = Server(Program::Mosquitto, Transport::Unix);

    pub(crate) const DBUS_BROKER: Server = Server(Program::DbusBroker, Transport::Unix);

    pub(crate) const BESIDE: [Server; 2] =
        [Server(Program::Beside, Transport::Unix), Server(Program::Beside, Transport::Tcp)];

    pub(crate) fn name(self) -> String {
        let program = match self.0 {
            Program::Telexd => "telexd",
            Program::Relay => "relay",
            Program::Nats => "nats",
            Program::Redis => "redis",
            Program::Mosquitto => "mosquitto",
            Program::DbusBroker => "dbus-broker",
            Program::Beside => "beside",
        };
        let transport = match self.1 {
            Transport::Unix => "unix",
            Transport::Tcp => "tcp",
        };
        format!("{program} {transport}")
    }

    fn dialect(self) -> Box<dyn Dialect> {
        match self.0 {
            Program::Telexd | Program::Beside => Box::new(Telex),
            Program::Relay => Box::new(Relay),
            Program::Nats => Box::new(Nats),
            Program::Redis => Box::new(Redis),
            Program::Mosquitto => Box::new(Mqtt),
            Program::DbusBroker => Box::new(Dbus::default()),
        }
    }

    /// Where the program is, where it is there.
    fn program(self) -> Option<PathBuf> {
        let name = match self.0 {
            Program::Telexd => return Some(env!("CARGO_BIN_EXE_telexd").into()),
            Program::Relay => return std::env::current_exe().ok(),
            Program::Nats => "nats-server",
            Program::Redis => "redis-server",
            Program::Mosquitto => "mosquitto",
            // The launcher exits where it cannot log.
            Program::DbusBroker if !Path::new("/run/systemd/journal/socket").exists() => return None,
            Program::DbusBroker => "dbus-broker-launch",
            Program::Beside => return BESIDE.get().cloned(),
        };
        let path = std::env::var_os("PATH")?;
        // Debian has servers where only root's path leads to.
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        folders.map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    pub(crate) fn is_there(self) -> bool {
        self.program().is_some()
    }

    /// Starts it with its defaults and waits until it can be reached.
    pub(crate) fn start(self) -> Running {
        let dir = tempfile::tempdir().expect("a directory");
        let address = match self.1 {
            Transport::Unix => Address::Unix(dir.path().join("socket")),
            Transport::Tcp => Address::Tcp(free_port()),
        };
        let program = self.program().expect("a server that is there");
        let mut command = match &address {
            Address::Unix(path) if self.0 == Program::DbusBroker => handed_over(&program, path),
            _ => {
                let mut command = Command::new(program);
                command.stdin(Stdio::null());
                command
            }
        };
        command.args(self.arguments(&address, dir.path())).current_dir(dir.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // It has the cores of who starts it, from its first thread on.
        pin(SERVER_CORE);
        let child = command.spawn().expect("a server");
        pin(LOAD_CORE);
        let (dialect, pid) = (self.dialect(), child.id());
        let mut running = Running { server: self, dialect, child, pid, address, _dir: dir };
        running.wait_for("a socket", || running.address.connect().ok());
        if self.0 == Program::DbusBroker {
            running.pid = running.wait_for("what the launcher launches", || child_of(pid));
        }
        running
    }

    fn arguments(self, address: &Address, dir: &Path) -> Vec<String> {
        let arguments = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match (self.0, address) {
            (Program::Telexd | Program::Beside, _) => {
                let state = dir.join("state").display().to_string();
                arguments(&["--listen", &address.to_string(), "--state-dir", &state])
            }
            (Program::Relay, _) => arguments(&["--relay", &address.to_string()]),
            (Program::Nats, Address::Tcp(port)) => arguments(&["-a", "127.0.0.1", "-p", &port.to_string()]),
            (Program::Redis, Address::Unix(path)) => {
                let path = path.display().to_string();
                arguments(&["--port", "0", "--unixsocket", &path, "--save", "", "--appendonly", "no"])
            }
            (Program::Mosquitto, Address::Unix(path)) => {
                let config = dir.join("mosquitto.conf");
                // It would drop messages for receivers that are behind, and become a user who may not be
                // here.
                let settings = "allow_anonymous true\nmax_queued_messages 0\nuser root\n";
                fs::write(&config, format!("listener 0 {}\n{settings}", path.display())).expect("a file");
                arguments(&["-c", &config.display().to_string()])
            }
            (Program::DbusBroker, _) => {
                let config = dir.join("bus.conf");
                fs::write(&config, BUS_CONFIG).expect("a file");
                arguments(&["--scope", "user", "--config-file", &config.display().to_string()])
            }
            (program, address) => panic!("{program:?} does not listen at {address}"),
        }
    }
}

/// Everybody may say everything to everybody, and more of it than usual.
const BUS_CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
    "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
    <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
    <limit name="max_incoming_bytes">1000000000</limit>
    <limit name="max_outgoing_bytes">1000000000</limit>
    <limit name="max_connections_per_user">10000</limit>
    <limit name="max_completed_connections">10000</limit>
</busconfig>
"#;

/// A program that is given its listening socket as systemd does it (sd_listen_fds(3)): by a shell, which knows
/// the number of the process that it becomes.
fn handed_over(program: &Path, path: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0 </dev/null", "sh"]).arg(program);
    let listener = UnixListener::bind(path).expect("a socket");
    command.stdin(OwnedFd::from(listener));
    // The launcher is a client of its own bus.
    command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", path.display()));
    command
}

/// The process that another one has started.
fn child_of(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Lets this process, and what it starts from now on, open as many files as it may.
pub(crate) fn raise_descriptor_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit");
}

/// Binds this process, and what it starts from now on, to one core.
fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).expect("a core");
    sched_setaffinity(Pid::from_raw(0), &cores).expect("two cores");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("a port").port()
}

/// Where a server listens, as telexd writes it.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(u16),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(port) => write!(f, "tcp:127.0.0.1:{port}"),
        }
    }
}

impl Address {
    pub(crate) fn parse(text: &str) -> Option<Address> {
        match text.split_once(':')? {
            ("unix", path) => Some(Address::Unix(path.into())),
            (_, address) => address.rsplit(':').next()?.parse().ok().map(Address::Tcp),
        }
    }

    /// A connection that does not block. Of either kind it is read and written like a file.
    fn connect(&self) -> io::Result<File> {
        let fd: OwnedFd = match self {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                stream.into()
            }
            Address::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                stream.into()
            }
        };
        Ok(fd.into())
    }
}

/// A server that runs; it ends with this.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) dialect: Box<dyn Dialect>,
    child: Child,
    /// The process that does the work.
    pid: u32,
    address: Address,
    _dir: TempDir,
}

impl Running {
    fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "{}: waited in vain for {what}", self.server.name());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Connects a client and waits until the server has taken it in.
    pub(crate) fn join(&self, party: &Party) -> File {
        let dialect = &self.dialect;
        let mut stream = self.wait_for("a connection", || self.address.connect().ok());
        stream.write_all(&dialect.hello(party)).expect("room in a new socket");
        let (mut heard, mut buffer, deadline) = (Vec::new(), [0; 4096], Instant::now() + PATIENCE);
        while !dialect.is_ready(&heard) {
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {}
                told => panic!("{party:?}: {told:?} after {}", String::from_utf8_lossy(&heard)),
            }
        }
        dialect.joined(party, &heard);
        stream
    }

    /// Time of all its threads, the kernel's work for it included, since it was started.
    pub(crate) fn cpu(&self) -> Duration {
        let clock = clock_getcpuclockid(Pid::from_raw(self.pid as i32)).expect("its clock");
        clock_gettime(clock).expect("its clock").into()
    }

    /// Memory that it has.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).expect("smaps");
        let line = text.lines().find(|line| line.starts_with("Rss:")).expect("Rss");
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect(line);
        kib * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
