//! Knows how a cluster of switches or services is called: one thread that runs it, and the calls of all others.
//! Never: how requests are spread, or what is said over a socket.

mod ask;
mod sending;
mod wire;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::client::error::Error as ClientError;
use crate::cluster::{Call, Cluster, Error, ErrorKind, Event, RequestId, Settings, WEIGHT_MAX};
use wire::{News, Wire};

pub use ask::{Answer, Ask, CallError, Outcome, Request, SendError};
pub use sending::Sending;

type Callback = Box<dyn FnOnce(Result<Option<Answer>, Error>) + Send>;
type Change = Box<dyn FnOnce(&mut Cluster<Wire>, Duration) + Send>;

/// What the thread of a cluster is told.
enum Told {
    Submit(Request, Callback),
    Change(Change),
    News(News),
    End,
}

/// A cluster of switches: requests to nodes, spread over the daemons that the nodes are connected to. Every daemon
/// of the list should have nodes of the same names. A server of the list may also be a
/// [service](crate::service) itself: what is sent to its name, or to none ([`Ask::direct`]), it answers
/// without a switch. Clones are handles of the same cluster, for any thread; when
/// the last is dropped, what is under way ends with [`ErrorKind::Disconnected`].
///
/// The rules are those of [`cluster`](crate::cluster). A server's answers `no_such_node`, `no_subscribers`,
/// `overloaded` and `too_many_requests` mean that the request was not executed, and another server is tried. After
/// `node_gone` and `timeout` it may have been. A `timeout` of `None` is an hour here, the protocol's longest.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::client::switches::{Ask, Switches};
/// use telex::cluster::{Balance, Message, Settings};
///
/// # let unix_run_telexd = telex::client::default_address()?;
/// // Such as "unix:/run/telexd/telex.sock*2,tcp:127.0.0.1:4040".
/// let settings = Settings::of(&format!("{unix_run_telexd}*2"))?;
/// let switches = Switches::new(Settings { balance: Balance::RoundRobin, ..settings })?;
/// let reply = switches.send(Message::new(Ask::new("heating", "read", "")).retry())?;
/// println!("{}", reply.as_ref().and_then(|reply| reply.body()).unwrap_or("null"));
/// for outcome in switches.send_bulk((0..3).map(|nth| {
///     Message::new(Ask::new("heating", "set", &format!(r#"{{"room":{nth},"c":21}}"#)))
/// })) {
///     println!("{}", outcome.map_or_else(|why| why.to_string(), |_| "done".to_owned()));
/// }
/// switches.send_then(Ask::signal("logger", "\"all warm\""), |outcome| drop(outcome));
///
/// switches.set_debug(|event| println!("{event}"));
/// switches.set_timeout(Some(Duration::from_millis(500)));
/// assert!(switches.set_weight(0, 3) && switches.set_active(0, true));
/// switches.disconnect_all();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Threads and processes
///
/// A cluster has one thread of its own, and two for each connection. Callbacks run on the first; one that panics
/// harms no other. A call that waits ends with [`ErrorKind::InCallback`] there. After fork(2) the child has
/// none of these threads: it may drop its handles, which leaves the parent's sockets alone, and make a new
/// cluster; calls of the old one end with [`ErrorKind::Disconnected`].
#[derive(Clone, Debug)]
pub struct Switches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    told: Sender<Told>,
    thread: ThreadId,
    process: u32,
    servers: usize,
}

impl Switches {
    /// Starts a cluster. Each connection is made when it is first needed, so that this fails only if no thread can be
    /// started ([`ClientError::Io`]). The settings' `seed` is drawn anew if it is 0.
    pub fn new(mut settings: Settings) -> Result<Switches, ClientError> {
        let random = || RandomState::new().hash_one(std::process::id());
        if settings.seed == 0 {
            settings.seed = random();
        }
        let servers = settings.servers.len();
        let (sender, told) = channel();
        let news = sender.clone();
        let wire = Wire::new(format!("{:016x}", random()), move |it| drop(news.send(Told::News(it))));
        let cluster = Cluster::new(settings, wire);
        let thread = thread::Builder::new()
            .name("telex-cluster".to_owned())
            .spawn(move || run(cluster, &told))
            .map_err(|source| ClientError::Io { doing: "starting a thread", source })?;
        let (thread, process) = (thread.thread().id(), std::process::id());
        Ok(Switches(Arc::new(Shared { told: sender, thread, process, servers })))
    }

