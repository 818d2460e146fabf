//! Knows what can be asked of a node and of its ports.
//! Never: how it is done.

use std::fmt::Display;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::client::Handle;
use crate::node::base::{Fact, Function, GroupChange, Handler, Inner, Node, NodeChange, Port};
use crate::node::monitor::Monitor;
use crate::node::said::{elements, name_of};

/// The node of a port ID: what stands before the `#`.
///
/// ```
/// assert_eq!(telex::node::node_of("hall#7"), "hall");
/// assert_eq!(telex::node::node_of("hall"), "hall");
/// ```
pub fn node_of(port: &str) -> &str {
    crate::node::said::node_of(port)
}

impl Node {
    /// Its node ID.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Its connection, for calls and topics beside the ports. What no handler of it takes is the node's:
    /// leave its `inbox` and `on_signal` alone. To wait for an answer in a handler holds the node up; `then`
    /// does not.
    pub fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    /// Makes a port. Its ID is never used again. Give it a handler before its ID is told: a message to a port
    /// without any kills it.
    pub fn port(&self) -> Port {
        let name = new_name(&self.inner);
        let port = self.port_named(&name);
        self.inner.queue.push_prompt(Fact::Create { name });
        port
    }

    pub(super) fn port_named(&self, name: &str) -> Port {
        Port { node: self.clone(), id: format!("{}#{name}", self.inner.id).into() }
    }

    /// Sends a message to a port of any node. What one node sends to one port arrives in its order. Nothing
    /// tells that it did not arrive but a monitor of the port: without one, what is sent to a port that is
    /// not there is gone. A value that is no list is a message of one element.
    ///
    /// It blocks while 65,536 such requests wait for the node's thread, which itself does not.
    pub fn snd(&self, port: impl AsRef<str>, message: impl Into<Value>) {
        let to = port.as_ref().to_owned();
        self.inner.queue.push(Fact::Send { to, message: elements(message.into()) });
    }

    /// Ends a port of any node normally: its monitors are told an empty reason, and ports that are linked to
    /// it live.
    pub fn kil(&self, port: impl AsRef<str>) {
        self.kil_with(port, Vec::<Value>::new());
    }

    /// Kills a port of any node: its monitors are told the reason, and ports that are linked to it die of it,
    /// too. An empty list is no reason; null and `""` are one.
    pub fn kil_with(&self, port: impl AsRef<str>, reason: impl Into<Value>) {
        let port = port.as_ref().to_owned();
        self.inner.queue.push(Fact::Kill { port, reason: elements(reason.into()) });
    }

    /// Offers a function to all nodes: [`spawn`](Node::spawn) runs it on a new port, which is to get its
    /// handlers there. If it fails or panics, the port dies of `["die", TEXT]`.
    pub fn offer<E: Display>(
        &self,
        name: &str,
        function: impl Fn(&Port, &[Value]) -> Result<(), E> + Send + Sync + 'static,
    ) {
        let before = self.inner.lock_functions().insert(name.to_owned(), as_function(function));
        drop(before);
    }

    /// Makes a port of this node by a function that it offers, and waits for what came of it.
    pub(crate) fn start(&self, function: &str, args: Vec<Value>) -> Result<(), String> {
        let port = format!("{}#{}", self.inner.id, new_name(&self.inner));
        let (told, outcome) = channel();
        self.inner.queue.push(Fact::Start { port, function: function.to_owned(), args, told });
        outcome.recv().unwrap_or_else(|_| Err("the node has ended".to_owned()))
    }

    /// Makes a port on another node, or this one, by a function that it offers; `node` is a node ID, or the ID of
    /// any port of it. The ID that this gives can be sent to and monitored at once. Without such a function the port dies of `["no_such_function", TEXT,
    /// NAME]`; monitors that come later are told, too.
    pub fn spawn(&self, node: &str, function: &str, args: impl Into<Value>) -> String {
        let node = node_of(node);
        let port = format!("{node}#{}", new_name(&self.inner));
        self.inner.queue.push(Fact::Spawn {
            node: node.to_owned(),
            port: port.clone(),
            function: function.to_owned(),
            args: elements(args.into()),
        });
        port
    }

    /// Runs `work` after `delay`, unless the node has ended by then.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::{Handle, default_address};
    /// use telex::node::Node;
    ///
    /// let connection = Handle::builder().connect_timeout(Duration::from_secs(2));
    /// let node = Node::connect_with(connection, &default_address()?, "clock/%u")?;
    /// let (told, ticks) = std::sync::mpsc::channel();
    /// let port = node.port();
    /// port.rcv("tick", move |port, _| {
    ///     let _ = told.send(());
    ///     // One that is not wanted any more is taken away.
    ///     port.unrcv("tick");
    ///     port.after(Duration::from_secs(60), |port| port.node().kil(port));
    /// });
    /// let to = port.id().to_owned();
    /// node.after(Duration::from_millis(10), move |node| node.snd(&to, "tick"));
    /// assert!(ticks.recv().is_ok());
    /// // Calls and topics go over the same connection.
    /// node.handle().ping().wait()?;
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn after(&self, delay: Duration, work: impl FnOnce(&Node) + Send + 'static) {
        self.inner.queue.push_after(delay, Fact::Later { name: None, work: Box::new(work) });
    }

