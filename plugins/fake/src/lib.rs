//! The fake daemon of `telex_plugin::testing`, for C: `telex_fake.h` says what each function does.
#![expect(unsafe_code, reason = "tests speak C")]
// What the header says of a pointer is relied on: it is right, and lives until the function returns.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int};

use telex_plugin::raw::{self, Str};
use telex_plugin::testing::{Emitted, Event, FakeDaemon, Peer};
use telex_plugin::{Descriptor, Heard, Kind, Level, Record, Replacement, Transport, Verdict};

thread_local! {
    static ERROR: RefCell<String> = const { RefCell::new(String::new()) };
}

/// `telex_fake`.
#[derive(Debug)]
pub struct Fake {
    /// None when the instance has ended.
    daemon: Option<FakeDaemon>,
    reason: Option<String>,
    replaced: Replacement,
    logged: VecDeque<(Level, String)>,
    emitted: VecDeque<Emitted>,
    /// What was given out last.
    record: String,
    signal: Option<Emitted>,
}

impl Fake {
    fn daemon(&mut self) -> &mut FakeDaemon {
        self.daemon.as_mut().expect("the instance has ended")
    }

    fn take(&mut self, verdict: Option<Verdict>) -> i32 {
        (self.reason, self.replaced) = (None, Replacement::default());
        match verdict {
            None => raw::NOT_FOUND,
            Some(Verdict::Pass) => raw::PASS,
            Some(Verdict::Drop) => raw::DROP,
            Some(Verdict::Fault) => raw::FAULT,
            Some(Verdict::Reject(reason)) => {
                self.reason = Some(reason);
                raw::REJECT
            }
            Some(Verdict::Replace(replaced)) => {
                self.replaced = replaced;
                raw::REPLACE
            }
        }
    }

    fn end(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            self.emitted.extend(daemon.emitted());
        }
        self.logged.extend(self.daemon.take().into_iter().flat_map(FakeDaemon::end_plugin));
    }
}

/// # Safety
/// As of the others: the header says what is handed over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_start(
    plugin: *const raw::Descriptor,
    config: *const c_char,
) -> *mut Fake {
    // SAFETY: a descriptor is static, and this is what `Descriptor` is; the rest as above.
    let (plugin, config) = unsafe { (&*plugin.cast::<Descriptor>(), line_of(config)) };
    match FakeDaemon::start(plugin, config) {
        Ok(daemon) => Box::into_raw(Box::new(Fake {
            daemon: Some(daemon),
            reason: None,
            replaced: Replacement::default(),
            logged: VecDeque::new(),
            emitted: VecDeque::new(),
            record: String::new(),
            signal: None,
        })),
        Err(error) => {
            ERROR.set(error);
            std::ptr::null_mut()
        }
    }
}

