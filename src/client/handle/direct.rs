//! Knows how a handle speaks to a service without the daemon in between.
//! Never: how the service is found again when it has gone.

use std::time::{Duration, Instant};

use crate::client::ask;
use crate::client::blocking::{Client, is_for_the_daemon};
use crate::client::endpoints::{endpoints_of, in_turn};
use crate::client::error::Error;
use crate::client::handle::builder::Builder;
use crate::client::handle::connection::Handle;
use crate::client::lines::To;
use crate::client::message::Message;

impl Handle {
    /// Connects to the service `node_id` itself, at the endpoints that it registered: they are tried in turn, and
    /// 10 s at most in all. What is sent over the handle that comes out goes to the service without the daemon; it
    /// is addressed to `node_id` or, as to a daemon, to none ([`To::Daemon`]). Nothing can be registered, subscribed
    /// to or published there. A direct connection that is lost is not made again: the service may be somewhere
    /// else by then, so dial it anew.
    ///
    /// [`Error::Undialled`] if the node is not there, in which case no endpoint is tried, or if it has none, or does
    /// not answer at any; an error with `no_such_node` if the daemon has never heard of it. It blocks; in a
    /// handler it holds up what else comes.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// # let thermometer = telex::service::Service::builder("thermometer")
    /// #     .listen(telex::address::Address::Unix(_switch.0.path().join("thermometer.sock")))
    /// #     .on("read", |_| Ok::<_, String>(r#"{"c":20.5}"#))
    /// #     .start(&telex::client::default_address()?)?;
    /// use std::time::Duration;
    /// use telex::client::{Handle, default_address};
    ///
    /// let handle = Handle::connect(&default_address()?)?;
    /// let thermometer = handle.dial("thermometer")?;
    /// let reply = thermometer.call("thermometer", "read", "", Duration::from_secs(1)).wait()?;
    /// println!("{}", reply.body().unwrap_or("null"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dial(&self, node_id: &str) -> Result<Handle, Error> {
        Handle::builder().dial(self, node_id)
    }

    /// Has a node answer a request: directly if it can be dialled, over a connection of its own, else through the
    /// daemon. `timeout` is for all of it, of which dialling takes half at most. Nothing is sent twice: once the node
    /// has been reached directly, what goes wrong is the error. Other errors are those of [`call`](Handle::call) and
    /// [`dial`](Handle::dial). It blocks.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// # let thermometer = telex::service::Service::builder("thermometer")
    /// #     .listen(telex::address::Address::Unix(_switch.0.path().join("thermometer.sock")))
    /// #     .on("read", |_| Ok::<_, String>(r#"{"c":20.5}"#))
    /// #     .start(&telex::client::default_address()?)?;
    /// use std::time::Duration;
    /// use telex::client::{Handle, default_address};
    ///
    /// let handle = Handle::connect(&default_address()?)?;
    /// let reply = handle.talk("thermometer", "read", "", Duration::from_secs(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn talk(
        &self,
        node_id: &str,
        message_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let began = Instant::now();
        let left = |timeout: Duration| timeout.saturating_sub(began.elapsed());
        let resolved = self.resolved(node_id, timeout)?;
        match Client::dial_at(node_id, &resolved, left(timeout / 2)) {
            Ok(direct) => direct.call_once(node_id, message_type, body, left(timeout)),
            Err(error) if is_for_the_daemon(&error) => {
                self.call(node_id, message_type, body, left(timeout)).wait()
            }
            Err(error) => Err(error),
        }
    }

    fn resolved(&self, node_id: &str, within: Duration) -> Result<Message, Error> {
        let until = Instant::now().checked_add(within);
        self.ask(To::Daemon, "resolve", &ask::node_id(node_id), within, None, Ok).wait_until(until, within)
    }
}

impl Builder {
    /// Connects to the service `node_id` itself, as [`Handle::dial`] does; `through` is the connection to the daemon
    /// that is asked where it is. [`connect_timeout`](Builder::connect_timeout) is for all of it. What is chosen of
    /// names and of lost connections does not count.
    pub fn dial(self, through: &Handle, node_id: &str) -> Result<Handle, Error> {
        let (began, within) = (Instant::now(), self.connect_timeout);
        let resolved = through.resolved(node_id, within)?;
        let left = within.saturating_sub(began.elapsed());
        let builder = self.reconnect(None);
        in_turn(node_id, endpoints_of(node_id, &resolved)?, left, |address, within| {
            builder.clone().connect_timeout(within).begin(address)
        })
    }
}
