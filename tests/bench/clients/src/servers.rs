//! Knows how to start the servers and the services that answer through them.
//! Never: what is measured.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    TelexTcp,
    TelexUnix,
    Nats,
    Redis,
    Dbus,
}

const BUS_CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
    "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
    <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
"#;

/// A server with its service. Both end with it.
pub(crate) struct Running {
    children: Vec<Child>,
    pub(crate) address: String,
    _place: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    fn program(self) -> Option<PathBuf> {
        let name = match self {
            // Beside this program's own folder, as `run` builds it.
            Server::TelexTcp | Server::TelexUnix => return std::env::var_os("TELEXD").map(PathBuf::from),
            Server::Nats => "nats-server",
            Server::Redis => "redis-server",
            // It exits if it cannot log.
            Server::Dbus if !Path::new("/run/systemd/journal/socket").exists() => return None,
            Server::Dbus => "dbus-broker-launch",
        };
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    pub(crate) fn is_there(self) -> bool {
        self.program().is_some()
    }

    /// Starts it with its defaults, and the service behind it, and waits until both are there.
    pub(crate) fn start(self) -> Running {
        let place = tempfile::tempdir().expect("a directory");
        let program = self.program().expect("a server that is there");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let socket = place.path().join("socket");
        let unix = socket.display().to_string();
        let mut command = Command::new(&program);
        let address = match self {
            Server::TelexTcp => {
                command.args(["--listen", &format!("tcp:127.0.0.1:{port}")]);
                format!("tcp:127.0.0.1:{port}")
            }
            Server::TelexUnix => {
                command.args(["--listen", &format!("unix:{unix}")]);
                format!("unix:{unix}")
            }
            Server::Nats => {
                command.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
                format!("127.0.0.1:{port}")
            }
            Server::Redis => {
                command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
                format!("127.0.0.1:{port}")
            }
            Server::Dbus => {
                let config = place.path().join("bus.conf");
                std::fs::write(&config, BUS_CONFIG).expect("a configuration");
                command = Command::new("sh");
                command.args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0 </dev/null", "sh"]);
                command.arg(&program).args(["--scope", "user", "--config-file"]).arg(config);
                let address = format!("unix:path={unix}");
                command.env("DBUS_SESSION_BUS_ADDRESS", &address);
                command.stdin(OwnedFd::from(UnixListener::bind(&socket).expect("a socket")));
                address
            }
        };
        if self != Server::Dbus {
            command.stdin(Stdio::null());
        }
        command.current_dir(place.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut children = vec![command.spawn().expect("a server")];
        let is_there = || match self {
            Server::TelexUnix | Server::Dbus => UnixStream::connect(&socket).is_ok(),
            _ => TcpStream::connect(("127.0.0.1", port)).is_ok(),
        };
        let until = Instant::now() + Duration::from_secs(20);
        while !is_there() {
            assert!(Instant::now() < until, "{self:?} does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        if self != Server::Redis {
            let own = std::env::current_exe().expect("this program");
            let mut service = Command::new(own);
            service.args(["serve", self.word(), &address]).stdin(Stdio::null()).stdout(Stdio::piped());
            let mut service = service.spawn().expect("a service");
            let mut ready = [0; 1];
            let out = service.stdout.take().expect("its output");
            std::io::Read::read_exact(&mut { out }, &mut ready).expect("it is ready");
            children.push(service);
        }
        Running { children, address, _place: place }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Server::TelexTcp => "telex tcp",
            Server::TelexUnix => "telex unix",
            Server::Nats => "nats",
            Server::Redis => "redis",
            Server::Dbus => "zbus",
        }
    }
}
