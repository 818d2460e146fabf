//! Knows how a handle is made.
//! Never: what is done with it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::client::attempt;
use crate::client::dial::Stream;
use crate::client::error::Error;
use crate::client::handle::connection::{Handle, Owner};
use crate::client::handle::options::{Options, Reconnect};
use crate::client::handle::output::OUTPUT_BYTES_MAX;
use crate::client::handle::reader;
use crate::client::handle::shared::Shared;
use crate::client::handle::state::State;
use crate::client::handle::writer::{self, WRITE_TIMEOUT};
use crate::client::lines::To;
use crate::client::message::Message;
use crate::client::seek;
use crate::client::unique;
use crate::wire::control::Register;

/// What can be chosen about a [`Handle`].
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::address::Address;
/// use telex::client::{Delivery, Handle, Register, default_address};
///
/// let handle = Handle::builder()
///     .connect_timeout(Duration::from_secs(2))
///     .send_timeout(Duration::from_secs(5))
///     .register("thermometer")
///     .connect(&default_address()?)?;
///
/// // One that is lost with its connection, and shares its messages with others of its name.
/// let terms = Register {
///     node_id: Some("converter".into()),
///     delivery: Some(Delivery::One),
///     ..Register::default()
/// };
/// let short = Handle::builder().reconnect(None).register_with(terms).connect(&default_address()?)?;
///
/// // One that has another switch, should the first be lost.
/// let other = Address::parse("tcp:localhost:4040").map_err(telex::client::Error::Address)?;
/// let kept = Handle::builder().or_at([other]).connect(&default_address()?)?;
/// # Ok::<(), telex::client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    pub(super) connect_timeout: Duration,
    send_timeout: Duration,
    reconnect: Option<Reconnect>,
    register: Option<Register<'static>>,
    others: Vec<Address>,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            connect_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(60),
            reconnect: Some(Reconnect::default()),
            register: None,
            others: Vec::new(),
        }
    }

    /// How long each attempt to connect may take, until the daemon has said what it is and the name is held: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Builder {
        self.connect_timeout = timeout;
        self
    }

    /// How long [`Handle::send`] and its like wait for room: 60 s.
    pub fn send_timeout(mut self, timeout: Duration) -> Builder {
        self.send_timeout = timeout;
        self
    }

    /// How a lost connection is made again: as [`Reconnect::default`] has it. `None`: its end is the handle's.
    pub fn reconnect(mut self, reconnect: impl Into<Option<Reconnect>>) -> Builder {
        self.reconnect = reconnect.into();
        self
    }

    /// Other switches that a lost connection may be made again to, after the one that was connected to: they are
    /// tried in turn, so that one is always kept.
    pub fn or_at(mut self, others: impl IntoIterator<Item = Address>) -> Builder {
        self.others.extend(others);
        self
    }

    /// The node to be an instance of, as in [`Handle::register`].
    pub fn register(self, node_id: impl Into<String>) -> Builder {
        self.register_with(Register { node_id: Some(node_id.into().into()), ..Register::default() })
    }

    /// The same, under other terms.
    pub fn register_with(mut self, options: Register<'static>) -> Builder {
        self.register = Some(options);
        self
    }

    /// Connects; the errors are those of [`Handle::connect`], and what the daemon says if it refuses the name.
    pub fn connect(self, address: &Address) -> Result<Handle, Error> {
        let until = Instant::now().checked_add(self.connect_timeout);
        let (timeout, register) = (self.connect_timeout, self.register.clone());
        let (handle, _) = self.begin(address)?;
        if let Some(options) = &register {
            handle.register_with(options).wait_until(until, timeout)?;
        }
        Ok(handle)
    }

    /// Connects, and asks what answers there.
    pub(super) fn begin(self, address: &Address) -> Result<(Handle, Message), Error> {
        let until = Instant::now().checked_add(self.connect_timeout);
        let unreachable = |source| seek::unreachable(address, source);
        let stream = attempt::connect(address, self.connect_timeout).map_err(unreachable)?;
        let options = Options {
            address: address.clone(),
            others: self.others,
            connect_timeout: self.connect_timeout,
            send_timeout: self.send_timeout,
            output_bytes_max: OUTPUT_BYTES_MAX,
            reconnect: self.reconnect,
        };
        let handle = start(stream, options).map_err(unreachable)?;
        // Longer than that no daemon is told.
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        let whoami = handle.ask(To::Daemon, "whoami", "", left, None, Ok);
        let whoami = whoami.wait_until(until, self.connect_timeout)?;
        handle.shared().lock().learn_limits(&whoami);
        Ok((handle, whoami))
    }
}

impl Handle {
    /// Connects, for 10 s at most, with all that a [`Builder`] sets by default. [`Error::Connect`] if nothing
    /// listens there, or takes no connection in time; [`Error::NoPermission`] if this user may not; an error
    /// of an [`Answer`](crate::client::Answer) if what listens there does not answer as a daemon does.
    pub fn connect(address: &Address) -> Result<Handle, Error> {
        Handle::builder().connect(address)
    }

    /// What can be chosen, before a handle is connected.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

/// A handle over a connected socket, with its threads.
pub(super) fn start(stream: Stream, options: Options) -> std::io::Result<Handle> {
    stream.set_write_timeout(WRITE_TIMEOUT)?;
    let state = State::new(Some(stream), options, unique::prefix());
    let shared = Arc::new(Shared::new(state, Box::new(Instant::now)));
    let handle = Handle { owner: Arc::new(Owner { shared: Arc::clone(&shared) }) };
    let ours = Arc::clone(&shared);
    let end = |error| {
        handle.shared().abandon();
        error
    };
    let reader = thread::Builder::new().name("telex-reader".to_owned()).spawn(move || {
        // It is set once, here.
        let _ = ours.reader.set(thread::current().id());
        reader::run(&ours);
    });
    drop(reader.map_err(end)?);
    let writer = thread::Builder::new().name("telex-writer".to_owned());
    drop(writer.spawn(move || writer::run(&shared)).map_err(end)?);
    Ok(handle)
}
