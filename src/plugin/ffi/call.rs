//! Knows what a plugin can do while it is called, and what it has done.
//! Never: what comes of it.

use std::cell::{Cell, RefCell};

use telex_plugin::raw::{self, Str};

use super::text::{right_text, text_of};
use crate::core::Emission;
use crate::wire::pointer;
use crate::wire::rewrite::one_value;

/// Signals that one call may emit.
const EMITTED_MAX: usize = 16;
/// Bytes that may be emitted before it is all taken: a turn has many calls.
const EMITTED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of a reason that are told.
const REASON_CHARS_MAX: usize = 1000;

/// What a plugin can do while it is called, and what it has done. One for all plugins, which are called one
/// after the other; it stands still, so that a plugin that keeps its pointer is told that it is too late.
pub(in crate::plugin) struct Call {
    pub(super) raw: raw::Call,
    pub(super) state: State,
}

pub(super) struct State {
    phase: Cell<Phase>,
    /// There is something in `reason` or `replaced`.
    has_said: Cell<bool>,
    reason: Cell<Option<String>>,
    replaced: RefCell<Replaced>,
    emitted: RefCell<Vec<Emission>>,
    emitted_bytes: Cell<usize>,
    /// Of the call that is under way.
    emitted_count: Cell<usize>,
    max_line_bytes: Cell<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// No call is under way.
    Idle,
    /// A message of this kind, with this body, is being judged.
    Filter {
        kind: u32,
        body: Str,
    },
    Event,
}

/// What a filter has replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::plugin) struct Replaced {
    pub(in crate::plugin) to: Option<String>,
    pub(in crate::plugin) topic: Option<String>,
    pub(in crate::plugin) message_type: Option<String>,
    /// Any text; whether it is JSON is not looked at yet.
    pub(in crate::plugin) body: Option<String>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("phase", &self.state.phase).finish_non_exhaustive()
    }
}

impl Call {
    pub(in crate::plugin) fn new(max_line_bytes: usize) -> Box<Call> {
        let raw = raw::Call {
            size: size_of::<raw::Call>() as u32,
            flags: 0,
            context: std::ptr::null_mut(),
            reason: call_reason,
            replace: call_replace,
            value: call_value,
            emit: call_emit,
            replace_at: call_replace_at,
        };
        let state = State {
            phase: Cell::new(Phase::Idle),
            has_said: Cell::new(false),
            reason: Cell::default(),
            replaced: RefCell::default(),
            emitted: RefCell::default(),
            emitted_bytes: Cell::new(0),
            emitted_count: Cell::new(0),
            max_line_bytes: Cell::new(max_line_bytes),
        };
        let mut call = Box::new(Call { raw, state });
        call.raw.context = std::ptr::from_ref(&call.state).cast_mut().cast();
        call
    }

    /// What is emitted may be so long from now on, and what is replaced.
    pub(in crate::plugin) fn set_max_line_bytes(&self, max_line_bytes: usize) {
        self.state.max_line_bytes.set(max_line_bytes);
    }

    pub(in crate::plugin) fn max_line_bytes(&self) -> usize {
        self.state.max_line_bytes.get()
    }

    /// Whether calls from now on are only asked what they would answer: what is emitted is not sent.
    pub(in crate::plugin) fn set_dry(&mut self, is_dry: bool) {
        self.raw.flags = if is_dry { raw::CALL_DRY } else { 0 };
    }

    /// The reason that the last call gave.
    pub(in crate::plugin) fn take_reason(&self) -> Option<String> {
        self.state.reason.take()
    }

    /// What the last call has replaced.
    pub(in crate::plugin) fn take_replaced(&self) -> Replaced {
        self.state.replaced.take()
    }

    /// What has been emitted since this was asked last.
    pub(in crate::plugin) fn take_emitted(&self) -> Vec<Emission> {
        self.state.emitted_bytes.set(0);
        self.state.emitted.take()
    }
}

impl State {
    #[inline(always)]
    pub(super) fn begin(&self, phase: Phase) {
        self.phase.set(phase);
        self.emitted_count.set(0);
        if self.has_said.replace(false) {
            self.forget();
        }
    }

    #[inline(never)]
    fn forget(&self) {
        self.reason.set(None);
        self.replaced.take();
    }

    pub(super) fn end(&self) {
        self.phase.set(Phase::Idle);
    }

    fn replace(&self, field: i32, value: String) -> i32 {
        let Phase::Filter { kind, .. } = self.phase.get() else { return raw::NOT_NOW };
        if kind == raw::REPLY && field != raw::FIELD_BODY {
            return raw::BAD_VALUE;
        }
        self.has_said.set(true);
        let mut replaced = self.replaced.borrow_mut();
        match field {
            raw::FIELD_TO => (replaced.to, replaced.topic) = (Some(value), None),
            raw::FIELD_TOPIC => (replaced.topic, replaced.to) = (Some(value), None),
            raw::FIELD_TYPE => replaced.message_type = Some(value),
            raw::FIELD_BODY => replaced.body = Some(value),
            _ => return raw::BAD_VALUE,
        }
        raw::OK
    }

