//! Knows what a client asks of the daemon itself, beyond names and subscriptions that begin.
//! Never: how a line gets there.

use crate::client::ask;
use crate::client::blocking::{CONTROL_TIMEOUT, Client};
use crate::client::error::Error;
use crate::client::lines::To;
use crate::client::message::Message;
use crate::client::told::{List, NodeList, ResolvedNode, Whoami};

/// Each waits up to 30 s for the daemon's answer, and keeps what else comes meanwhile for [`Client::next`].
impl Client {
    /// Is an instance of `node_id` no more. [`Error::NotYours`] if it was none.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// let node_id = client.register("worker/%u")?;
    /// assert_eq!(client.whoami()?.node_ids, [node_id.as_str()]);
    /// client.unregister(&node_id)?;
    /// assert_eq!(client.whoami()?.node_ids, [""; 0]);
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn unregister(&mut self, node_id: &str) -> Result<(), Error> {
        self.control("unregister", &ask::node_id(node_id)).map(drop)
    }

    /// Ends what [`subscribe`](Client::subscribe) began with the same pattern and group. Messages that came before the
    /// daemon's answer are still given by [`next`](Client::next).
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// client.subscribe("sensor.>", None)?;
    /// client.unsubscribe("sensor.>", None)?;
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn unsubscribe(&mut self, pattern: &str, group: Option<&str>) -> Result<(), Error> {
        self.control("unsubscribe", &ask::subscribe(pattern, group)).map(drop)
    }

    /// Is told of every instance of the nodes whose node IDs match `pattern`, in which `*` is any run of characters: of
    /// those that are there now, and of all that come and go. [`next`](Client::next) gives signals of the daemon's whose
    /// body has `event` (`node_up` or `node_down`), `node_id`, `unique_id` and, of one that goes, `reason`.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// client.register("door.hall")?;
    /// client.monitor("door.*")?;
    /// let news = client.next(None)?.expect("news").body_value();
    /// assert_eq!((&news["event"], &news["node_id"]), (&"node_up".into(), &"door.hall".into()));
    /// client.unmonitor("door.*")?;
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn monitor(&mut self, pattern: &str) -> Result<(), Error> {
        self.control("monitor", &ask::node_id(pattern)).map(drop)
    }

    /// Ends what [`monitor`](Client::monitor) began with the same pattern.
    pub fn unmonitor(&mut self, pattern: &str) -> Result<(), Error> {
        self.control("unmonitor", &ask::node_id(pattern)).map(drop)
    }

    /// The nodes that are there, page by page.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, List, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// client.register("lamp.hall")?;
    /// let page = client.list(&List { pattern: Some("lamp.*"), ..List::default() })?;
    /// assert_eq!((page.nodes[0].node_id.as_str(), page.more), ("lamp.hall", false));
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn list(&mut self, list: &List<'_>) -> Result<NodeList, Error> {
        self.control("list", &list.body()).map(|reply| NodeList::read(&reply))
    }

    /// What is known of a node. [`Error::NoSuchNode`] if nothing is.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, Register, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// let meta = Some(r#"{"floor":2}"#);
    /// client.register_with(&Register { node_id: Some("lobby".into()), meta, ..Register::default() })?;
    /// let lobby = client.resolve("lobby")?;
    /// assert_eq!((lobby.instances.len(), lobby.meta.as_str()), (1, r#"{"floor":2}"#));
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn resolve(&mut self, node_id: &str) -> Result<ResolvedNode, Error> {
        self.control("resolve", &ask::node_id(node_id)).map(|reply| ResolvedNode::read(&reply))
    }

    /// A barrier: when it returns, the daemon has handled all that was sent before.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// client.publish("news", "1")?;
    /// client.ping()?;
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn ping(&mut self) -> Result<(), Error> {
        self.control("ping", "").map(drop)
    }

    /// What the daemon knows of this connection, and tells of itself.
    pub fn whoami(&mut self) -> Result<Whoami, Error> {
        self.control("whoami", "").map(|reply| Whoami::read(&reply))
    }

    fn control(&mut self, message_type: &str, body: &str) -> Result<Message, Error> {
        self.call(To::Daemon, message_type, body, CONTROL_TIMEOUT)
    }
}
