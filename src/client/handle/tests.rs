//! A handle, and a daemon that does what a test says.

mod ending;
mod limits;
mod lost;
mod names;
mod ways;

use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread, spawn};
use std::time::Duration;

use super::options::Options;
use super::*;
use crate::address::Address;
use crate::client::dial::Stream as Socket;
use crate::client::testing::{Peer, SOON, reply};
use crate::client::{Driven, Error, Message};

/// Runs a future to its end, on this thread alone.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park_timeout(SOON);
    }
}

/// A handle without a way back, and a daemon that does what `daemon` says.
fn pair<T: Send + 'static>(daemon: impl FnOnce(Peer) -> T + Send + 'static) -> (Handle, JoinHandle<T>) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let daemon = spawn(move || daemon(Peer::new(theirs)));
    let options = Options {
        address: Address::Abstract("none".to_owned()),
        others: Vec::new(),
        connect_timeout: SOON,
        send_timeout: Duration::from_millis(200),
        output_bytes_max: output::OUTPUT_BYTES_MAX,
        reconnect: None,
    };
    (builder::start(Socket::Unix(ours), options).expect("a handle"), daemon)
}

fn call(handle: &Handle, body: &str) -> Answer {
    handle.call("a", "ask", body, SOON)
}

/// `n` in the body of an answer.
fn n(answer: Result<Message, Error>) -> i64 {
    answer.expect("a reply").body_value()["n"].as_i64().expect("a number")
}

/// A handle without threads, whose connection is restored.
fn up() -> Driven {
    let mut driven = Driven::new("p", Reconnect::default(), output::OUTPUT_BYTES_MAX);
    driven.opened();
    answer(&mut driven, "\"error\":null");
    assert!(driven.is_up());
    driven
}

/// The lines that are to be written, which are written by that.
fn written(driven: &mut Driven) -> Vec<Message> {
    let bytes = driven.output().to_vec();
    driven.wrote(bytes.len());
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Message::read(line.to_vec()).expect("a message")).collect()
}

/// Has the daemon answer all that is to be written.
fn answer(driven: &mut Driven, fields: &str) {
    for request in written(driven) {
        driven.received(reply(&request, "null", fields).as_bytes()).expect("a reply");
    }
}

/// The outcome, if it is there.
fn poll<T>(answer: &mut Answer<T>) -> Option<Result<T, Error>> {
    match Pin::new(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// A daemon that can be connected to again and again.
struct Place {
    _dir: tempfile::TempDir,
    address: Address,
    listener: UnixListener,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("telex.sock");
        let listener = UnixListener::bind(&path).expect("a listener");
        Place { _dir: dir, address: Address::Unix(path), listener }
    }

    /// The next connection, which has asked for the daemon's limits and been told them.
    fn accept(&self) -> Peer {
        self.accept_with(100)
    }

    /// The same, with a bound on requests.
    fn accept_with(&self, bound: usize) -> Peer {
        let (stream, _) = self.listener.accept().expect("a connection");
        let mut peer = Peer::new(stream);
        let whoami = peer.hear();
        assert_eq!(whoami.message_type(), "whoami");
        peer.reply(
            &whoami,
            "null",
            &format!("\"error\":null,\"daemon\":{{\"limits\":{{\"max_requests\":{bound}}}}}"),
        );
        peer
    }
}

impl Peer {
    /// Grants the next requests, which have to be of these types.
    fn grant(&mut self, message_types: &[&str]) -> Vec<Message> {
        let grant = |message_type: &&str| {
            let request = self.hear();
            assert_eq!(request.message_type(), *message_type, "{}", request.line());
            let name = request.body_value()["node_id"].to_string();
            self.reply(&request, "null", &format!("\"error\":null,\"node_id\":{name}"));
            request
        };
        message_types.iter().map(grant).collect()
    }

    /// Refuses the next request.
    fn refuse(&mut self, code: &str) -> Message {
        let request = self.hear();
        self.reply(&request, "null", &format!("\"error\":\"no\",\"code\":\"{code}\""));
        request
    }
}
