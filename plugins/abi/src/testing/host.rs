//! Knows what a plugin tells its fake host, on any thread.
//! Never: which plugin that is.
#![expect(unsafe_code, reason = "plugins speak C")]

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::owned;
use crate::Level;
use crate::raw::{self, Str};

/// The shortest timer in milliseconds, as of telexd.
const TIMER_MIN: u64 = 10;

/// What it has told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) logged: Vec<(Level, String)>,
    pub(super) failed: Option<String>,
    pub(super) timer: u64,
}

/// A host that puts there what it is told.
pub(super) fn new(told: &Mutex<Told>) -> Box<raw::Host> {
    Box::new(raw::Host {
        size: size_of::<raw::Host>() as u32,
        abi: raw::ABI,
        context: std::ptr::from_ref(told).cast_mut().cast(),
        daemon: Str::of("telexd 0.0.0"),
        name: Str::of("tested"),
        log,
        fail,
        set_timer,
        extension,
        checking: 0,
        reserved: 0,
    })
}

pub(super) fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe fn told<'a>(host: *const raw::Host) -> MutexGuard<'a, Told> {
    // SAFETY: `new` put it there, and it lives longer than the instance.
    lock(unsafe { &*(*host).context.cast::<Mutex<Told>>() })
}

unsafe extern "C" fn log(host: *const raw::Host, level: i32, message: Str) {
    // SAFETY: as the header demands.
    let (mut told, message) = unsafe { (told(host), owned(message)) };
    told.logged.push((Level::from_number(level), message.unwrap_or_default()));
}

unsafe extern "C" fn fail(host: *const raw::Host, reason: Str) {
    // SAFETY: as the header demands.
    unsafe { told(host).failed = owned(reason) };
}

unsafe extern "C" fn set_timer(host: *const raw::Host, milliseconds: u64) -> i32 {
    if (1..TIMER_MIN).contains(&milliseconds) {
        return raw::BAD_VALUE;
    }
    // SAFETY: as the header demands.
    unsafe { told(host).timer = milliseconds };
    raw::OK
}

unsafe extern "C" fn extension(_: *const raw::Host, _: *const c_char) -> *const c_void {
    std::ptr::null()
}
