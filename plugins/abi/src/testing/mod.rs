//! Knows how a plugin is tested without a daemon: what is handed to it, and what it made of that.
//! Never: how that crosses to it.
//!
//! See [`FakeDaemon`].

mod call;
mod daemon;
mod host;
mod json;
mod library;

pub use daemon::FakeDaemon;
pub use library::load;

use crate::raw::Str;
use crate::{Kind, Transport, view};

/// A connection. By default it is `:1`, over a Unix socket, of the user 1000 and registered as `alice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The number of its unique id.
    pub connection: u64,
    /// The node IDs that it holds, in the order in which it took them.
    pub node_ids: Vec<String>,
    /// What it runs over.
    pub transport: Transport,
    /// Its user id, where the kernel has said.
    pub uid: Option<u32>,
    /// Its group id, where the kernel has said.
    pub gid: Option<u32>,
    /// Its process id.
    pub pid: Option<i32>,
    /// The authenticated name, over TCP.
    pub user: Option<String>,
    /// Whether it may `kill`, `tap` and `reload`.
    pub administrator: bool,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer {
            connection: 1,
            node_ids: vec!["alice".to_owned()],
            transport: Transport::Unix,
            uid: Some(1000),
            gid: Some(1000),
            pid: Some(4711),
            user: None,
            administrator: false,
        }
    }
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What.
    pub kind: Kind,
    /// Whether it happened before the instance was there.
    pub replayed: bool,
    /// The connection that it is about.
    pub peer: Option<&'a Peer>,
    /// The node ID that was taken or given up.
    pub node_id: Option<&'a str>,
    /// The pattern of a subscription.
    pub topic: Option<&'a str>,
    /// The group of a subscription.
    pub group: Option<&'a str>,
    /// Why something ended.
    pub reason: Option<&'a str>,
}

impl Event<'_> {
    /// One that is about nothing yet: the rest follows by `..Event::new(kind)`.
    pub fn new(kind: Kind) -> Self {
        Event { kind, replayed: false, peer: None, node_id: None, topic: None, group: None, reason: None }
    }
}

/// A signal that a plugin has emitted: to an address or to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The address.
    pub to: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// A JSON object.
    pub body: String,
}

/// The examples of a configuration in a README: its blocks of code that are marked `toml` and nothing else.
pub fn toml_examples(readme: &str) -> Vec<&str> {
    readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// A text that a plugin hands over, which by the header's word is one.
#[expect(unsafe_code, reason = "plugins speak C")]
unsafe fn owned(text: Str) -> Option<String> {
    // SAFETY: as the header demands.
    unsafe { view::text(text) }.map(str::to_owned)
}
