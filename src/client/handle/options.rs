//! Knows what can be chosen about a handle.
//! Never: what follows from it.

use std::time::Duration;

use crate::address::Address;

/// What becomes of requests and signals that are sent while there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhileAway {
    /// They fail at once, with [`Error::Away`](crate::client::Error::Away).
    Fail,
    /// They wait for the connection, requests until their time is over, signals as far as there is room.
    Wait,
}

/// How a lost connection is made again.
///
/// ```
/// use std::time::Duration;
/// use telex::client::{Reconnect, WhileAway};
///
/// let mut reconnect = Reconnect::default();
/// reconnect.longest_delay = Duration::from_secs(5);
/// reconnect.meanwhile = WhileAway::Fail;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconnect {
    /// How long to wait before the first attempt: 50 ms. Every delay is shortened by up to half, by chance.
    pub first_delay: Duration,
    /// How long to wait at most, after delays that double: 10 s.
    pub longest_delay: Duration,
    /// What becomes of what is sent meanwhile: it waits.
    pub meanwhile: WhileAway,
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect {
            first_delay: Duration::from_millis(50),
            longest_delay: Duration::from_secs(10),
            meanwhile: WhileAway::Wait,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) address: Address,
    /// Other addresses of the switch, or of others, that are tried in turn after that one.
    pub(super) others: Vec<Address>,
    pub(super) connect_timeout: Duration,
    pub(super) send_timeout: Duration,
    /// How much is kept to be written before senders wait and calls are put off.
    pub(super) output_bytes_max: usize,
    /// `None`: a lost connection is the end.
    pub(super) reconnect: Option<Reconnect>,
}

impl Options {
    /// The address of the attempt of that number, from 1 on, to make a lost connection again.
    pub(super) fn address_of(&self, tries: u32) -> &Address {
        let at = (tries as usize - 1) % (self.others.len() + 1);
        if at == 0 { &self.address } else { &self.others[at - 1] }
    }

    /// Whether what is sent while there is no connection waits for it.
    pub(super) fn waits_while_away(&self) -> bool {
        self.reconnect.as_ref().is_some_and(|reconnect| reconnect.meanwhile == WhileAway::Wait)
    }
}
