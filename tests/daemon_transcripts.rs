//! The stories of `tests/transcripts`, played with the real `telexd`: a process for each, over its
//! Unix socket and over TCP. Those that need another user, a slow reader or much time are played
//! with the core alone.
//!
//! What is sent over one connection is not handled before what is sent over another one later,
//! unless somebody waits for it: before another client does anything, the one before sends a
//! `ping`, and waits for its reply. That a connection came or went is seen in the daemon's log.

mod stage;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt::Linger};
use nix::unistd::Pid;

use stage::play::{Heard, Stage, play, play_all};
use stage::transcript::{How, Reading, Transcript};

/// When what should have come is missing.
const DEADLINE: Duration = Duration::from_secs(10);
/// In the ids of the pings that are no part of a story.
const MARK: &str = "~barrier-";

#[test]
fn every_story_over_unix_sockets() {
    play_all(false, play_with_a_process);
}

#[test]
fn every_story_over_tcp() {
    play_all(true, play_with_a_process);
}

fn play_with_a_process(story: &Transcript, tcp: bool) -> Result<(), String> {
    if story.core_only {
        return Ok(());
    }
    play(story, &mut Process::start(story, tcp))
}

/// A running daemon and its clients.
struct Process {
    child: Child,
    socket: PathBuf,
    port: u16,
    tcp: bool,
    numbers: u64,
    clients: BTreeMap<String, Client>,
    /// Who has sent what may not have been handled yet.
    unsettled: Option<String>,
    barriers: u64,
    log: Receiver<String>,
    logged: Vec<String>,
    _dir: tempfile::TempDir,
}

struct Client {
    number: u64,
    /// Of either kind: reading, writing and shutting down are the same system calls.
    socket: UnixStream,
    tcp: bool,
    /// Behind the last LF.
    read: Vec<u8>,
    lines: VecDeque<Vec<u8>>,
    half_closed: bool,
    in_a_line: bool,
    closed: bool,
}

impl Process {
    fn start(story: &Transcript, tcp: bool) -> Process {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("s");
        let mut command = Command::new(env!("CARGO_BIN_EXE_telexd"));
        command.arg("--listen").arg(format!("unix:{}", socket.display()));
        command.args(["--listen", "tcp:127.0.0.1:0", "--set", "log_level=debug"]);
        command.arg("--state-dir").arg(dir.path().join("state"));
        command.args(story.settings.iter().flat_map(|setting| ["--set", setting]));
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
        let mut child =
            piped.env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET").spawn().expect("telexd");
        let (sender, log) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("stderr"));
        spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let greeting = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let port = greeting
            .map_while(Result::ok)
            .find_map(|line| line.rsplit_once("tcp:127.0.0.1:")?.1.parse().ok());
        Process {
            port: port.unwrap_or_else(|| panic!("{}: telexd does not listen: {:?}", story.name, log.recv())),
            child,
            socket,
            tcp,
            numbers: 0,
            clients: BTreeMap::new(),
            unsettled: None,
            barriers: 0,
            log,
            logged: Vec::new(),
            _dir: dir,
        }
    }

    /// Waits until the daemon has logged one of these of a connection.
    fn wait_for(&mut self, number: u64, texts: &[&str]) -> bool {
        let is_it = |line: &String| texts.iter().any(|text| line.contains(&format!(" :{number} {text}")));
        let deadline = Instant::now() + DEADLINE;
        while !self.logged.iter().any(is_it) {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.logged.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap_or_else(|| panic!("{name} has not connected"))
    }

    /// Somebody is going to do something: what another one has done before is handled first.
    fn begin(&mut self, name: Option<&str>) {
        if let Some(before) = self.unsettled.take_if(|before| Some(before.as_str()) != name) {
            self.barrier(&before);
        }
    }

    /// Waits until all is handled that a client has sent, and it has got all that was for it.
    fn barrier(&mut self, name: &str) {
        self.barriers += 1;
        let id = format!("{MARK}{}", self.barriers);
        let Some(client) = self.clients.get_mut(name) else { return };
        if client.closed || client.half_closed || client.in_a_line {
            return;
        }
        let ping = format!("{{\"message_id\":\"{id}\",\"message_type\":\"ping\"}}\n");
        if client.socket.write_all(ping.as_bytes()).is_err() {
            return;
        }
        let mut lines = std::mem::take(&mut client.lines);
        loop {
            match client.hear() {
                Heard::Line(line) if mentions(&line, &id) && !mentions(&line, "\"tap\"") => break,
                Heard::Line(line) => lines.push_back(line),
                Heard::Cut(_) | Heard::Closed | Heard::Nothing => break,
            }
        }
        client.lines = lines;
    }
}

