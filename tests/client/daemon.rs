//! Knows a daemon that can be stopped, killed and started again where it was.
//! Never: what is said to it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use telex::address::Address;
use telex::client::{Handle, Reconnect};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Held by all daemons, or by one alone: what is measured of this process is not to be that of other tests.
static QUIET: RwLock<()> = RwLock::new(());

#[expect(dead_code, reason = "it is there to be dropped")]
enum Quiet {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

pub(crate) struct Daemon {
    _quiet: Quiet,
    dir: tempfile::TempDir,
    settings: Vec<String>,
    process: Child,
}

impl Daemon {
    /// A daemon with these settings, which listens when this returns.
    pub(crate) fn start(settings: &[&str]) -> Daemon {
        Daemon::with(settings, Quiet::Shared(QUIET.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The same, while no other test has one.
    pub(crate) fn start_alone(settings: &[&str]) -> Daemon {
        Daemon::with(settings, Quiet::Alone(QUIET.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn with(settings: &[&str], quiet: Quiet) -> Daemon {
        let dir = tempfile::tempdir().expect("a directory");
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let process = start(&dir, &settings);
        Daemon { _quiet: quiet, dir, settings, process }
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("SIGKILL");
        self.process.wait().expect("its end");
    }

    /// Starts it again, after its end.
    pub(crate) fn start_again(&mut self) {
        self.process = start(&self.dir, &self.settings);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).expect("a signal");
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.dir.path().join("telex.sock"))
    }

    pub(crate) fn connect(&self) -> Handle {
        let mut reconnect = Reconnect::default();
        reconnect.longest_delay = Duration::from_millis(200);
        Handle::builder().reconnect(reconnect).connect(&self.address()).expect("a connection")
    }
}

fn start(dir: &tempfile::TempDir, settings: &[String]) -> Child {
    let path = dir.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_telexd"));
    command.arg("--listen").arg(format!("unix:{}", path.join("telex.sock").display()));
    command.arg("--state-dir").arg(path.join("state")).current_dir(path);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET");
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("telexd");
    let mut said = BufReader::new(process.stdout.take().expect("its stdout"));
    let mut line = String::new();
    while !line.contains(" listens on ") {
        line.clear();
        assert_ne!(said.read_line(&mut line).expect("its stdout"), 0, "telexd does not start");
    }
    process
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
