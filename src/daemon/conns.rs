//! Knows which socket belongs to which session, and what is known of its readiness.
//! Never: what is read or written.

use slotmap::{Key, KeyData, SecondaryMap};

use crate::core::SessionKey;
use crate::net::Stream;

/// All connections, by their sessions.
pub(super) type Conns = SecondaryMap<SessionKey, Conn>;

/// One connection. Readiness is told once per change, so it is remembered here.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: Stream,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The end of what the peer sends is near: reading goes on until it is seen.
    pub(super) ends: bool,
    /// It has been seen.
    pub(super) ended: bool,
    /// Writing is of no use any more, and the core knows.
    pub(super) broke: bool,
    /// The core wants to go on with what it has kept of this session.
    pub(super) resumes: bool,
    /// It is in the list of those that have something to be done.
    pub(super) queued: bool,
}

impl Conn {
    pub(super) fn new(stream: Stream) -> Conn {
        Conn {
            stream,
            readable: true,
            writable: true,
            ends: false,
            ended: false,
            broke: false,
            resumes: false,
            queued: false,
        }
    }
}

/// The poller's token for a session: a session's key is never used again, so an event that is
/// still on its way when a connection is closed finds nobody.
pub(super) fn token_of(session: SessionKey) -> usize {
    session.data().as_ffi() as usize
}

/// The session of a token.
pub(super) fn session_of(token: usize) -> SessionKey {
    KeyData::from_ffi(token as u64).into()
}
