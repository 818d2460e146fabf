//! Knows how a daemon is started and ended.
//! Never: what is said to it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Client, PATIENCE, Process, wait_for, wait_until};

/// What a daemon is started with.
#[derive(Debug)]
pub(crate) struct Starter {
    dir: TempDir,
    arguments: Vec<OsString>,
    listens: bool,
    keeps_state: bool,
    environment: Vec<(String, OsString)>,
    /// What the shell does before it becomes the daemon.
    before: String,
    user: Option<u32>,
    binary: PathBuf,
}

impl Starter {
    /// A directory of its own, where it listens at `telex.sock` and keeps its state in `state`.
    pub(crate) fn new() -> Starter {
        Starter {
            dir: tempfile::tempdir().expect("a directory"),
            arguments: Vec::new(),
            listens: false,
            keeps_state: false,
            environment: Vec::new(),
            before: String::new(),
            user: None,
            binary: env!("CARGO_BIN_EXE_telexd").into(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Listens here, in place of `telex.sock`.
    pub(crate) fn listen(mut self, address: &str) -> Starter {
        self.listens = true;
        self.arguments.extend(["--listen".into(), address.into()]);
        self
    }

    /// Listens where it finds right.
    pub(crate) fn listen_by_itself(mut self) -> Starter {
        self.listens = true;
        self
    }

    pub(crate) fn state_dir(mut self, dir: &Path) -> Starter {
        self.keeps_state = true;
        self.arguments.extend(["--state-dir".into(), dir.into()]);
        self
    }

    /// Keeps its state where it finds right.
    pub(crate) fn keep_state_by_itself(mut self) -> Starter {
        self.keeps_state = true;
        self
    }

    pub(crate) fn set(mut self, setting: &str) -> Starter {
        self.arguments.extend(["--set".into(), setting.into()]);
        self
    }

    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Starter {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Starter {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// A shell command that is run before, in the process that becomes the daemon: `ulimit`,
    /// `exec 2>&-`.
    pub(crate) fn before(mut self, command: &str) -> Starter {
        self.before = format!("{command}; ");
        self
    }

    /// Runs as another user, who gets the directory. For tests that run as root.
    pub(crate) fn user(mut self, user: u32) -> Starter {
        self.user = Some(user);
        std::os::unix::fs::chown(self.dir.path(), Some(user), Some(user)).expect("chown");
        // The build's directory may be closed to him. What this process itself has open for writing
        // would be inherited by children of other tests, and cannot be run while they have it.
        let copy = self.dir.path().join("telexd");
        let copied = Command::new("cp").arg(&self.binary).arg(&copy).status().expect("cp");
        assert!(copied.success(), "a copy of telexd");
        self.binary = copy;
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{}exec \"$@\"", self.before)).arg("sh");
        command.arg(&self.binary).args(&self.arguments);
        if !self.listens {
            command.arg("--listen").arg(format!("unix:{}", self.dir.path().join("telex.sock").display()));
        }
        if !self.keeps_state {
            command.arg("--state-dir").arg(self.dir.path().join("state"));
        }
        command.current_dir(self.dir.path()).env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Telexd {
        let mut telexd = self.start_silently();
        let mut stdout = BufReader::new(telexd.child.stdout.take().expect("its stdout"));
        loop {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("its stdout");
            let tells_address = line.split_once(" listens on ");
            telexd.greeting += &line;
            match tells_address {
                Some((_, address)) => telexd.addresses.push(address.trim_end().to_owned()),
                None if telexd.addresses.is_empty() => {
                    panic!("telexd does not start: {:?} {}", telexd.child.wait(), telexd.log())
                }
                None => break,
            }
        }
        telexd.stdout = Some(stdout);
        telexd
    }

    /// Starts it where nobody can say when it listens. Its stdout is what `before` leaves of it.
    pub(crate) fn start_silently(self) -> Telexd {
        let mut child = self.command().spawn().expect("telexd");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
        let kept = Arc::clone(&log);
        let reader = spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut kept = kept.lock().expect("the log");
                *kept += &line;
                kept.push('\n');
            }
        });
        Telexd {
            child,
            starter: self,
            addresses: Vec::new(),
            greeting: String::new(),
            stdout: None,
            log,
            reader: Some(reader),
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ran {
        run_to_end(self.command())
    }
}

/// A running daemon; it ends with the test.
#[derive(Debug)]
pub(crate) struct Telexd {
    child: Child,
    starter: Starter,
    pub(crate) addresses: Vec<String>,
    /// What it has said on stdout.
    pub(crate) greeting: String,
    pub(crate) stdout: Option<BufReader<ChildStdout>>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Telexd {
    /// A daemon with every default.
    pub(crate) fn start() -> Telexd {
        Starter::new().start()
    }

    pub(crate) fn with(settings: &[&str]) -> Telexd {
        settings.iter().fold(Starter::new(), |starter, setting| starter.set(setting)).start()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.starter.dir()
    }

    /// A connection to the first of its addresses.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.addresses[0])
    }

    /// The same, as an instance of a node.
    pub(crate) fn node(&self, node_id: &str) -> Client {
        let mut client = self.client();
        client.register(node_id);
        client
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a signal");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the end of telexd", || self.child.try_wait().expect("its state"));
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its log");
        }
        status
    }

    /// Ends it as its service manager would, and expects that all is well.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// What it has said on stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    pub(crate) fn wait_for_log(&self, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(part) {
            assert!(Instant::now() < deadline, "no {part:?} in:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Stops it in its tracks, so that a test can prepare what it finds at once.
    pub(crate) fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
        wait_until("telexd stopped", || self.process().is_stopped());
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Reads the configuration again and waits until that is done, well or not.
    pub(crate) fn reload(&self) {
        const DONE: [&str; 2] = ["configuration read again", "left as it was"];
        let count = || DONE.iter().map(|done| self.log().matches(done).count()).sum::<usize>();
        let before = count();
        self.signal(Signal::SIGHUP);
        wait_until("a reload", || count() > before);
    }
}

impl Drop for Telexd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("telexd said:\n{}", self.log());
        }
    }
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `telexd` with nothing but these arguments.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telexd"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    run_to_end(command)
}

fn run_to_end(mut command: Command) -> Ran {
    let mut child = command.spawn().expect("telexd");
    let status = {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match child.try_wait().expect("its state") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = child.kill();
                    panic!("telexd does not end by itself");
                }
                None => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
    };
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("stdout").read_to_string(&mut out).expect("UTF-8");
    child.stderr.take().expect("stderr").read_to_string(&mut err).expect("UTF-8");
    Ran { code: status.code(), out, err }
}
