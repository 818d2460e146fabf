//! Knows a service that runs: its threads, and the order of the steps at its end.
//! Never: what a line says.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::client::moment::after;
use crate::client::{Answer, Arrival, Handle, Stream, direct_reply};
use crate::listen::Bound;
use crate::service::answers::{Answers, error_body};
use crate::service::hall::{Bounds, Hall, Letterbox};
use crate::service::hear::{About, late_reply};
use crate::service::work::{Caller, Job, Work};
use crate::service::{notify, signals, through};

/// How long the daemon is waited for when the service ends.
const DAEMON_PATIENCE: Duration = Duration::from_secs(1);

/// A service that runs. It answers direct connections and calls through the switch with the same functions. The
/// [module](crate::service) shows one.
///
/// Dropped, it [stops](Service::stop). In the child of a fork it does nothing: it may be dropped, which leaves the
/// parent's as it is. The child's copies of its sockets are closed when the child ends, or calls exec.
pub struct Service {
    node_id: String,
    addresses: Vec<Address>,
    handle: Option<Handle>,
    running: Mutex<Option<Running>>,
    process: u32,
}

/// What is there until the service has stopped.
struct Running {
    letterbox: Arc<Letterbox>,
    work: Arc<Work>,
    hall: JoinHandle<()>,
    through: Option<Through>,
    /// That the thread for what comes through the switch is to end.
    ends: Arc<AtomicBool>,
    stop_timeout: Duration,
    notifies: bool,
}

/// The thread for what comes through the switch.
struct Through {
    thread: Thread,
    /// It ends when the thread does.
    is_over: Receiver<()>,
}

/// The connection to the daemon, at which the name is held, and what comes over it; none of a service without one.
pub(super) type Daemon = Option<(Handle, Stream<Arrival>)>;

/// What a service is made of.
pub(super) struct Parts {
    pub(super) about: About,
    pub(super) listeners: Vec<Bound>,
    pub(super) answers: Answers,
    pub(super) bounds: Bounds,
    pub(super) workers: usize,
    pub(super) calls_per_caller: usize,
    pub(super) notifies: bool,
    pub(super) daemon: Daemon,
}

impl Service {
    /// The node ID that it is registered under.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Where it listens: its endpoints.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Its connection to the daemon, to call and publish by; none if it was started without one. It must not be
    /// used to register, or to answer.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Handle, To, default_address};
    /// use telex::service::Service;
    ///
    /// let readings = Handle::connect(&default_address()?)?.subscribe("readings", None).wait()?;
    /// let service = Service::builder("thermometer").start(&default_address()?)?;
    /// if let Some(handle) = service.handle() {
    ///     handle.send(To::Topic("readings"), r#"{"c":20.5}"#)?;
    /// }
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn handle(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    /// Serves until the process is told to end (SIGTERM, SIGINT), then [stops](Service::stop). Other services of the
    /// process are told as well. A second such signal ends the process at once, as it does by default, and so does
    /// one after this has returned. Fails if the signals cannot be waited for.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::default_address;
    /// use telex::service::Service;
    ///
    /// let service = Service::builder("thermometer")
    ///     .on("read", |_request| Ok::<_, String>(r#"{"c":20.5}"#))
    ///     .start(&default_address()?)?;
    /// # std::thread::spawn(|| loop {
    /// #     std::thread::sleep(std::time::Duration::from_millis(200));
    /// #     nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
    /// #     // If that was too early, it is done again; the end takes less.
    /// #     std::thread::sleep(std::time::Duration::from_secs(10));
    /// # });
    /// service.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(self) -> io::Result<()> {
        let told = signals::wait();
        self.stop();
        told
    }

