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
    /// The poller tells when it is writable again. That ends only when it has told so and nothing is owed: whoever
    /// has been full once is likely to be so again, and each change is a system call.
    pub(super) awaits_room: bool,
    /// The peer has sent urgent bytes: a read may end before all that is there.
    pub(super) urgent: bool,
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
            awaits_room: false,
            urgent: false,
            ends: false,
            ended: false,
            broke: false,
            resumes: false,
            queued: false,
        }
    }
}

// A shorter token would lose the generation, and what comes late for one connection find another.
const _: () = assert!(usize::BITS >= u64::BITS, "telexd needs 64 bits: a session's key is its token");

/// The poller's token for a session: a session's key is never used again, so an event that is
/// still on its way when a connection is closed finds nobody.
pub(super) fn token_of(session: SessionKey) -> usize {
    session.data().as_ffi() as usize
}

/// The session of a token; none where it is that of something else. A key has its generation, which
/// is never 0, in its upper half; a token without one must not be made a key, for what comes out is
/// the key of the first session that ever stood in that place.
pub(super) fn session_of(token: usize) -> Option<SessionKey> {
    let token = token as u64;
    (token > u64::from(u32::MAX)).then(|| KeyData::from_ffi(token).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn small_tokens_are_of_no_session() {
        let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
        for at in 0..9 {
            let session = sessions.insert(());
            assert_eq!(session_of(token_of(session)), Some(session));
            assert_eq!(session_of(at), None);
        }
    }
}
