//! Knows how connections are taken, and when they are not.
//! Never: what comes over them.

use std::io::{self, IoSlice};
use std::time::Duration;

use crate::clock::Now;
use crate::core::{Identity, Input, Peer, Repeats, SessionKey, Transport};
use crate::daemon::switch::{Sockets, Switch};
use crate::net::{Newcomer, Ready, Stream, is_shortage};
use crate::plugin::TurnedAway;
use crate::sys;

/// What there is to log of connections that cannot be taken or served.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    shortages: Repeats,
    /// The log has it that no connections are taken.
    is_told: bool,
    failures: Repeats,
}

impl Troubles {
    /// What to log of a shortage, if anything, with this many connections open: while connections come and go at
    /// the limit, every one of them is a shortage and its end.
    fn shortage(&mut self, error: &io::Error, open: usize, now: Duration) -> Option<String> {
        if self.is_told {
            return None;
        }
        self.shortages.count(now)?;
        self.is_told = true;
        Some(format!("no more connections are taken, with {open} open: {error}"))
    }

    /// What to log of a connection that could not be served, if anything.
    fn failure(&mut self, error: &io::Error, now: Duration) -> Option<String> {
        Some(match self.failures.count(now)? {
            1 => format!("a connection failed before it was served: {error}"),
            count => format!("{count} more connections failed before they were served: {error}"),
        })
    }
}

impl Switch {
    /// Takes the connections that wait. They are [opened](Switch::welcome) in a turn to come.
    pub(super) fn accept(&mut self, sockets: &mut Sockets, now: Now) {
        while let Some(error) = sockets.accept(now.mono) {
            match is_shortage(&error) {
                true => self.tell_shortage(&error, now),
                false => self.fail(&error, now),
            }
        }
        if sockets.refill().is_ok() && !sockets.has_waiting() && std::mem::take(&mut self.troubles.is_told) {
            self.log.notice("connections are taken again");
        }
    }

    fn tell_shortage(&mut self, error: &io::Error, now: Now) {
        if let Some(text) = self.troubles.shortage(error, self.core.connections(), now.mono) {
            self.log.warn(&text);
        }
    }

    fn fail(&mut self, error: &io::Error, now: Now) {
        if let Some(text) = self.troubles.failure(error, now.mono) {
            self.log.error(&text);
        }
    }

    /// Opens a connection that was taken, or tells its peer why not. Gives it as one that is ready.
    pub(super) fn welcome(
        &mut self,
        mut newcomer: Newcomer,
        sockets: &mut Sockets,
        now: Now,
    ) -> Option<Ready<SessionKey>> {
        let (number, peer) = self.introduce(&newcomer.stream, now)?;
        let shortage = sockets.refill().err();
        if let Some(error) = &shortage {
            self.tell_shortage(error, now);
        }
        let opened = match self.open(number, peer, shortage.is_some(), now) {
            Ok(session) => match sockets.open(session, newcomer) {
                Ok(ready) => Some(ready),
                Err(error) => {
                    self.fail(&error, now);
                    self.lose(session, sockets, now);
                    None
                }
            },
            Err(line) => {
                // A new socket has room for a line; a peer that has gone already needs none.
                let _ = newcomer.stream.write(&[IoSlice::new(&[&line[..], b"\n"].concat())]);
                newcomer.stream.close();
                None
            }
        };
        self.carry_out(sockets, now);
        if let Some(Ready { key: session, .. }) = opened
            && sockets.nears_end(session)
        {
            self.tell(Input::Ending { session }, sockets, now);
        }
        opened
    }

    /// Opens a connection, if there is room for it, or it is an administrator's, and no plugin is against it. If not,
    /// gives the line to tell its peer.
    fn open(
        &mut self,
        number: u64,
        peer: Peer,
        files_are_short: bool,
        now: Now,
    ) -> Result<SessionKey, Vec<u8>> {
        let has_room = !files_are_short && self.core.would_open(&peer);
        if (has_room || peer.administrator)
            && let Err(TurnedAway { plugin, reason }) = self.plugins.connected(number, &peer)
        {
            return Err(self.core.turn_away(number, &peer, &plugin, &reason, now));
        }
        match (has_room, peer.administrator) {
            (false, true) => self.core.open_beyond(number, peer, now),
            (false, false) if files_are_short => Err(self.core.refuse_for_files(number, &peer, now)),
            _ => self.core.open(number, peer, now),
        }
    }

    fn introduce(&mut self, stream: &Stream, now: Now) -> Option<(u64, Peer)> {
        let (transport, identity) = match stream {
            Stream::Tcp(_) => (Transport::Tcp, Ok(Identity::Anonymous)),
            Stream::Unix(stream, _) => (Transport::Unix, sys::identify(stream)),
        };
        match (self.numbers.take(), identity) {
            (Ok(number), Ok(identity)) => {
                let administrator = matches!(identity, Identity::Kernel { uid: Some(uid), .. } if uid == 0 || uid == sys::own_uid());
                Some((number, Peer { transport, identity, administrator }))
            }
            (Err(error), _) | (_, Err(error)) => {
                self.fail(&error, now);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn connections_that_fail_one_after_the_other_are_told_together() {
        let mut troubles = Troubles::default();
        let error = io::Error::from(io::ErrorKind::ConnectionAborted);
        let first = troubles.failure(&error, SECOND);
        assert_eq!(first.as_deref(), Some("a connection failed before it was served: connection aborted"));
        for n in 0..999 {
            assert_eq!(troubles.failure(&error, SECOND + Duration::from_millis(n)), None);
        }
        let later = troubles.failure(&error, 2 * SECOND).expect("a second later");
        assert!(later.starts_with("1000 more connections failed before they were served: "), "{later}");
    }

    #[test]
    fn a_shortage_that_stays_is_told_though_one_before_was_told_just_now() {
        let mut troubles = Troubles::default();
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        assert!(troubles.shortage(&error, 7, SECOND).is_some());
        assert_eq!(troubles.shortage(&error, 7, 3 * SECOND), None, "it is the same one");
        troubles.is_told = false;
        assert!(troubles.shortage(&error, 7, 3 * SECOND).is_some());
        troubles.is_told = false;
        assert_eq!(troubles.shortage(&error, 7, 3 * SECOND + SECOND / 2), None);
        assert!(troubles.shortage(&error, 7, 4 * SECOND + SECOND / 2).is_some());
    }
}
