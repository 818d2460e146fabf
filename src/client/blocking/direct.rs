//! Knows how one thread speaks to a service without the daemon in between.
//! Never: how the service is found again when it has gone.

use std::time::{Duration, Instant};

use crate::address::Address;
use crate::client::ask;
use crate::client::blocking::{CONNECT_TIMEOUT, Client, deadline_after};
use crate::client::endpoints::{endpoints_of, in_turn};
use crate::client::error::Error;
use crate::client::lines::To;
use crate::client::message::Message;
use crate::client::undialled::Undialled;

impl Client {
    /// Connects to the service `node_id` itself, at the endpoints that it registered: they are tried in turn, and
    /// 10 s at most in all. What is sent over the connection that comes out goes to the service without the
    /// daemon; it is addressed to `node_id` or, as to a daemon, to none ([`To::Daemon`]). Nothing can be
    /// registered, subscribed to or published there.
    ///
    /// [`Error::Undialled`] if the node is not there, in which case no endpoint is tried, or if it has none, or does
    /// not answer at any; an error with `no_such_node` if the daemon has never heard of it.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// # let thermometer = telex::service::Service::builder("thermometer")
    /// #     .listen(telex::address::Address::Unix(_switch.0.path().join("thermometer.sock")))
    /// #     .on("read", |_| Ok::<_, String>(r#"{"c":20.5}"#))
    /// #     .start(&telex::client::default_address()?)?;
    /// use std::time::Duration;
    /// use telex::client::{Client, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// let mut thermometer = client.dial("thermometer")?;
    /// // The same, within the time that there is.
    /// let other = client.dial_within("thermometer", Duration::from_secs(2))?;
    /// let reply = thermometer.call("thermometer", "read", "", Duration::from_secs(1))?;
    /// println!("{}", reply.body().unwrap_or("null"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dial(&mut self, node_id: &str) -> Result<Client, Error> {
        self.dial_within(node_id, CONNECT_TIMEOUT)
    }

    /// The same, for as long as `within` at most.
    pub fn dial_within(&mut self, node_id: &str, within: Duration) -> Result<Client, Error> {
        let began = Instant::now();
        let body = ask::node_id(node_id);
        let (ticket, new) = self
            .put(within, |session, out| session.request(To::Daemon, "resolve", &body, Some(within), out))?;
        let resolved = self.answer_within(ticket, new, within)?;
        Client::dial_at(node_id, &resolved, within.saturating_sub(began.elapsed()))
    }

    /// Has a node answer a request: directly if it can be dialled, else through the daemon. `timeout` is for all of
    /// it, of which dialling takes half at most. Nothing is sent twice: once the node has been reached directly, what
    /// goes wrong is the error. Other errors are those of [`call`](Client::call) and [`dial`](Client::dial).
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// # let thermometer = telex::service::Service::builder("thermometer")
    /// #     .listen(telex::address::Address::Unix(_switch.0.path().join("thermometer.sock")))
    /// #     .on("read", |_| Ok::<_, String>(r#"{"c":20.5}"#))
    /// #     .start(&telex::client::default_address()?)?;
    /// use std::time::Duration;
    /// use telex::client::{Client, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// let reply = client.talk("thermometer", "read", "", Duration::from_secs(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn talk(
        &mut self,
        node_id: &str,
        message_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let began = Instant::now();
        let dialled = self.dial_within(node_id, timeout / 2);
        let left = || timeout.saturating_sub(began.elapsed());
        match dialled {
            Ok(direct) => direct.call_once(node_id, message_type, body, left()),
            Err(error) if is_for_the_daemon(&error) => self.call(node_id, message_type, body, left()),
            Err(error) => Err(error),
        }
    }

    /// Connects to a node that the daemon has resolved.
    pub(in crate::client) fn dial_at(
        node_id: &str,
        resolved: &Message,
        within: Duration,
    ) -> Result<Client, Error> {
        let mut direct = in_turn(node_id, endpoints_of(node_id, resolved)?, within, Client::begin)?;
        direct.link.lingers = true;
        Ok(direct)
    }

    /// Makes the one call that a direct connection is for. A reply says that all has been taken, and beyond `timeout`
    /// nothing is waited for.
    pub(in crate::client) fn call_once(
        mut self,
        node_id: &str,
        message_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<Message, Error> {
        self.link.lingers = false;
        self.call(node_id, message_type, body, timeout)
    }

    /// Connects, and asks what answers there.
    fn begin(address: &Address, within: Duration) -> Result<(Client, Message), Error> {
        let deadline = deadline_after(within);
        let mut client = Client::connect_within(address, within)?;
        // Until it is known to be the service nothing is waited for at its end.
        (client.link.lingers, client.grace) = (false, Duration::ZERO);
        let (ticket, new) = client
            .put(within, |session, out| session.request(To::Daemon, "whoami", "", Some(within), out))?;
        match client.wait(ticket, new, deadline)? {
            Some(whoami) => Ok((client, whoami?)),
            None => Err(Error::GaveUp { after: within }),
        }
    }
}

/// Whether what could not be dialled may be called all the same: it is there, but for its endpoints.
pub(in crate::client) fn is_for_the_daemon(error: &Error) -> bool {
    matches!(error, Error::Undialled(Undialled::NoEndpoints { .. } | Undialled::Unreachable { .. }))
}