    /// Ends it, in this order: the service manager is told (`STOPPING=1`); the name is given up, so that it is
    /// found no more; no connections are taken any more, and its socket files are removed; what has come is
    /// answered, for as long as [`stop_timeout`](crate::service::Builder::stop_timeout) at most; all connections
    /// are closed. In one of its own functions it would wait for itself, until that time is over.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Handle, default_address};
    /// use telex::service::Service;
    ///
    /// let service = Service::builder("thermometer").start(&default_address()?)?;
    /// let handle = Handle::connect(&default_address()?)?;
    /// assert!(handle.resolve("thermometer").wait().is_ok());
    /// service.stop();
    /// assert!(handle.resolve("thermometer").wait().is_err());
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn stop(&self) {
        if self.process != std::process::id() {
            return;
        }
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        if running.notifies {
            notify::stopping();
        }
        if let Some(handle) = &self.handle {
            // What the daemon handed over before it had answered the second has been taken by then.
            wait_a_little(handle.unregister(&self.node_id));
            wait_a_little(handle.ping());
        }
        let until = after(Instant::now(), running.stop_timeout);
        running.letterbox.stop();
        running.ends.store(true, Ordering::Release);
        if let Some(through) = &running.through {
            through.thread.unpark();
            // It ends without a word.
            let _ = through.is_over.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
        running.work.finish(until);
        // It ends by itself at that time.
        let _ = running.hall.join();
        running.work.end();
        if let Some(handle) = &self.handle {
            handle.close();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Service");
        shown.field("node_id", &self.node_id).field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Waits for the daemon; one that is away, or stopped, is not waited for.
fn wait_a_little<T: 'static>(answer: Answer<T>) {
    let (sender, answered) = channel::<()>();
    answer.then(move |_| drop(sender));
    // It ends without a word.
    let _ = answered.recv_timeout(DAEMON_PATIENCE);
}

/// Starts the threads of a service, and tells the service manager that it is ready.
pub(super) fn start(parts: Parts) -> io::Result<Service> {
    let Parts { about, listeners, answers, bounds, workers, calls_per_caller, notifies, daemon } = parts;
    let addresses = listeners.iter().map(|bound| bound.place.address.clone()).collect();
    let (about, answers) = (Arc::new(about), Arc::new(answers));
    let (letterbox, work) = (Arc::new(Letterbox::new()?), Arc::new(Work::new(calls_per_caller)));
    let stop_timeout = bounds.stop_timeout;
    let hall = Hall::new(listeners, Arc::clone(&letterbox), Arc::clone(&work), Arc::clone(&about), bounds)?;
    let handle = daemon.as_ref().map(|(handle, _)| handle.clone());
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let hall = named("telex-service").spawn(move || hall.run())?;
    let ends = Arc::new(AtomicBool::new(false));
    let mut running = Running {
        letterbox: Arc::clone(&letterbox),
        work: Arc::clone(&work),
        hall,
        through: None,
        ends: Arc::clone(&ends),
        stop_timeout,
        notifies,
    };
    let service = |running| Service {
        node_id: about.node_id.clone(),
        addresses,
        handle: handle.clone(),
        running: Mutex::new(Some(running)),
        process: std::process::id(),
    };
    let mut started = Ok(());
    for _ in 0..workers.max(1) {
        let desk = Desk {
            about: Arc::clone(&about),
            answers: Arc::clone(&answers),
            letterbox: Arc::clone(&letterbox),
            work: Arc::clone(&work),
            handle: handle.clone(),
        };
        started = started.and(named("telex-worker").spawn(move || desk.run()).map(drop));
    }
    if let Some((handle, inbox)) = daemon {
        let (over, is_over): (Sender<()>, _) = channel();
        let run = move || {
            through::run(inbox, &handle, &work, &ends);
            drop(over);
        };
        match named("telex-switch").spawn(run) {
            Ok(thread) => running.through = Some(Through { thread: thread.thread().clone(), is_over }),
            Err(error) => started = Err(error),
        }
    }
    // One that has begun stops in order.
    let service = service(running);
    started?;
    if notifies {
        notify::ready();
    }
    Ok(service)
}

/// What a thread needs that handles messages.
struct Desk {
    about: Arc<About>,
    answers: Arc<Answers>,
    letterbox: Arc<Letterbox>,
    work: Arc<Work>,
    handle: Option<Handle>,
}

impl Desk {
    fn run(&self) {
        while let Some((caller, job)) = self.work.next() {
            self.handle(&caller, &job);
            self.work.done(caller, &job);
        }
    }

    fn handle(&self, caller: &Caller, job: &Job) {
        let message = &job.message;
        let line = match caller {
            _ if !message.is_request() => {
                self.answers.hear(message);
                Vec::new()
            }
            // The daemon has told its caller.
            Caller::Switch(_) if job.is_late() => Vec::new(),
            Caller::Direct(_) if job.is_late() => late_reply(message, &self.about),
            Caller::Switch(_) => {
                let body = self.answers.answer(message);
                if let Some(handle) = &self.handle {
                    through::reply(handle, message, &body);
                }
                Vec::new()
            }
            Caller::Direct(_) => self.line(message, &self.answers.answer(message)),
        };
        if let Caller::Direct(number) = caller {
            self.letterbox.answer(*number, line, job.bytes());
        }
    }

    /// The reply; if the answer cannot be sent, that is the reply.
    fn line(&self, request: &crate::client::Message, body: &str) -> Vec<u8> {
        let About { node_id, max_line_bytes, .. } = &*self.about;
        let line = |body: &str| direct_reply(&self.about.next_id(), node_id, request, body, *max_line_bytes);
        line(body)
            .or_else(|why| line(&error_body(&why.to_string(), None)))
            // A request without an id has been given one.
            .unwrap_or_default()
    }
}