impl Client {
    /// The next line; waits for it.
    fn hear(&mut self) -> Heard {
        let mut buffer = [0; 65_536];
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Heard::Line(line);
            }
            if self.closed {
                return match std::mem::take(&mut self.read) {
                    rest if rest.is_empty() => Heard::Closed,
                    rest => Heard::Cut(rest),
                };
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => self.take(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.closed = true,
                Err(error) => panic!("reading: {error}"),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
        let Some(end) = self.read.iter().rposition(|&byte| byte == b'\n') else { return };
        let rest = self.read.split_off(end + 1);
        let lines = std::mem::replace(&mut self.read, rest);
        self.lines.extend(lines[..end].split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
    }

    /// The next line of the story.
    fn hear_story(&mut self) -> Heard {
        loop {
            match self.hear() {
                Heard::Line(line) if mentions(&line, MARK) => {}
                heard => return heard,
            }
        }
    }
}

fn mentions(line: &[u8], text: &str) -> bool {
    line.windows(text.len()).any(|window| window == text.as_bytes())
}

impl Stage for Process {
    fn connects(&mut self, name: &str, how: How) {
        self.begin(None);
        self.numbers += 1;
        let number = self.numbers;
        let tcp = how.tcp.unwrap_or(self.tcp);
        let socket = match tcp {
            true => {
                let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("TCP");
                // What has been sent is on its way, also where a hang-up follows at once.
                socket.set_nodelay(true).expect("a socket");
                UnixStream::from(OwnedFd::from(socket))
            }
            false => UnixStream::connect(&self.socket).expect("a Unix socket"),
        };
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        socket.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        let came = self.wait_for(number, &["connected over", "a connection was refused"]);
        assert!(came, "{name} is not served: {}", self.testimony());
        let client = Client {
            number,
            socket,
            tcp,
            read: Vec::new(),
            lines: VecDeque::new(),
            half_closed: false,
            in_a_line: false,
            closed: false,
        };
        self.clients.insert(name.to_owned(), client);
    }

    fn sends(&mut self, name: &str, bytes: &[u8]) {
        self.begin(Some(name));
        let client = self.client(name);
        client.in_a_line = bytes.last() != Some(&b'\n');
        // What cannot be sent to a daemon that has closed the connection is not answered either,
        // and that is seen.
        let _ = client.socket.write_all(bytes);
        self.unsettled = Some(name.to_owned());
    }

    fn reads(&mut self, _: &str, _: Reading) {
        unreachable!("only with the core");
    }

    fn half_closes(&mut self, name: &str) {
        self.begin(Some(name));
        let client = self.client(name);
        client.half_closed = true;
        let number = client.number;
        client.socket.shutdown(Shutdown::Write).expect("a connection");
        assert!(self.wait_for(number, &["left"]), "{name} has not left: {}", self.testimony());
        self.unsettled = None;
    }

    fn hangs_up(&mut self, name: &str) {
        self.begin(Some(name));
        self.unsettled = None;
        let Some(client) = self.clients.remove(name) else { panic!("{name} has not connected") };
        if client.tcp {
            // Without this the daemon could not tell it from one that only writes no more.
            let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&client.socket, Linger, &at_once).expect("a socket");
        }
        let (number, closed) = (client.number, client.closed);
        drop(client);
        let is_over = closed || self.wait_for(number, &["is closed"]);
        assert!(is_over, "{name} has not gone: {}", self.testimony());
    }

    fn hears(&mut self, name: &str) -> Heard {
        self.client(name).hear_story()
    }

    fn has_heard(&mut self, name: &str) -> Heard {
        self.begin(Some(name));
        self.barrier(name);
        let client = self.client(name);
        if client.closed {
            return client.hear_story();
        }
        // All that has come is in its socket's buffer, or has been read.
        client.socket.set_nonblocking(true).expect("a socket");
        let heard = client.hear_story();
        client.socket.set_nonblocking(false).expect("a socket");
        heard
    }

    fn pass(&mut self, time: Duration) {
        self.begin(None);
        sleep(time);
    }

    fn reloads(&mut self, _: &Result<serde_json::Value, String>) {
        unreachable!("only with the core");
    }

    fn stop(&mut self) {
        self.begin(None);
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("telexd");
    }

    fn clients(&self) -> Vec<String> {
        self.clients.keys().cloned().collect()
    }

    fn testimony(&mut self) -> String {
        self.logged.extend(self.log.try_iter());
        let last = self.logged.len().saturating_sub(20);
        self.logged[last..].join("\n") + "\n"
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have stopped by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