/// Why there is none.
#[unsafe(no_mangle)]
pub extern "C" fn telex_fake_error() -> Str {
    ERROR.with_borrow(|error| Str::of(error))
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_end(fake: *mut Fake) {
    // SAFETY: as above.
    unsafe { (*fake).end() }
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_free(fake: *mut Fake) {
    // SAFETY: it came from `telex_fake_start`, and this is its last use.
    drop(unsafe { Box::from_raw(fake) });
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_judge(
    fake: *mut Fake,
    sender: *const raw::Peer,
    line: *const c_char,
) -> i32 {
    // SAFETY: as above.
    let (fake, sender, line) = unsafe { (&mut *fake, peer_of(sender), line_of(line)) };
    let verdict = fake.daemon().judge(&sender.unwrap_or_default(), line);
    fake.take(verdict)
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_reason(fake: *mut Fake) -> Str {
    // SAFETY: as above.
    Str::maybe(unsafe { &*fake }.reason.as_deref())
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_replaced(fake: *mut Fake, field: i32) -> Str {
    // SAFETY: as above.
    let Replacement { to, topic, message_type, body } = unsafe { &(*fake).replaced };
    Str::maybe(match field {
        raw::FIELD_TO => to.as_deref(),
        raw::FIELD_TOPIC => topic.as_deref(),
        raw::FIELD_TYPE => message_type.as_deref(),
        raw::FIELD_BODY => body.as_deref(),
        _ => None,
    })
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_event(fake: *mut Fake, event: *const raw::Event) -> i32 {
    // SAFETY: as above.
    let (fake, event) = unsafe { (&mut *fake, &*event) };
    let kind = Kind::from_number(event.kind).expect("there is no event of this kind");
    // SAFETY: as above.
    let (peer, [node_id, topic, group, reason]) = unsafe {
        (peer_of(event.peer), [event.node_id, event.topic, event.group, event.reason].map(|it| text_of(it)))
    };
    let replayed = event.replayed != 0;
    let event = Event { kind, replayed, peer: peer.as_ref(), node_id, topic, group, reason };
    let heard = fake.daemon().event(&event);
    let verdict = heard.map(|heard| match heard {
        Heard::Yes => Verdict::Pass,
        Heard::Refused(reason) => Verdict::Reject(reason),
        Heard::Fault => Verdict::Fault,
    });
    fake.take(verdict)
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_record(fake: *mut Fake, record: *const raw::Record) -> i32 {
    // SAFETY: as above.
    let (fake, record) = unsafe { (&mut *fake, &*record) };
    // SAFETY: as above.
    let [event, node_id, message, fields] =
        unsafe { [record.event, record.node_id, record.message, record.fields].map(|it| text_of(it)) };
    let record = Record {
        level: Level::from_number(record.level),
        time: record.time,
        event: event.unwrap_or_default(),
        connection: Some(record.connection).filter(|number| *number != 0),
        node_id,
        uid: u32::try_from(record.uid).ok(),
        message: message.unwrap_or_default(),
        fields: fields.unwrap_or("{}"),
    };
    fake.daemon().record(&record).map_or(raw::FAULT, |()| raw::OK)
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_flush(fake: *mut Fake) -> i32 {
    // SAFETY: as above.
    unsafe { &mut *fake }.daemon().flush().map_or(raw::FAULT, |()| raw::OK)
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_logged(fake: *mut Fake, level: *mut i32, message: *mut Str) -> c_int {
    // SAFETY: as above.
    let fake = unsafe { &mut *fake };
    if let Some(daemon) = &mut fake.daemon {
        fake.logged.extend(daemon.logged());
    }
    let Some((its_level, text)) = fake.logged.pop_front() else { return 0 };
    fake.record = text;
    // SAFETY: as above.
    unsafe {
        level.write(its_level.number());
        message.write(Str::of(&fake.record));
    }
    1
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_emitted(
    fake: *mut Fake,
    to: *mut Str,
    topic: *mut Str,
    body: *mut Str,
) -> c_int {
    // SAFETY: as above.
    let fake = unsafe { &mut *fake };
    if let Some(daemon) = &mut fake.daemon {
        fake.emitted.extend(daemon.emitted());
    }
    let Some(signal) = fake.emitted.pop_front() else { return 0 };
    let signal = fake.signal.insert(signal);
    // SAFETY: as above.
    unsafe {
        to.write(Str::maybe(signal.to.as_deref()));
        topic.write(Str::maybe(signal.topic.as_deref()));
        body.write(Str::of(&signal.body));
    }
    1
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telex_fake_timer(fake: *const Fake) -> u64 {
    // SAFETY: as above.
    let timer = unsafe { &*fake }.daemon.as_ref().and_then(FakeDaemon::timer);
    timer.map_or(0, |every| every.as_millis() as u64)
}

/// A text with a NUL at its end.
unsafe fn line_of<'a>(text: *const c_char) -> &'a str {
    // SAFETY: as above.
    unsafe { CStr::from_ptr(text) }.to_str().expect("this is no UTF-8")
}

unsafe fn text_of<'a>(text: Str) -> Option<&'a str> {
    if text.data.is_null() {
        return None;
    }
    // SAFETY: as above.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast(), text.len) };
    Some(std::str::from_utf8(bytes).expect("this is no UTF-8"))
}

unsafe fn peer_of(peer: *const raw::Peer) -> Option<Peer> {
    // SAFETY: as above.
    let peer = unsafe { peer.as_ref() }?;
    let node_ids = match peer.node_id_count {
        0 => &[],
        // SAFETY: so many are there.
        count => unsafe { std::slice::from_raw_parts(peer.node_ids, count) },
    };
    // SAFETY: as above.
    let text = |text: Str| unsafe { text_of(text) }.map(str::to_owned);
    Some(Peer {
        connection: peer.connection,
        node_ids: node_ids.iter().filter_map(|node_id| text(*node_id)).collect(),
        transport: if peer.transport == raw::TCP { Transport::Tcp } else { Transport::Unix },
        uid: u32::try_from(peer.uid).ok(),
        gid: u32::try_from(peer.gid).ok(),
        pid: i32::try_from(peer.pid).ok().filter(|pid| *pid >= 0),
        user: text(peer.user),
        administrator: peer.administrator != 0,
    })
}
