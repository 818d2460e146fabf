//! Knows lines over a socket, with a deadline on every step.
//! Never: the library's own client, whose faults might hide the daemon's.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PATIENCE;

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// One connection to a daemon.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
    buffer: Vec<u8>,
    /// Where in `buffer` the next line begins.
    start: usize,
    asked: u64,
}

impl Client {
    /// Connects to an address as the daemon prints it.
    pub(crate) fn connect(address: &str) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub(crate) fn try_connect(address: &str) -> io::Result<Client> {
        let socket = if let Some(name) = address.strip_prefix("unix:@") {
            Socket::Unix(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?)
        } else if let Some(path) = address.strip_prefix("unix:") {
            Socket::Unix(UnixStream::connect(path)?)
        } else {
            Socket::Tcp(TcpStream::connect(address.trim_start_matches("tcp:"))?)
        };
        match &socket {
            Socket::Unix(socket) => socket.set_write_timeout(Some(PATIENCE))?,
            Socket::Tcp(socket) => {
                socket.set_nodelay(true)?;
                socket.set_write_timeout(Some(PATIENCE))?;
            }
        }
        Ok(Client { socket, buffer: Vec::new(), start: 0, asked: 0 })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Tcp(socket) => socket.as_fd(),
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("writing");
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.socket {
            Socket::Unix(socket) => socket.write_all(bytes),
            Socket::Tcp(socket) => socket.write_all(bytes),
        }
    }

    /// Writes as much as the other side takes, and nothing more once it has taken nothing for
    /// `patience`; says how many bytes went.
    pub(crate) fn write_until_stuck(&mut self, bytes: &[u8], patience: Duration) -> usize {
        self.set_write_timeout(patience);
        let mut at = 0;
        while at < bytes.len() {
            let wrote = match &mut self.socket {
                Socket::Unix(socket) => socket.write(&bytes[at..]),
                Socket::Tcp(socket) => socket.write(&bytes[at..]),
            };
            match wrote {
                Ok(count) => at += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("writing: {error}"),
            }
        }
        self.set_write_timeout(PATIENCE);
        at
    }

    fn set_write_timeout(&self, patience: Duration) {
        let set = match &self.socket {
            Socket::Unix(socket) => socket.set_write_timeout(Some(patience)),
            Socket::Tcp(socket) => socket.set_write_timeout(Some(patience)),
        };
        set.expect("a write timeout");
    }

    /// Writes a line.
    pub(crate) fn send(&mut self, line: &Value) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// The next line, or none at the end of the connection, however it ends.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.line_within(PATIENCE).expect("a line or the end of the connection, in time")
    }

    /// The same; an error where the time is over.
    pub(crate) fn line_within(&mut self, patience: Duration) -> Result<Option<String>, Waited> {
        let deadline = Instant::now() + patience;
        let mut searched = self.start;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|&byte| byte == b'\n') {
                let line = self.buffer[self.start..searched + at].to_vec();
                self.start = searched + at + 1;
                if self.start == self.buffer.len() {
                    self.buffer.clear();
                    self.start = 0;
                }
                return Ok(Some(String::from_utf8(line).expect("UTF-8")));
            }
            searched = self.buffer.len();
            if self.start > 1 << 20 {
                self.buffer.drain(..self.start);
                searched -= self.start;
                self.start = 0;
            }
            if self.fill(deadline)? == 0 {
                assert_eq!(self.start, self.buffer.len(), "the connection ended in mid-line");
                return Ok(None);
            }
        }
    }

    fn fill(&mut self, deadline: Instant) -> Result<usize, Waited> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut chunk = [0; 65_536];
        let read = match &mut self.socket {
            Socket::Unix(socket) => {
                socket.set_read_timeout(Some(left)).expect("a read timeout");
                socket.read(&mut chunk)
            }
            Socket::Tcp(socket) => {
                socket.set_read_timeout(Some(left)).expect("a read timeout");
                socket.read(&mut chunk)
            }
        };
        match read {
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(count)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Waited),
                ErrorKind::Interrupted => self.fill(deadline),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(0),
                _ => panic!("reading: {error}"),
            },
        }
    }

    /// The next line, read as JSON.
    pub(crate) fn message(&mut self) -> Value {
        let line = self.line().expect("a line, not the end of the connection");
        serde_json::from_str(&line).expect(&line)
    }

    /// All lines up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.line()).map(|line| serde_json::from_str(&line).expect(&line)).collect()
    }

    /// Asserts that the connection ends without another line.
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.line(), None);
    }

    /// Asks the daemon something and gives the body of its answer, which must be the next line.
    pub(crate) fn ask(&mut self, message_type: &str, body: Value) -> Value {
        self.asked += 1;
        let id = format!("ask-{}", self.asked);
        self.send(&json!({"message_id": id, "message_type": message_type, "body": body}));
        let mut answer = self.message();
        assert_eq!(answer["body"]["in_reply_to"], json!(id), "{answer}");
        assert_eq!(answer["message_type"], json!(format!("{message_type}_reply")));
        answer["body"].take()
    }

    /// The same for what must succeed.
    pub(crate) fn ask_well(&mut self, message_type: &str, body: Value) -> Value {
        let answer = self.ask(message_type, body);
        assert_eq!(answer["error"], Value::Null, "{message_type}: {answer}");
        answer
    }

    /// Becomes an instance of a node; gives the unique id.
    pub(crate) fn register(&mut self, node_id: &str) -> String {
        let answer = self.ask_well("register", json!({"node_id": node_id}));
        answer["unique_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn unique_id(&mut self) -> String {
        self.ask_well("whoami", json!({}))["unique_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn stats(&mut self) -> Value {
        self.ask_well("stats", json!({}))
    }

    /// All that was sent before is handled when this returns, and nothing was answered to it.
    pub(crate) fn ping(&mut self) {
        self.ask_well("ping", json!({}));
    }

    /// Ends the writing side, as `nc -N` does.
    pub(crate) fn finish_writing(&self) {
        let done = match &self.socket {
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
        };
        done.expect("a half-close");
    }
}

/// The time was over.
#[derive(Debug)]
pub(crate) struct Waited;
