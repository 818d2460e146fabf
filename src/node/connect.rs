//! Knows how a node is made.
//! Never: what is done with it.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::address::Address;
use crate::client::{Builder, Error, Handle, Register};
use crate::node::base::{Function, Inner, Node, Owner};
use crate::node::carry::{GROUPS, Streams, Turn};
use crate::node::directory::Directory;
use crate::node::queue::Queue;

impl Node {
    /// Connects and becomes the node `node_id`, in which `%n` is the host's name and `%u` something unique;
    /// no other connection can have it then. Errors are those of [`Handle::connect`] and
    /// [`Handle::register`].
    pub fn connect(address: &Address, node_id: &str) -> Result<Node, Error> {
        Node::connect_with(Handle::builder(), address, node_id)
    }

    /// The same over a connection of which something has been chosen. It must not register a name of its own:
    /// what a node sends comes from the first one.
    pub fn connect_with(builder: Builder, address: &Address, node_id: &str) -> Result<Node, Error> {
        Node::connect_offering(HashMap::new(), builder, address, node_id)
    }

    /// The same, offering functions before it can be asked for them.
    pub(crate) fn connect_offering(
        functions: HashMap<String, Function>,
        builder: Builder,
        address: &Address,
        node_id: &str,
    ) -> Result<Node, Error> {
        let handle = builder.connect(address)?;
        // Nothing that comes once the name is held may be missed.
        let inbox = handle.inbox();
        let changes = handle.changes();
        let groups = handle.subscribe(&format!("{GROUPS}.>"), None).wait()?;
        let questions = handle.subscribe(GROUPS, None).wait()?;
        let mut presence = handle.monitor("*").wait()?;
        let mut first = Vec::new();
        while let Some(word) = presence.wait(Some(Duration::ZERO))? {
            first.push(word);
        }
        let connection = handle.whoami().wait()?.unique_id;
        let terms = Register { node_id: Some(node_id.into()), exclusive: Some(true), ..Register::default() };
        let id = handle.register_with(&terms).wait()?;
        // A daemon that has lost its state counts connections anew.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
        let directory = Directory::new(&id);
        let inner = Arc::new(Inner {
            id,
            handle,
            queue: Arc::new(Queue::new()),
            prefix: format!("{}-{now:x}", connection.trim_start_matches(':')),
            numbers: AtomicU64::new(1),
            functions: Mutex::new(functions),
            directory: Mutex::new(directory),
        });
        let streams = Streams { inbox, changes, presence, groups, questions };
        let turn = Turn::new(Node { inner: Arc::clone(&inner), owner: None }, streams);
        let thread = thread::Builder::new().name("telex-node".to_owned());
        let started = thread.spawn(move || turn.run(first));
        started.map_err(|source| Error::Io { doing: "starting a thread", source })?;
        Ok(Node { owner: Some(Arc::new(Owner { inner: Arc::clone(&inner) })), inner })
    }
}