    /// The nodes that are or were at the switch, be they made with this library or not.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::default_address;
    /// use telex::node::Node;
    ///
    /// let node = Node::connect(&default_address()?, "watch")?;
    /// # while !node.node_is_up("attic") { std::thread::sleep(std::time::Duration::from_millis(1)); }
    /// assert_eq!((node.known_nodes(), node.node_is_up("nowhere")), (node.up_nodes(), false));
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn known_nodes(&self) -> Vec<String> {
        self.inner.lock_directory().known()
    }

    /// Those that are there, this one among them. While the connection is lost no other one is.
    pub fn up_nodes(&self) -> Vec<String> {
        self.inner.lock_directory().up()
    }

    /// Whether a node is there.
    pub fn node_is_up(&self, node: &str) -> bool {
        self.inner.lock_directory().is_up(node)
    }

    /// Tells of the other nodes: first of all that are there, then of every one that comes or goes, until the
    /// [`Monitor`] is ended.
    pub fn mon_nodes(&self, callback: impl FnMut(&Node, &NodeChange) + Send + 'static) -> Monitor {
        let number = self.inner.number();
        self.inner.queue.push(Fact::WatchNodes { number, callback: Box::new(callback) });
        Monitor::new(self, number)
    }

    /// Makes a port of this node a member of a group, until it dies. The group's name is one or more tokens
    /// of a topic, with dots between them; what is no such name is no group. It takes effect in its turn:
    /// [`Node::grp_get`] may not have it at once.
    pub fn grp_reg(&self, group: &str, port: &Port) {
        self.inner.queue.push(Fact::Group {
            group: group.to_owned(),
            port: port.id().to_owned(),
            is_member: true,
        });
    }

    /// Makes it a member no more.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::default_address;
    /// use telex::node::Node;
    ///
    /// let node = Node::connect(&default_address()?, "club")?;
    /// let port = node.port();
    /// let (told, counts) = std::sync::mpsc::channel();
    /// node.grp_mon("club.members", move |_, change| drop(told.send(change.members.len())));
    /// node.grp_reg("club.members", &port);
    /// node.grp_unreg("club.members", &port);
    /// assert_eq!(counts.iter().take(3).collect::<Vec<_>>(), [0, 1, 0]);
    /// assert!(node.grp_get("club.members").is_empty());
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn grp_unreg(&self, group: &str, port: &Port) {
        self.inner.queue.push(Fact::Group {
            group: group.to_owned(),
            port: port.id().to_owned(),
            is_member: false,
        });
    }

    /// The IDs of a group's members on all nodes, as far as they are known here.
    pub fn grp_get(&self, group: &str) -> Vec<String> {
        self.inner.lock_directory().members(group)
    }

    /// Tells the members of a group, at once, be it empty, and at every change, until the [`Monitor`] is ended.
    pub fn grp_mon(
        &self,
        group: &str,
        callback: impl FnMut(&Node, &GroupChange) + Send + 'static,
    ) -> Monitor {
        let number = self.inner.number();
        let callback = Box::new(callback);
        self.inner.queue.push(Fact::WatchGroup { number, group: group.to_owned(), callback });
        Monitor::new(self, number)
    }
}

impl Port {
    /// Its port ID, `NODE#NAME`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Hands `handler` the messages whose first element is the text `tag`, without it, in place of an earlier
    /// handler of that tag. It counts at once, also for messages that are on their way. A handler that panics
    /// kills its port: the reason is `"die"` and the text, or the [`Value`] that the panic was made with.
    pub fn rcv(&self, tag: &str, handler: impl FnMut(&Port, &[Value]) + Send + 'static) -> &Port {
        self.receive(Some(tag.to_owned()), handler)
    }

    /// Hands `handler` the messages that no tag takes, as they are. Without it such messages are ignored if
    /// there are tags, else they kill the port.
    pub fn rcv_default(&self, handler: impl FnMut(&Port, &[Value]) + Send + 'static) -> &Port {
        self.receive(None, handler)
    }

    /// Takes the handler of a tag away. A port that is left without any handler dies of the next message.
    pub fn unrcv(&self, tag: &str) -> &Port {
        let (name, tag) = (self.name().to_owned(), Some(tag.to_owned()));
        self.node.inner.queue.push_prompt(Fact::Receive { name, tag, handler: None });
        self
    }

    fn receive(&self, tag: Option<String>, handler: impl FnMut(&Port, &[Value]) + Send + 'static) -> &Port {
        let handler: Option<Handler> = Some(Arc::new(Mutex::new(handler)));
        self.node.inner.queue.push_prompt(Fact::Receive { name: self.name().to_owned(), tag, handler });
        self
    }

    /// Runs `work` after `delay`, if the port lives then. A panic in it kills the port, as one in a handler
    /// does.
    pub fn after(&self, delay: Duration, work: impl FnOnce(&Port) + Send + 'static) {
        let name = self.name().to_owned();
        let ours = name.clone();
        let work = Box::new(move |node: &Node| work(&node.port_named(&ours)));
        self.node.inner.queue.push_after(delay, Fact::Later { name: Some(name), work });
    }

    fn name(&self) -> &str {
        name_of(&self.id).unwrap_or_default()
    }
}

/// A function as it is kept.
pub(crate) fn as_function<E: Display>(
    function: impl Fn(&Port, &[Value]) -> Result<(), E> + Send + Sync + 'static,
) -> Function {
    Arc::new(move |port: &Port, args: &[Value]| function(port, args).map_err(|error| error.to_string()))
}

fn new_name(inner: &Inner) -> String {
    format!("{}.{}", inner.prefix, inner.number())
}
