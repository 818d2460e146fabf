//! A built library in a fake daemon, for tests that look at numbers of the interface.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::Path;

use telex_plugin::testing::{Event, FakeDaemon, Peer, load};
use telex_plugin::{Heard, Kind, Replacement, Transport, Verdict, raw};

/// A library with one instance.
pub(crate) struct Loaded {
    /// Who sends what is judged: over a Unix socket a uid, over TCP perhaps a name.
    pub(crate) uid: Option<u32>,
    pub(crate) user: Option<&'static str>,
    daemon: std::cell::RefCell<FakeDaemon>,
}

/// What became of a message or an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) verdict: i32,
    pub(crate) reason: Option<String>,
    pub(crate) replaced: Replacement,
}

impl Loaded {
    /// Loads a library and makes an instance, or tells why there is none.
    pub(crate) fn new(library: &Path, config: &str) -> Result<Loaded, String> {
        let daemon = FakeDaemon::start(load(library)?, config)?.into();
        Ok(Loaded { uid: Some(1000), user: None, daemon })
    }

    /// Its name and version.
    pub(crate) fn name(&self) -> [&str; 2] {
        let daemon = self.daemon.borrow();
        [daemon.plugin_name(), daemon.plugin_version()]
    }

    /// Has a line judged that "alice" has sent; none where the filter is not interested.
    pub(crate) fn judge(&self, line: &str) -> Option<Judged> {
        let (mut verdict, mut reason, mut replaced) = (raw::PASS, None, Replacement::default());
        match self.daemon.borrow_mut().judge(&self.peer(), line)? {
            Verdict::Pass => {}
            Verdict::Drop => verdict = raw::DROP,
            Verdict::Fault => verdict = raw::FAULT,
            Verdict::Reject(why) => (verdict, reason) = (raw::REJECT, Some(why)),
            Verdict::Replace(with) => (verdict, replaced) = (raw::REPLACE, with),
        }
        Some(Judged { verdict, reason, replaced })
    }

    /// Has the plugin hear of something, where it wants to.
    pub(crate) fn event(&self, kind: u32, node_id: Option<&str>) -> Option<Heard> {
        let kinds = [Kind::Connected, Kind::Registered, Kind::Disconnected, Kind::Reloaded];
        let kind = kinds.into_iter().find(|one| one.number() == kind).expect("a kind");
        let peer = self.peer();
        self.daemon.borrow_mut().event(&Event { peer: Some(&peer), node_id, ..Event::new(kind) })
    }

    fn peer(&self) -> Peer {
        Peer {
            uid: self.uid,
            user: self.user.map(str::to_owned),
            transport: if self.uid.is_some() { Transport::Unix } else { Transport::Tcp },
            ..Peer::default()
        }
    }
}
