//! Knows what can be chosen about a service, and the order of the steps at its start.
//! Never: what it does once it runs.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::gethostname;

use crate::address::Address;
use crate::client::{self, Error, Handle, Message, Register, unique};
use crate::limits::{Limits, MAX_LINE_BYTES_MAX};
use crate::listen::{Bound, Inherited, adopt, bind, inherited};
use crate::name::{BadName, check_node_id, expand};
use crate::service::answers::Answers;
use crate::service::base::{Daemon, Parts, Service, start};
use crate::service::hall::Bounds;
use crate::service::hear::About;

/// Requests of one direct connection that may be open, as it is told.
const MAX_REQUESTS: usize = 16;

/// What can be chosen about a [`Service`]. What has a default says so.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::client::default_address;
/// use telex::service::Service;
///
/// // Of a service with few clients and small messages, which is started by hand.
/// let service = Service::builder("thermometer")
///     .workers(1)
///     .max_connections(16)
///     .max_memory_bytes(1 << 20)
///     .max_line_bytes(4096)
///     .stall_timeout(Duration::from_secs(2))
///     .stop_timeout(Duration::from_secs(1))
///     .notify(false)
///     .on("read", |_request| Ok::<_, String>(r#"{"c":20.5}"#))
///     .start(&default_address()?)?;
/// assert_eq!(service.node_id(), "thermometer");
/// # Ok::<(), telex::client::Error>(())
/// ```
pub struct Builder {
    node_id: String,
    terms: Register<'static>,
    addresses: Vec<Address>,
    inherits: Inherits,
    socket_mode: u32,
    answers: Answers,
    workers: usize,
    calls_per_caller: usize,
    max_connections: usize,
    max_memory_bytes: usize,
    max_line_bytes: usize,
    stall_timeout: Duration,
    stop_timeout: Duration,
    notifies: bool,
}

/// Which sockets of the service manager are taken.
enum Inherits {
    Nothing,
    All,
    Named(Vec<String>),
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

impl Service {
    /// A service that is to be the node `node_id`, in which `%n` is the host's name and `%u` something unique.
    pub fn builder(node_id: impl Into<String>) -> Builder {
        Builder {
            node_id: node_id.into(),
            terms: Register::default(),
            addresses: Vec::new(),
            inherits: Inherits::Nothing,
            socket_mode: 0o660,
            answers: Answers::default(),
            workers: 4,
            calls_per_caller: 1,
            max_connections: 1024,
            max_memory_bytes: 64 << 20,
            max_line_bytes: Limits::default().max_line_bytes,
            stall_timeout: Limits::default().stall_timeout,
            stop_timeout: Duration::from_secs(5),
            notifies: true,
        }
    }
}

impl Builder {
    /// Listens at `address`, too; at none unless it is told to. A socket file that was left over is removed, one at
    /// which a program listens is not. Over TCP there are loopback addresses alone, and port 0 is any free one. What
    /// comes out is registered as an endpoint. Of several instances of a node the endpoints of the last one that has
    /// registered count.
    ///
    /// ```
    /// use telex::address::Address;
    /// use telex::service::Service;
    ///
    /// let dir = std::env::temp_dir().join(format!("thermometer-{}", std::process::id()));
    /// std::fs::create_dir_all(&dir)?;
    /// let service = Service::builder("thermometer")
    ///     .listen(Address::Unix(dir.join("socket")))
    ///     .listen(Address::parse("127.0.0.1:0")?)
    ///     .on("read", |_request| Ok::<_, String>(r#"{"c":20.5}"#))
    ///     .start_alone()?;
    /// assert_eq!(service.addresses().len(), 2);
    /// # drop(service);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listen(mut self, address: Address) -> Builder {
        self.addresses.push(address);
        self
    }

    /// Takes all sockets that the service manager has opened for this process (systemd.socket(5), `Accept=no`), and
    /// listens there as well. An address of [`listen`](Builder::listen) that is among them is not bound again. Their
    /// files stay when the service ends.
    ///
    /// ```
    /// use telex::service::Service;
    ///
    /// // Started by hand it has none, and listens nowhere.
    /// let service = Service::builder("thermometer").inherit().start_alone()?;
    /// assert!(service.addresses().is_empty());
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn inherit(mut self) -> Builder {
        self.inherits = Inherits::All;
        self
    }

