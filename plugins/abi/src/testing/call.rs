//! Knows what a plugin can do while a fake daemon calls it, and what it has done.
//! Never: what comes of it.
#![expect(unsafe_code, reason = "plugins speak C")]

use std::cell::{RefCell, RefMut};

use super::json::{find, value};
use super::{Emitted, owned};
use crate::raw::{self, Str};
use crate::{Replacement, view};

/// Signals that one call may emit, as of telexd.
const EMITTED_MAX: usize = 16;

/// What a call can reach.
#[derive(Debug, Default)]
pub(super) struct State {
    /// None where no call is under way.
    pub(super) phase: Option<Phase>,
    pub(super) reason: Option<String>,
    pub(super) replaced: Replacement,
    pub(super) emitted: Vec<Emitted>,
    /// Of the call that is under way.
    emitted_count: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Filter { kind: u32, body: Str },
    Event,
}

impl State {
    /// A call begins. What others have emitted stays.
    pub(super) fn begin(&mut self, phase: Phase) {
        let emitted = std::mem::take(&mut self.emitted);
        *self = State { phase: Some(phase), emitted, ..State::default() };
    }
}

/// A call that puts there what is done.
pub(super) fn new(state: &RefCell<State>) -> Box<raw::Call> {
    Box::new(raw::Call {
        size: size_of::<raw::Call>() as u32,
        flags: 0,
        context: std::ptr::from_ref(state).cast_mut().cast(),
        reason,
        replace,
        value: find_value,
        emit,
        replace_at,
    })
}

unsafe fn state<'a>(call: *const raw::Call) -> RefMut<'a, State> {
    // SAFETY: `new` put it there, and it lives longer than the instance.
    unsafe { &*(*call).context.cast::<RefCell<State>>() }.borrow_mut()
}

unsafe extern "C" fn reason(call: *const raw::Call, text: Str) -> i32 {
    // SAFETY: as the header demands.
    let (mut state, text) = unsafe { (state(call), owned(text)) };
    if state.phase.is_none() {
        return raw::NOT_NOW;
    }
    state.reason = text;
    raw::OK
}

unsafe extern "C" fn replace(call: *const raw::Call, field: i32, value: Str) -> i32 {
    // SAFETY: as the header demands.
    let (mut state, value) = unsafe { (state(call), owned(value)) };
    let Some(Phase::Filter { kind, .. }) = state.phase else { return raw::NOT_NOW };
    if value.is_none() || kind == raw::REPLY && field != raw::FIELD_BODY {
        return raw::BAD_VALUE;
    }
    let replaced = &mut state.replaced;
    match field {
        raw::FIELD_TO => (replaced.to, replaced.topic) = (value, None),
        raw::FIELD_TOPIC => (replaced.topic, replaced.to) = (value, None),
        raw::FIELD_TYPE => replaced.message_type = value,
        raw::FIELD_BODY => replaced.body = value,
        _ => return raw::BAD_VALUE,
    }
    raw::OK
}

unsafe extern "C" fn find_value(call: *const raw::Call, pointer: Str, found: *mut Str) -> i32 {
    // SAFETY: as the header demands; the body lives as long as the call is under way.
    let (state, pointer) = unsafe { (state(call), view::text(pointer)) };
    let Some(Phase::Filter { body, .. }) = state.phase else { return raw::NOT_NOW };
    // SAFETY: the same.
    match (pointer, unsafe { view::text(body) }) {
        (None, _) => raw::BAD_VALUE,
        (_, None) => raw::NOT_FOUND,
        (Some(pointer), Some(body)) => match find(body, pointer) {
            Ok(Some(value)) => {
                // SAFETY: the plugin has lent the place.
                unsafe { found.write(Str::of(value)) };
                raw::OK
            }
            Ok(None) => raw::NOT_FOUND,
            Err(_) => raw::BAD_VALUE,
        },
    }
}

unsafe extern "C" fn replace_at(call: *const raw::Call, pointer: Str, json: Str) -> i32 {
    // SAFETY: as the header demands; the body lives as long as the call is under way.
    let (mut state, pointer, json) = unsafe { (state(call), owned(pointer), owned(json)) };
    let Some(Phase::Filter { body, .. }) = state.phase else { return raw::NOT_NOW };
    let (Some(pointer), Some(json)) = (pointer, json) else { return raw::BAD_VALUE };
    // SAFETY: the same.
    let Some(body) = state.replaced.body.clone().or(unsafe { owned(body) }) else { return raw::NOT_FOUND };
    let (Some(body), Some(json)) = (value(&body), value(&json)) else { return raw::BAD_VALUE };
    match find(body, &pointer) {
        Ok(Some(found)) => {
            let start = found.as_ptr() as usize - body.as_ptr() as usize;
            let new = [&body[..start], json, &body[start + found.len()..]].concat();
            state.replaced.body = Some(new);
            raw::OK
        }
        Ok(None) => raw::NOT_FOUND,
        Err(_) => raw::BAD_VALUE,
    }
}

unsafe extern "C" fn emit(call: *const raw::Call, to: Str, topic: Str, body: Str) -> i32 {
    // SAFETY: as the header demands.
    let (mut state, to, topic, body) = unsafe { (state(call), owned(to), owned(topic), owned(body)) };
    if state.phase.is_none() {
        return raw::NOT_NOW;
    }
    if state.emitted_count == EMITTED_MAX {
        return raw::TOO_MANY;
    }
    let body = body.as_deref().and_then(value).filter(|body| body.starts_with('{'));
    match body {
        Some(body) if to.is_some() != topic.is_some() => {
            state.emitted_count += 1;
            let body = body.to_owned();
            state.emitted.push(Emitted { to, topic, body });
            raw::OK
        }
        _ => raw::BAD_VALUE,
    }
}
