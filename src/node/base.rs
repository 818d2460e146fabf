//! Knows what a node, a port and a handler are made of.
//! Never: what is done with them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::client::{Handle, Presence};
use crate::node::directory::Directory;
use crate::node::down::Down;
use crate::node::ports::Action;
use crate::node::queue::Queue;

/// What has become of a group, told by [`Node::grp_mon`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupChange {
    /// The IDs of all members, in their order.
    pub members: Vec<String>,
    /// Those that were not members before.
    pub joined: Vec<String>,
    /// Those that are not members any more.
    pub left: Vec<String>,
}

/// What has become of a node, told by [`Node::mon_nodes`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeChange {
    /// It is there.
    Up {
        /// The node ID.
        node: String,
    },
    /// It is there no more.
    Down {
        /// The node ID.
        node: String,
        /// Why, in the switch's words, as in [`Presence::Down`], or that the connection to the switch was lost.
        why: String,
    },
}

/// Takes messages.
pub(super) type Handler = Arc<Mutex<dyn FnMut(&Port, &[Value]) + Send>>;
/// Is told how something ended.
pub(super) type Callback = Box<dyn FnOnce(&Node, &Down) + Send>;
/// Makes a port what another node wants it to be.
pub(crate) type Function = Arc<dyn Fn(&Port, &[Value]) -> Result<(), String> + Send + Sync>;
pub(super) type OnGroup = Box<dyn FnMut(&Node, &GroupChange) + Send>;
pub(super) type OnNode = Box<dyn FnMut(&Node, &NodeChange) + Send>;
pub(super) type Work = Box<dyn FnOnce(&Node) + Send>;

/// What a node's thread is told.
pub(super) enum Fact {
    Create {
        name: String,
    },
    Receive {
        name: String,
        tag: Option<String>,
        handler: Option<Handler>,
    },
    Send {
        to: String,
        message: Vec<Value>,
    },
    Kill {
        port: String,
        reason: Vec<Value>,
    },
    Watch {
        number: u64,
        target: String,
        action: Action<Callback>,
        beat: Option<Duration>,
    },
    Unwatch {
        number: u64,
    },
    Beat {
        number: u64,
        every: Duration,
    },
    Spawn {
        node: String,
        port: String,
        function: String,
        args: Vec<Value>,
    },
    /// A port of this node is made by a function, and what came of it is told.
    Start {
        port: String,
        function: String,
        args: Vec<Value>,
        told: Sender<Result<(), String>>,
    },
    /// What was asked of another node about a port of it has been answered.
    Asked {
        target: String,
        ask: u64,
        answer: Result<(), Down>,
    },
    /// Another node could not be told to make a port.
    NotSpawned {
        port: String,
        why: String,
    },
    /// What the daemon has said of nodes, once all that they sent before is there.
    Present {
        news: Vec<Presence>,
    },
    /// The connection is up again after loss number `losses`, and all news of nodes has arrived.
    Back {
        losses: u64,
    },
    Group {
        group: String,
        port: String,
        is_member: bool,
    },
    WatchGroup {
        number: u64,
        group: String,
        callback: OnGroup,
    },
    WatchNodes {
        number: u64,
        callback: OnNode,
    },
    /// In the name of the port of that name, if there is one.
    Later {
        name: Option<String>,
        work: Work,
    },
}

pub(super) struct Inner {
    pub(super) id: String,
    pub(super) handle: Handle,
    pub(super) queue: Arc<Queue<Fact>>,
    /// What makes the names of ports unique.
    pub(super) prefix: String,
    pub(super) numbers: AtomicU64,
    pub(super) functions: Mutex<HashMap<String, Function>>,
    pub(super) directory: Mutex<Directory>,
}

/// Ends the node with the last of those that the application has.
pub(super) struct Owner {
    pub(super) inner: Arc<Inner>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.inner.queue.close();
        self.inner.queue.linger();
    }
}

/// A node: a connection to the switch with ports in it. Clones are the same node. It ends, and its ports with
/// it, when the last clone is dropped that [`Node::connect`] has led to. That drop waits, for 2 s at most,
/// until all that was asked for before is done and the name is free. The clones that handlers and callbacks
/// are handed do not keep the node.
///
/// All handlers and callbacks of a node run on one thread of its own, one after the other, so one that waits
/// holds all others up. What other methods ask for is done there, too, in the order in which it was asked
/// for.
#[derive(Clone)]
pub struct Node {
    pub(super) inner: Arc<Inner>,
    pub(super) owner: Option<Arc<Owner>>,
}

/// A port of this node. It is no more than a name: the port lives until it is killed, or its node ends. Do
/// not move one that you have made into a handler: it would keep the node from ending. A handler is handed
/// its port.
#[derive(Clone, Debug)]
pub struct Port {
    pub(super) node: Node,
    pub(super) id: Arc<str>,
}

impl Inner {
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn lock_directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_functions(&self) -> MutexGuard<'_, HashMap<String, Function>> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keeps = self.owner.is_some();
        f.debug_struct("Node").field("id", &self.inner.id).field("keeps", &keeps).finish_non_exhaustive()
    }
}

impl AsRef<str> for Port {
    fn as_ref(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}
