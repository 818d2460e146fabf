//! Knows what a plugin sees of the daemon, and what it says to it.
//! Never: what is done about that.

use std::borrow::Cow;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use telex_plugin::raw::{self, Str};

use super::text::text_of;
use crate::plugin::wake::Wake;

/// Records of a plugin's own that are kept between two turns.
const SAID_MAX: usize = 1000;
/// The shortest timer, in milliseconds.
const TIMER_MIN: u64 = 10;

/// What a plugin sees of the daemon, and what it has said to it.
#[derive(Debug)]
pub(in crate::plugin) struct Host {
    pub(super) raw: raw::Host,
    shared: Arc<Shared>,
}

impl Host {
    /// It stands still: plugins are given its address.
    /// If it is `checking` its plugin opens nothing for writing.
    pub(in crate::plugin) fn new(daemon: &str, name: &str, checking: bool, wake: Wake) -> Box<Host> {
        let shared = Shared {
            daemon: daemon.to_owned(),
            name: name.to_owned(),
            said: Mutex::default(),
            has_said: AtomicBool::new(false),
            takes_log: AtomicBool::new(false),
            echoes: Mutex::default(),
            reason: Mutex::default(),
            timer: AtomicU64::new(0),
            wake,
        };
        let raw = raw::Host {
            size: size_of::<raw::Host>() as u32,
            abi: raw::ABI,
            context: std::ptr::null_mut(),
            daemon: Str::NONE,
            name: Str::NONE,
            log: host_log,
            fail: host_fail,
            set_timer: host_set_timer,
            extension: host_extension,
            checking: u32::from(checking),
            reserved: 0,
        };
        let mut host = Box::new(Host { raw, shared: Arc::new(shared) });
        host.raw.daemon = Str::of(&host.shared.daemon);
        host.raw.name = Str::of(&host.shared.name);
        host.raw.context = Arc::as_ptr(&host.shared).cast_mut().cast();
        host
    }

    /// Why the instance could not be made.
    pub(super) fn reason(&self) -> Option<String> {
        lock(&self.shared.reason).take()
    }

    /// What its plugin says.
    pub(in crate::plugin) fn voice(&self) -> Voice {
        Voice(self.shared.clone())
    }

    /// It is handed records from now on, or no more.
    pub(super) fn set_takes_log(&self, takes_log: bool) {
        self.shared.takes_log.store(takes_log, Ordering::Relaxed);
    }

    /// How often the plugin wants to hear of its timer, in milliseconds; 0: never.
    pub(super) fn timer(&self) -> u64 {
        self.shared.timer.load(Ordering::Relaxed)
    }
}

/// What a plugin says, from before its instance is made until after it is ended.
#[derive(Debug)]
pub(in crate::plugin) struct Voice(Arc<Shared>);

impl Voice {
    /// The name of the plugin in the configuration.
    pub(in crate::plugin) fn name(&self) -> &str {
        &self.0.name
    }

    /// What it has said about records that it was handed, since it was asked last.
    pub(in crate::plugin) fn echoes(&self) -> Said {
        std::mem::take(&mut *lock(&self.0.echoes))
    }

    /// What else it has said since it was asked last.
    pub(in crate::plugin) fn said(&self) -> Option<Said> {
        self.0.has_said.swap(false, Ordering::Acquire).then(|| std::mem::take(&mut *lock(&self.0.said)))
    }

    /// Whether the instance is gone, and nothing more will be said.
    pub(in crate::plugin) fn is_over(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

#[derive(Debug)]
struct Shared {
    daemon: String,
    name: String,
    said: Mutex<Said>,
    /// There is something in `said`: looked at in every turn.
    has_said: AtomicBool,
    /// It is being handed records.
    takes_log: AtomicBool,
    /// What it says of them.
    echoes: Mutex<Said>,
    /// Why `create` fails.
    reason: Mutex<Option<String>>,
    /// In milliseconds; 0: none.
    timer: AtomicU64,
    wake: Wake,
}

/// What a plugin has said to the log since the last turn.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Said {
    /// Each with its level.
    pub(in crate::plugin) records: Vec<(i32, String)>,
    /// How many more there were.
    pub(in crate::plugin) lost: usize,
}

impl Said {
    fn add(&mut self, level: i32, message: String) {
        match self.records.len() < SAID_MAX {
            true => self.records.push((level, message)),
            false => self.lost += 1,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// The functions of a host. They are called with the pointer that the plugin was given.

unsafe fn shared<'a>(host: *const raw::Host) -> &'a Shared {
    // SAFETY: it points to the host of an instance, which lives longer than the instance.
    unsafe { &*(*host).context.cast::<Shared>() }
}

unsafe extern "C" fn host_log(host: *const raw::Host, level: i32, message: Str) {
    // SAFETY: as the header promises.
    let (shared, message) = unsafe { (shared(host), text_of(message)) };
    let (is_on_loop, message) = (shared.wake.is_on_loop(), message.unwrap_or_default().into_owned());
    if is_on_loop && shared.takes_log.load(Ordering::Relaxed) {
        return lock(&shared.echoes).add(level, message);
    }
    lock(&shared.said).add(level, message);
    // A turn on the loop's own thread looks at its end by itself.
    if !shared.has_said.swap(true, Ordering::Release) && !is_on_loop {
        shared.wake.wake();
    }
}

unsafe extern "C" fn host_fail(host: *const raw::Host, reason: Str) {
    // SAFETY: as the header promises.
    let (shared, reason) = unsafe { (shared(host), text_of(reason)) };
    *lock(&shared.reason) = reason.map(Cow::into_owned);
}

unsafe extern "C" fn host_set_timer(host: *const raw::Host, milliseconds: u64) -> i32 {
    if (1..TIMER_MIN).contains(&milliseconds) {
        return raw::BAD_VALUE;
    }
    // SAFETY: as the header promises.
    unsafe { shared(host) }.timer.store(milliseconds, Ordering::Relaxed);
    raw::OK
}

unsafe extern "C" fn host_extension(_: *const raw::Host, _: *const c_char) -> *const c_void {
    // There is none beyond the header yet.
    std::ptr::null()
}
