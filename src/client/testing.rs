//! Knows how to play a daemon, line by line.
//! Never: what a client should do.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::message::Message;

/// How long a test waits for what must come.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// The daemon's end, which fails rather than waiting forever.
pub(super) struct Peer(pub(super) BufReader<UnixStream>);

impl Peer {
    pub(super) fn new(stream: UnixStream) -> Peer {
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_write_timeout(Some(SOON)).expect("a timeout");
        Peer(BufReader::new(stream))
    }

    pub(super) fn hear(&mut self) -> Message {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        Message::read(line.trim_end().as_bytes().to_vec()).expect(&line)
    }

    /// The next line; `None` at the end.
    pub(super) fn hear_or_end(&mut self) -> Option<Message> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            read => {
                read.expect("a line");
                Message::read(line.trim_end().as_bytes().to_vec()).ok()
            }
        }
    }

    /// The next line; `None` if none begins in this time.
    pub(super) fn hear_or_nothing(&mut self, patience: Duration) -> Option<Message> {
        self.0.get_ref().set_read_timeout(Some(patience)).expect("a timeout");
        let is_there = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.0.get_ref().set_read_timeout(Some(SOON)).expect("a timeout");
        is_there.then(|| self.hear())
    }

    pub(super) fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("writing");
    }

    pub(super) fn signal(&mut self, body: &str) {
        self.say(&format!("{{\"message_type\":\"signal\",\"from\":\"x\",\"body\":{body}}}\n"));
    }

    pub(super) fn reply(&mut self, request: &Message, from: &str, fields: &str) {
        self.say(&reply(request, from, fields));
    }
}

/// The line of a reply.
pub(super) fn reply(request: &Message, from: &str, fields: &str) -> String {
    let id = &request.id().expect("an id").text;
    let message_type = request.message_type();
    format!(
        "{{\"message_type\":\"{message_type}_reply\",\"from\":{from},\"body\":{{\"in_reply_to\":\"{id}\",{fields}}}}}\n"
    )
}
