//! Knows what came while something else was done, in its order, and how much of that is too much.
//! Never: what it says.

use std::collections::VecDeque;

use crate::client::fault::Fault;
use crate::client::message::Message;

/// What a [`Client`](crate::client::Client) keeps at most, in bytes of memory, of the messages that come
/// while it does something else; one message is kept however long it is. Past it calls end in
/// [`Error::KeptFull`](crate::client::Error::KeptFull) until
/// [`Client::next`](crate::client::Client::next) has taken some.
pub const KEPT_BYTES_MAX: usize = 16 << 20;

/// Messages, and lines that were none.
#[derive(Debug, Default)]
pub(super) struct Kept {
    queue: VecDeque<Result<Message, Fault>>,
    bytes: usize,
}

impl Kept {
    pub(super) fn push(&mut self, arrival: Result<Message, Fault>) {
        self.bytes += weight(&arrival);
        self.queue.push_back(arrival);
    }

    pub(super) fn pop(&mut self) -> Option<Result<Message, Fault>> {
        let arrival = self.queue.pop_front()?;
        self.bytes -= weight(&arrival);
        Some(arrival)
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < KEPT_BYTES_MAX || self.queue.len() < 2
    }
}

/// What is kept for an arrival: its line and what is around it.
fn weight(arrival: &Result<Message, Fault>) -> usize {
    arrival.as_ref().map_or(0, |message| message.line().len()) + size_of::<Message>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_taken_leaves_room() {
        let message = Message::read(b"{\"message_type\":\"signal\"}".to_vec()).expect("a message");
        let mut kept = Kept::default();
        kept.push(Ok(message));
        kept.push(Err(Fault::LineTooLong));
        assert!(kept.bytes > 0);
        assert!(matches!((kept.pop(), kept.pop(), kept.pop()), (Some(Ok(_)), Some(Err(_)), None)));
        assert_eq!(kept.bytes, 0);
    }
}