    /// The same with those of this name (`FileDescriptorName=`), for a process of several services. If there are none,
    /// the service does not start.
    ///
    /// ```
    /// use telex::service::Service;
    ///
    /// let error = Service::builder("thermometer").inherit_named("readings").start_alone().expect_err("no socket");
    /// assert!(error.to_string().contains("no socket \"readings\""));
    /// ```
    pub fn inherit_named(mut self, name: impl Into<String>) -> Builder {
        match &mut self.inherits {
            Inherits::Named(names) => names.push(name.into()),
            Inherits::Nothing | Inherits::All => self.inherits = Inherits::Named(vec![name.into()]),
        }
        self
    }

    /// The mode of the socket files that it makes, which says who may connect: 0660.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// use telex::address::Address;
    /// use telex::service::Service;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let socket = dir.path().join("socket");
    /// // For programs of its own user alone.
    /// let own = Service::builder("diary").listen(Address::Unix(socket.clone())).socket_mode(0o600).start_alone()?;
    /// assert_eq!(std::fs::metadata(&socket)?.permissions().mode() & 0o777, 0o600);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn socket_mode(mut self, mode: u32) -> Builder {
        self.socket_mode = mode;
        self
    }

    /// The terms under which the name is registered, such as `delivery` and `meta`. Its `node_id`, `endpoints` and
    /// `credentials` do not count: they are the service's own.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Delivery, Handle, Register, default_address};
    /// use telex::service::Service;
    ///
    /// // Of its instances one gets each message.
    /// let terms = Register { delivery: Some(Delivery::One), ..Register::default() };
    /// let first = Service::builder("images").terms(terms.clone()).start(&default_address()?)?;
    /// let second = Service::builder("images").terms(terms).start(&default_address()?)?;
    /// let images = Handle::connect(&default_address()?)?.resolve("images").wait()?;
    /// assert_eq!(images.instances.len(), 2);
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn terms(mut self, terms: Register<'static>) -> Builder {
        self.terms = terms;
        self
    }

    /// Answers requests of the type `message_type`, direct ones and those through the switch. What `answer` gives is
    /// the body of the reply: the members of an object, any other JSON as `result`, an empty text nothing. An error
    /// should be a readable sentence. If `answer` panics, only that caller gets an error.
    ///
    /// The messages of one caller are handled one after the other, in their order
    /// ([`calls_per_caller`](Builder::calls_per_caller)); those of several at the same time, on as many threads as there
    /// are [`workers`](Builder::workers). [`Message::sender`] says who the caller
    /// is, as the kernel vouches for it; the [`from`](Message::from) of a direct caller is `None`. A request whose
    /// time was over before its turn came is not handled.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicI64, Ordering};
    /// use telex::service::Service;
    ///
    /// let c = AtomicI64::new(20);
    /// let builder = Service::builder("heating").on("set", move |request| match request.body_value()["c"].as_i64() {
    ///     Some(wanted @ 5..=25) => {
    ///         c.store(wanted, Ordering::Relaxed);
    ///         Ok(format!(r#"{{"c":{wanted}}}"#))
    ///     }
    ///     _ => Err("\"c\" must be a number from 5 to 25"),
    /// });
    /// ```
    pub fn on<B: Into<String>, E: Display>(
        mut self,
        message_type: &str,
        answer: impl Fn(&Message) -> Result<B, E> + Send + Sync + 'static,
    ) -> Builder {
        self.answers.on(message_type, answer);
        self
    }

    /// Takes signals, direct ones and those through the switch, as [`on`](Builder::on) does requests.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::sync::mpsc::channel;
    /// use telex::client::{Handle, default_address};
    /// use telex::service::Service;
    ///
    /// let (told, degrees) = channel();
    /// let service = Service::builder("display")
    ///     .on_signal(move |signal| drop(told.send(signal.body_value()["c"].as_f64())))
    ///     .start(&default_address()?)?;
    /// Handle::connect(&default_address()?)?.send("display", r#"{"c":20.5}"#)?;
    /// assert_eq!(degrees.recv()?, Some(20.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_signal(mut self, listener: impl Fn(&Message) + Send + Sync + 'static) -> Builder {
        self.answers.on_signal(listener);
        self
    }

    /// How many threads handle messages: 4; one at least.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = workers;
        self
    }

    /// How many messages of one caller are handled at the same time: 1. With more they begin in their order, and may
    /// overtake each other. A caller is a direct connection, or an address at the switch.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::sync::Barrier;
    /// use std::time::Duration;
    /// use telex::client::{Handle, default_address};
    /// use telex::service::Service;
    ///
    /// let both = Barrier::new(2);
    /// let service = Service::builder("door")
    ///     .calls_per_caller(2)
    ///     .on("meet", move |_request| {
    ///         both.wait();
    ///         Ok::<_, String>("")
    ///     })
    ///     .start(&default_address()?)?;
    /// let caller = Handle::connect(&default_address()?)?;
    /// for call in [1, 2].map(|_| caller.call("door", "meet", "", Duration::from_secs(5))) {
    ///     call.wait()?;
    /// }
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn calls_per_caller(mut self, calls: usize) -> Builder {
        self.calls_per_caller = calls;
        self
    }

    /// How many direct connections there may be: 1024, and no more than half of the files that the process may have
    /// open when it starts.
    pub fn max_connections(mut self, connections: usize) -> Builder {
        self.max_connections = connections;
        self
    }

    /// How much all direct connections may make the service keep (half lines, messages that wait, answers that are
    /// not taken), in bytes: 64 MiB. Beyond it the connection that uses most is closed.
    pub fn max_memory_bytes(mut self, bytes: usize) -> Builder {
        self.max_memory_bytes = bytes;
        self
    }

    /// The longest line over a direct connection, in bytes without its LF: 1 MiB; from 1 byte to 64 MiB.
    pub fn max_line_bytes(mut self, bytes: usize) -> Builder {
        self.max_line_bytes = bytes;
        self
    }

    /// How long a direct connection may take less than 64 KiB of what is said to it, or send less than that of a line
    /// that it has begun, before it is closed: 10 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Builder {
        self.stall_timeout = timeout;
        self
    }

    /// How long what has come is handled at the end, before it is given up: 5 s.
    pub fn stop_timeout(mut self, timeout: Duration) -> Builder {
        self.stop_timeout = timeout;
        self
    }

    /// Whether the service manager is told that the service is ready, and that it ends (sd_notify(3)): true.
    pub fn notify(mut self, notifies: bool) -> Builder {
        self.notifies = notifies;
        self
    }

    /// Starts it: listens, registers its name and endpoints at the daemon, and tells the service manager
    /// (`READY=1`). A connection to the daemon that is lost is made again; direct callers do not notice.
    ///
    /// [`Error::Io`] if it cannot listen, or have threads; the errors of [`Handle::connect`] and
    /// [`Handle::register`]. Nothing is left of it then.
    pub fn start(self, daemon: &Address) -> Result<Service, Error> {
        self.start_with(Handle::builder(), daemon)
    }

    /// The same over a connection of which something has been chosen. It must not register a name of its own.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::{Handle, default_address};
    /// use telex::service::Service;
    ///
    /// // A daemon that does not answer in this time is an error.
    /// let connection = Handle::builder().connect_timeout(Duration::from_secs(2));
    /// let service = Service::builder("thermometer").start_with(connection, &default_address()?)?;
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn start_with(self, connection: client::Builder, daemon: &Address) -> Result<Service, Error> {
        self.begin(|terms| register(connection, daemon, terms))
    }

    /// The same without a daemon. Only clients that know its address can reach it. [`Error::Io`] also if its name is no
    /// node ID.
    pub fn start_alone(self) -> Result<Service, Error> {
        self.begin(|terms| {
            let node_id = name(terms.node_id.as_deref().unwrap_or_default());
            node_id.map(|node_id| (node_id, None)).map_err(|bad| {
                let source = io::Error::new(io::ErrorKind::InvalidInput, format!("the node ID {bad}"));
                Error::Io { doing: "starting", source }
            })
        })
    }

    fn begin(
        mut self,
        register: impl FnOnce(&Register<'static>) -> Result<(String, Daemon), Error>,
    ) -> Result<Service, Error> {
        let io = |doing| move |source| Error::Io { doing, source };
        let inherited = Taken::take(&self.inherits).map_err(io("listening"))?;
        let listeners = self.bind_all(&inherited).map_err(io("listening"))?;
        let places: Vec<_> = listeners.iter().map(|bound| bound.place.clone()).collect();
        self.terms.node_id = Some(Cow::Owned(self.node_id.clone()));
        self.terms.credentials = Some(true);
        self.terms.endpoints = Some(places.iter().map(|place| place.address.to_string().into()).collect());
        let started = register(&self.terms).and_then(|(node_id, daemon)| {
            start(self.parts(node_id, listeners, daemon)).map_err(io("starting"))
        });
        match &started {
            Ok(_) => inherited.keep(),
            // What cannot be removed is stale to the next program that listens there.
            Err(_) => places.iter().for_each(|place| drop(place.remove_file())),
        }
        started
    }

    fn parts(self, node_id: String, listeners: Vec<Bound>, daemon: Daemon) -> Parts {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft) / 2;
        Parts {
            about: About {
                node_id,
                max_line_bytes: self.max_line_bytes.clamp(1, MAX_LINE_BYTES_MAX),
                max_requests: MAX_REQUESTS,
                last_id: AtomicU64::new(0),
            },
            listeners,
            answers: self.answers,
            bounds: Bounds {
                max_connections: self.max_connections.min(usize::try_from(files).unwrap_or(usize::MAX)),
                max_memory_bytes: self.max_memory_bytes,
                stall_timeout: self.stall_timeout,
                stop_timeout: self.stop_timeout,
            },
            workers: self.workers,
            calls_per_caller: self.calls_per_caller,
            notifies: self.notifies,
            daemon,
        }
    }

    /// The sockets that the service manager has opened, and those addresses that are not among them.
    fn bind_all(&self, inherited: &Taken) -> io::Result<Vec<Bound>> {
        let sockets = inherited.0.iter().map(|one| adopt(one.socket.try_clone()?));
        let mut all = sockets.collect::<Result<Vec<_>, _>>()?;
        for address in &self.addresses {
            let address = match address {
                // A relative path means nothing to other programs.
                Address::Unix(path) => Address::Unix(std::path::absolute(path)?),
                other => other.clone(),
            };
            if all.iter().any(|bound| bound.place.address == address) {
                continue;
            }
            match bind(&address, self.socket_mode, None) {
                Ok(bound) => all.extend(bound),
                Err(error) => {
                    all.iter().for_each(|bound| drop(bound.place.remove_file()));
                    return Err(io::Error::new(error.kind(), format!("{address}: {error}")));
                }
            }
        }
        Ok(all)
    }
}

