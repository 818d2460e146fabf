//! Knows how a monitor is asked for and ended.
//! Never: what is monitored.

use std::time::Duration;

use serde_json::Value;

use crate::node::base::{Callback, Fact, Node, Port};
use crate::node::down::Down;
use crate::node::ports::Action;
use crate::node::said::elements;

/// A monitor that stands. It does not end when this is dropped, and does not keep its node.
#[derive(Debug)]
pub struct Monitor {
    node: Node,
    number: u64,
}

/// Ends its monitor when it is dropped.
#[must_use = "a guard that is dropped ends its monitor"]
#[derive(Debug)]
pub struct Guard {
    monitor: Monitor,
}

impl Monitor {
    pub(super) fn new(node: &Node, number: u64) -> Monitor {
        let node = Node { inner: node.inner.clone(), owner: None };
        Monitor { node, number }
    }

    /// Ends it: it tells nothing any more, but for what is being told just now.
    pub fn end(&self) {
        self.node.inner.queue.push(Fact::Unwatch { number: self.number });
    }

    /// Ends it when the guard is dropped.
    pub fn guard(self) -> Guard {
        Guard { monitor: self }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.monitor.end();
    }
}

/// A monitor that is being asked for: say what is to come of it.
#[must_use = "a monitor does nothing unless it is told what is to come of it"]
#[derive(Debug)]
pub struct Mon<'a> {
    node: &'a Node,
    target: String,
    beat: Option<Duration>,
}

impl Node {
    /// Monitors a port of any node, or, by its node ID, another node, once: when the port dies, or messages
    /// between it and this node were lost, that is told; at once, if there is no such port.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::default_address;
    /// use telex::node::{Node, json};
    ///
    /// let node = Node::connect(&default_address()?, "supervisor")?;
    /// let port = node.port();
    /// port.rcv("worker died", |_, reason| println!("of {reason:?}"));
    /// let worker = node.spawn("factory", "worker", json!([]));
    /// node.mon(&worker).send(&port, "worker died");
    /// node.mon(&worker).beat(Duration::from_secs(5)).call(|_, down| println!("{down:?}"));
    ///
    /// // Ports that are linked die together.
    /// let other = node.port();
    /// other.link(&port);
    /// node.mon(&port).kill(&other);
    ///
    /// // A monitor ends with its guard, or when it is told to.
    /// let guard = node.mon(&port).call(|_, _| println!("not any more")).guard();
    /// drop(guard);
    /// node.mon(&port).call(|_, _| println!("nor this")).end();
    /// node.kil_with(&port, json!(["tired"]));
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn mon(&self, target: impl AsRef<str>) -> Mon<'_> {
        Mon { node: self, target: target.as_ref().to_owned(), beat: None }
    }
}

impl Mon<'_> {
    /// Asks the other node so often for a sign of life; a question that is not answered before the next finds
    /// it lost. So a node that is frozen is found out, after twice that time at most, and one whose handler takes
    /// longer than that, too. Of this node and its ports nothing is asked. Only nodes with ports answer: of any
    /// other one a beat finds that it is lost.
    pub fn beat(mut self, every: Duration) -> Self {
        self.beat = Some(every.max(Duration::from_millis(1)));
        self
    }

    /// Runs `callback`. A panic in it stops nothing else.
    pub fn call(self, callback: impl FnOnce(&Node, &Down) + Send + 'static) -> Monitor {
        self.stand(Action::Call(Box::new(callback)))
    }

    /// Links a port of any node: it dies of the same reason, if there is one.
    pub fn kill(self, port: impl AsRef<str>) -> Monitor {
        let port = port.as_ref().to_owned();
        self.stand(Action::Kill(port))
    }

    /// Sends a message to a port of any node, with the parts of [`Down::reason`] appended.
    pub fn send(self, port: impl AsRef<str>, message: impl Into<Value>) -> Monitor {
        let port = port.as_ref().to_owned();
        self.stand(Action::Send(port, elements(message.into())))
    }

    fn stand(self, action: Action<Callback>) -> Monitor {
        let number = self.node.inner.number();
        let (target, beat) = (self.target, self.beat);
        self.node.inner.queue.push(Fact::Watch { number, target, action, beat });
        Monitor::new(self.node, number)
    }
}

impl Port {
    /// Links this port to another: it dies of what that dies of.
    pub fn link(&self, target: impl AsRef<str>) -> Monitor {
        self.node.mon(target).kill(self)
    }
}