    /// Sends a request and waits for what comes of it.
    pub fn send(&self, request: Request) -> Outcome {
        self.send_bulk([request]).pop().unwrap_or_else(|| Err(SendError::Failed(gone())))
    }

    /// Sends a request; `callback` gets what comes of it, exactly once, on the cluster's thread.
    pub fn send_then(&self, request: Request, callback: impl FnOnce(Outcome) + Send + 'static) {
        self.submit(request, Box::new(|outcome| callback(flat(outcome))));
    }

    /// Sends a request; the future that it gives is what comes of it. It is sent whether that is awaited or not, and
    /// any executor will do.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::switches::{Ask, Switches};
    /// use telex::cluster::{Message, Settings};
    ///
    /// async fn celsius(switches: &Switches) -> Option<f64> {
    ///     let reply = switches.send_async(Message::new(Ask::new("hall", "read", ""))).await;
    ///     reply.ok()??.body_value()["c"].as_f64()
    /// }
    ///
    /// let settings = Settings::of(&telex::client::default_address()?.to_string())?;
    /// let switches = Switches::new(settings)?;
    /// assert_eq!(smol::block_on(celsius(&switches)), Some(20.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_async(&self, request: Request) -> Sending {
        let (ending, sending) = sending::sending();
        self.send_then(request, |outcome| ending.end(outcome));
        sending
    }

    /// Sends requests all at once and waits for all of them. Gives one outcome for each, in their order.
    pub fn send_bulk(&self, requests: impl IntoIterator<Item = Request>) -> Vec<Outcome> {
        let waits = requests.into_iter().map(|request| self.begin(request)).collect::<Vec<_>>();
        waits.into_iter().map(|wait| flat(wait.and_then(ended))).collect()
    }

    /// Makes a typed call and waits for its reply.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::switches::{Answer, Ask, Switches};
    /// use telex::cluster::{Call, Settings};
    ///
    /// struct Temperature;
    ///
    /// impl Call<Ask, Answer> for Temperature {
    ///     type Reply = f64;
    ///     type Error = String;
    ///     const RETRY: bool = true;
    ///
    ///     fn request(&self) -> Ask {
    ///         Ask::new("hall", "read", "")
    ///     }
    ///
    ///     fn reply(answer: Answer) -> Result<f64, String> {
    ///         let reply = answer.map_err(|refused| refused.to_string())?;
    ///         reply.body_value()["c"].as_f64().ok_or("it lacks \"c\"".to_owned())
    ///     }
    /// }
    ///
    /// let switches = Switches::new(Settings::of(&telex::client::default_address()?.to_string())?)?;
    /// println!("{} degrees", switches.call(&Temperature)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call<C>(&self, call: &C) -> Result<C::Reply, CallError<C::Error>>
    where
        C: Call<Ask, Answer> + 'static,
    {
        match self.begin(call.message()).and_then(ended) {
            Ok(Some(answer)) => C::reply(answer).map_err(CallError::Answer),
            Ok(None) => Err(CallError::Failed(gone())),
            Err(why) => Err(CallError::Failed(why)),
        }
    }

    /// Sets how long an answer may take; `None`: for ever. It holds for what is sent from now on.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.change(Box::new(move |cluster, _| cluster.set_timeout(timeout)));
    }

    /// Takes the server at this place of the list, from 0 on, out of the balance or back into it. False if there is
    /// no such place.
    pub fn set_active(&self, server: usize, is_active: bool) -> bool {
        self.change(Box::new(move |cluster, now| {
            cluster.set_active(server, is_active, now);
        }));
        server < self.0.servers
    }

    /// Sets the weight of the server at this place of the list, from 0 on. False, and nothing changes, if there is
    /// no such place or the weight is not from 1 to [`WEIGHT_MAX`].
    pub fn set_weight(&self, server: usize, weight: u32) -> bool {
        self.change(Box::new(move |cluster, _| {
            cluster.set_weight(server, weight);
        }));
        server < self.0.servers && (1..=WEIGHT_MAX).contains(&weight)
    }

    /// Has `debug` called with each event from now on, on the cluster's thread.
    pub fn set_debug(&self, debug: impl FnMut(&Event<'_>) + Send + 'static) {
        self.change(Box::new(|cluster, _| cluster.set_debug(debug)));
    }

    /// Ends all connections. What is under way ends with [`ErrorKind::Disconnected`], callbacks included; the next
    /// request connects anew.
    pub fn disconnect_all(&self) {
        self.change(Box::new(|cluster, _| cluster.disconnect_all()));
    }

    /// Hands a request over, to be waited for.
    fn begin(&self, request: Request) -> Result<Receiver<Result<Option<Answer>, Error>>, Error> {
        if thread::current().id() == self.0.thread {
            let why = "a callback cannot wait for the thread that it runs on";
            return Err(Error::untried(ErrorKind::InCallback, why));
        }
        let (sender, outcome) = channel();
        self.submit(request, Box::new(move |it| drop(sender.send(it))));
        Ok(outcome)
    }

    fn submit(&self, request: Request, callback: Callback) {
        match self.0.is_here() {
            true => drop(self.0.told.send(Told::Submit(request, callback))),
            false => callback(Err(gone())),
        }
    }

    fn change(&self, change: Change) {
        if self.0.is_here() {
            drop(self.0.told.send(Told::Change(change)));
        }
    }
}