/// Connects to the daemon and holds the name there. Nothing that comes once it is held is missed.
fn register(
    connection: client::Builder,
    daemon: &Address,
    terms: &Register<'static>,
) -> Result<(String, Daemon), Error> {
    let handle = connection.connect(daemon)?;
    let inbox = handle.inbox();
    let node_id = handle.register_with(terms).wait()?;
    Ok((node_id, Some((handle, inbox))))
}

/// The node ID that a pattern stands for without a daemon.
fn name(pattern: &str) -> Result<String, BadName> {
    let host = gethostname().ok().and_then(|host| host.into_string().ok());
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| "localhost".to_owned());
    let node_id = expand(pattern, &host, &unique::prefix())?;
    check_node_id(&node_id)?;
    Ok(node_id)
}

/// Sockets of the service manager. They are opened for the whole process, and each belongs to one service; dropped,
/// they are there for another one.
struct Taken(Vec<Inherited>);

fn left() -> MutexGuard<'static, Vec<Inherited>> {
    static LEFT: Mutex<Vec<Inherited>> = Mutex::new(Vec::new());
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Taken {
    /// Takes those that are meant. An error if there is none of a name.
    fn take(inherits: &Inherits) -> io::Result<Taken> {
        if matches!(inherits, Inherits::Nothing) {
            return Ok(Taken(Vec::new()));
        }
        let mut left = left();
        left.extend(inherited()?);
        if let Inherits::Named(names) = inherits
            && let Some(missing) = names.iter().find(|name| left.iter().all(|one| one.name != **name))
        {
            let why = format!("the service manager has handed over no socket \"{missing}\" that is left");
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let is_meant = |one: &mut Inherited| match inherits {
            Inherits::Nothing => false,
            Inherits::All => true,
            Inherits::Named(names) => names.contains(&one.name),
        };
        Ok(Taken(left.extract_if(.., is_meant).collect()))
    }

    /// The service has started, and has them.
    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        left().append(&mut self.0);
    }
}