    /// Changes one value of the body that the message has, or that it has been given before.
    fn replace_at(&self, body: &str, pointer: &str, json: &str) -> i32 {
        let mut replaced = self.replaced.borrow_mut();
        let (Some(body), Some(json)) = (one_value(replaced.body.as_deref().unwrap_or(body)), one_value(json))
        else {
            return raw::BAD_VALUE;
        };
        match pointer::replace(body, pointer, json) {
            Ok(Some(new)) if new.len() > self.max_line_bytes.get() => raw::TOO_MANY,
            Ok(Some(new)) => {
                replaced.body = Some(new);
                self.has_said.set(true);
                raw::OK
            }
            Ok(None) => raw::NOT_FOUND,
            Err(_) => raw::BAD_VALUE,
        }
    }

    fn emit(&self, to: Option<&str>, topic: Option<&str>, body: Option<&str>) -> i32 {
        if matches!(self.phase.get(), Phase::Idle) {
            return raw::NOT_NOW;
        }
        let body = body.unwrap_or_default();
        let bytes = self.emitted_bytes.get() + body.len();
        if self.emitted_count.get() >= EMITTED_MAX || bytes > EMITTED_BYTES_MAX {
            return raw::TOO_MANY;
        }
        let Ok(emission) = Emission::new(to, topic, body, self.max_line_bytes.get()) else {
            return raw::BAD_VALUE;
        };
        self.emitted_count.set(self.emitted_count.get() + 1);
        self.emitted_bytes.set(bytes);
        self.emitted.borrow_mut().push(emission);
        raw::OK
    }
}

// The functions of a call. They are called with the pointer that the plugin was given, perhaps too late.

unsafe fn state<'a>(call: *const raw::Call) -> &'a State {
    // SAFETY: it points to the one call that there is, which lives as long as all plugins.
    unsafe { &*(*call).context.cast::<State>() }
}

unsafe extern "C" fn call_reason(call: *const raw::Call, text: Str) -> i32 {
    // SAFETY: as the header promises.
    let (state, text) = unsafe { (state(call), text_of(text)) };
    if matches!(state.phase.get(), Phase::Idle) {
        return raw::NOT_NOW;
    }
    state.has_said.set(true);
    state.reason.set(text.map(|text| text.chars().take(REASON_CHARS_MAX).collect()));
    raw::OK
}

unsafe extern "C" fn call_replace(call: *const raw::Call, field: i32, value: Str) -> i32 {
    // SAFETY: as the header promises.
    let (state, value) = unsafe { (state(call), right_text(value)) };
    match value {
        Some(value) => state.replace(field, value.to_owned()),
        None => raw::BAD_VALUE,
    }
}

unsafe extern "C" fn call_value(call: *const raw::Call, pointer: Str, found: *mut Str) -> i32 {
    // SAFETY: as the header promises.
    let (state, pointer) = unsafe { (state(call), right_text(pointer)) };
    let Phase::Filter { body, .. } = state.phase.get() else { return raw::NOT_NOW };
    let Some(pointer) = pointer else { return raw::BAD_VALUE };
    // SAFETY: the body lives as long as the call is under way.
    let Some(body) = (unsafe { right_text(body) }) else { return raw::NOT_FOUND };
    match pointer::find(body, pointer) {
        Ok(Some(value)) => {
            // SAFETY: as the header promises.
            unsafe { found.write(Str::of(value)) };
            raw::OK
        }
        Ok(None) => raw::NOT_FOUND,
        Err(_) => raw::BAD_VALUE,
    }
}

unsafe extern "C" fn call_replace_at(call: *const raw::Call, pointer: Str, json: Str) -> i32 {
    // SAFETY: as the header promises.
    let (state, pointer, json) = unsafe { (state(call), right_text(pointer), right_text(json)) };
    let Phase::Filter { body, .. } = state.phase.get() else { return raw::NOT_NOW };
    let (Some(pointer), Some(json)) = (pointer, json) else { return raw::BAD_VALUE };
    // SAFETY: the body lives as long as the call is under way.
    match unsafe { right_text(body) } {
        Some(body) => state.replace_at(body, pointer, json),
        None => raw::NOT_FOUND,
    }
}

unsafe extern "C" fn call_emit(call: *const raw::Call, to: Str, topic: Str, body: Str) -> i32 {
    // SAFETY: as the header promises.
    let (state, to, topic, body) =
        unsafe { (state(call), right_text(to), right_text(topic), right_text(body)) };
    // SAFETY: as the header promises.
    let is_dry = unsafe { (*call).flags & raw::CALL_DRY != 0 };
    let (before, bytes) = (state.emitted.borrow().len(), state.emitted_bytes.get());
    let answer = state.emit(to, topic, body);
    if is_dry {
        state.emitted.borrow_mut().truncate(before);
        state.emitted_bytes.set(bytes);
    }
    answer
}