impl Shared {
    /// Whether this is the process that has the threads. In another the channel is not touched: one of its locks
    /// may have been held when that was forked.
    fn is_here(&self) -> bool {
        std::process::id() == self.process
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_here() {
            drop(self.told.send(Told::End));
        }
    }
}

fn gone() -> Error {
    Error::untried(ErrorKind::Disconnected, "the cluster has ended, or is another process's")
}

/// Waits for what comes of a request.
fn ended(outcome: Receiver<Result<Option<Answer>, Error>>) -> Result<Option<Answer>, Error> {
    outcome.recv().unwrap_or_else(|_| Err(gone()))
}

fn flat(outcome: Result<Option<Answer>, Error>) -> Outcome {
    match outcome {
        Ok(answer) => answer.transpose().map_err(SendError::Refused),
        Err(why) => Err(SendError::Failed(why)),
    }
}

/// The thread of a cluster: hears calls and wires, and calls back.
fn run(mut cluster: Cluster<Wire>, told: &Receiver<Told>) {
    /// What is heard before the cluster goes on.
    const HEARD_MAX: usize = 256;
    let start = Instant::now();
    let mut callbacks = HashMap::new();
    let mut goes_on = true;
    while goes_on {
        let wait = cluster.next_deadline().map(|at| at.saturating_sub(start.elapsed()));
        let first = match wait {
            Some(wait) => told.recv_timeout(wait),
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let now = start.elapsed();
        goes_on = first.as_ref().err() != Some(&RecvTimeoutError::Disconnected);
        for one in first.into_iter().chain(told.try_iter().take(HEARD_MAX)) {
            match one {
                Told::Submit(request, callback) => {
                    let id = cluster.submit(request, now);
                    callbacks.insert(id, callback);
                }
                Told::Change(change) => guarded(|| change(&mut cluster, now)),
                Told::News(news) => cluster.connector().hears(news),
                Told::End => goes_on = false,
            }
        }
        guarded(|| cluster.step(now));
        if !goes_on {
            cluster.disconnect_all();
        }
        call_back(&mut cluster, &mut callbacks);
    }
}

fn call_back(cluster: &mut Cluster<Wire>, callbacks: &mut HashMap<RequestId, Callback>) {
    while let Some(done) = cluster.next_done() {
        if let Some(callback) = callbacks.remove(&done.id) {
            guarded(|| callback(done.outcome));
        }
    }
}

/// Calls what is the program's, whose panics are its own.
fn guarded(call: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(call)));
}
