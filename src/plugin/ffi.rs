//! Knows how a library is loaded and its functions called: the only place with raw pointers.
//! Never: which plugin is called when, or what comes of it.
#![expect(unsafe_code, reason = "plugins speak C")]

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};
use std::os::fd::IntoRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libloading::os::unix as dl;
use telex_plugin::raw::{self, Str};

use super::emission::Emission;
use super::file::{PluginFile, path_of};
use crate::wire::pointer;

/// Records of a plugin's own that are kept between two turns.
const SAID_MAX: usize = 1000;
/// Signals that one call may emit.
const EMITTED_MAX: usize = 16;
/// Interests of one filter.
const INTERESTS_MAX: usize = 10_000;
/// The shortest timer, in milliseconds.
const TIMER_MIN: u64 = 10;

/// A loaded library. It is never unloaded: threads of it may still run, and destructors of thread-locals are
/// its code (dlclose(3) would take that away).
#[derive(Debug)]
pub(super) struct Library {
    descriptor: raw::Descriptor,
    /// As it calls itself.
    pub(super) name: String,
    pub(super) version: String,
}

// SAFETY: it is never changed, and points to what is never unloaded.
unsafe impl Send for Library {}
// SAFETY: the same.
unsafe impl Sync for Library {}

impl Library {
    /// Loads a file, from a private copy of it. What runs then is its own: nothing protects the daemon from
    /// a library that means harm.
    pub(super) fn load(file: &mut PluginFile) -> Result<Library, String> {
        let copy = file.copy().map_err(|error| format!("it cannot be copied into memory: {error}"))?;
        // SAFETY: its constructors run; the file belongs to root or to the daemon's own user.
        let library = unsafe { dl::Library::open(Some(path_of(&copy)), dl::RTLD_NOW | dl::RTLD_LOCAL) };
        let library = library.map_err(|error| format!("it cannot be loaded: {error}"))?;
        // The loader takes another file under the same path for the same library. The path has the number of
        // the descriptor in it, so that must not be used again.
        let _ = copy.into_raw_fd();
        let library = std::mem::ManuallyDrop::new(library);
        // SAFETY: the type is that of any symbol: a pointer to it.
        let symbol = unsafe { library.get::<*const raw::Descriptor>(b"telex_plugin\0") };
        let symbol = symbol.map_err(|_| "it has no symbol `telex_plugin`, so it is no plugin of telexd")?;
        // SAFETY: the symbol is there, and what it is is found out field by field.
        unsafe { Library::read(*symbol) }
    }

    /// Reads a descriptor, each field only when those before it are right.
    unsafe fn read(at: *const raw::Descriptor) -> Result<Library, String> {
        // SAFETY: of a symbol that is no descriptor as much as this is readable in any library, whose data
        // is mapped in pages.
        let (magic, abi, size) = unsafe {
            let fields = at.cast::<u32>();
            (fields.read_unaligned(), fields.add(1).read_unaligned(), fields.add(2).read_unaligned())
        };
        if magic != raw::MAGIC {
            return Err(format!(
                "its `telex_plugin` begins with {magic:#010x}, not with TELEX_MAGIC ({:#010x})",
                raw::MAGIC
            ));
        }
        if abi != raw::ABI {
            return Err(format!(
                "it was built for version {abi} of the plugin interface (TELEX_ABI); this is version {}",
                raw::ABI
            ));
        }
        if (size as usize) < size_of::<raw::Descriptor>() {
            return Err(format!(
                "its descriptor says that it has {size} bytes; one of version {abi} has at least {}",
                size_of::<raw::Descriptor>()
            ));
        }
        // SAFETY: magic, version and size are right.
        let descriptor = unsafe { at.read_unaligned() };
        // SAFETY: a text of a right descriptor is null or ends with NUL.
        let text = |at: *const c_char| {
            (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned())
        };
        let name =
            text(descriptor.name).filter(|name| !name.is_empty()).ok_or("its descriptor has no name")?;
        let version = text(descriptor.version)
            .filter(|version| !version.is_empty())
            .ok_or("its descriptor has no version")?;
        let missing = [
            ("create", descriptor.create.is_none()),
            ("destroy", descriptor.destroy.is_none()),
            ("extension", descriptor.extension.is_none()),
        ];
        if let Some((function, _)) = missing.iter().find(|(_, is_missing)| *is_missing) {
            return Err(format!("its descriptor has no `{function}`"));
        }
        Ok(Library { descriptor, name, version })
    }
}

/// Messages that a filter wants to see; what is none matches all.
#[derive(Clone, Debug, Default)]
pub(super) struct Interest {
    pub(super) message_type: Option<String>,
    pub(super) to: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) from: Option<String>,
}

/// An instance of a plugin, with the tables of its extensions.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) library: Arc<Library>,
    pointer: NonNull<c_void>,
    /// Stands still: the plugin has a pointer to it.
    host: Box<Host>,
    log: Option<raw::Log>,
    filter: Option<raw::Filter>,
    events: Option<raw::Events>,
    pub(super) interests: Vec<Interest>,
    /// Bits by the kinds of events.
    pub(super) wants: u64,
}

// SAFETY: the header says that `create` and `destroy` may be called on a thread of their own.
unsafe impl Send for Instance {}

/// What a plugin sees of the daemon, and what it has said to it.
#[derive(Debug)]
struct Host {
    raw: raw::Host,
    shared: Arc<Shared>,
}

/// What a plugin says, also while and after its instance is ended.
#[derive(Clone, Debug)]
pub(super) struct Voice(Arc<Shared>);

impl Voice {
    /// The name of the plugin in the configuration.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// What it has said since it was asked last.
    pub(super) fn said(&self) -> Option<Said> {
        self.0.has_said.swap(false, Ordering::Acquire).then(|| std::mem::take(&mut *lock(&self.0.said)))
    }

    /// Whether the instance is gone, and nothing more will be said.
    pub(super) fn is_over(&self) -> bool {
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
    /// Why `create` fails.
    reason: Mutex<Option<String>>,
    /// In milliseconds; 0: none.
    timer: AtomicU64,
}

/// What a plugin has said to the log since the last turn.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Each with its level.
    pub(super) records: Vec<(i32, String)>,
    /// How many more there were.
    pub(super) lost: usize,
}

impl Instance {
    /// Makes an instance and asks it what it is. `name` is the plugin's in the configuration, `config` a JSON
    /// object.
    pub(super) fn create(
        library: Arc<Library>,
        daemon: &str,
        name: &str,
        config: &str,
    ) -> Result<Instance, String> {
        let shared = Shared {
            daemon: daemon.to_owned(),
            name: name.to_owned(),
            said: Mutex::default(),
            has_said: AtomicBool::new(false),
            reason: Mutex::default(),
            timer: AtomicU64::new(0),
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
        };
        let mut host = Box::new(Host { raw, shared: Arc::new(shared) });
        host.raw.daemon = Str::of(&host.shared.daemon);
        host.raw.name = Str::of(&host.shared.name);
        host.raw.context = Arc::as_ptr(&host.shared).cast_mut().cast();
        let descriptor = &library.descriptor;
        let create = descriptor.create.ok_or("its descriptor has no `create`")?;
        // SAFETY: the descriptor is right, and host and config live until it returns, the host longer.
        let pointer = unsafe { create(&host.raw, Str::of(config)) };
        let Some(pointer) = NonNull::new(pointer) else {
            let reason = lock(&host.shared.reason).take();
            return Err(reason.unwrap_or_else(|| "it could not be made, and it did not say why".to_owned()));
        };
        let mut instance = Instance {
            library,
            pointer,
            host,
            log: None,
            filter: None,
            events: None,
            interests: Vec::new(),
            wants: 0,
        };
        instance.ask()?;
        Ok(instance)
    }

    /// Asks a new instance for its extensions.
    fn ask(&mut self) -> Result<(), String> {
        self.log = self.extension::<raw::Log>(c"telex.log/1");
        self.filter = self.extension::<raw::Filter>(c"telex.filter/1");
        self.events = self.extension::<raw::Events>(c"telex.events/1");
        let missing = [
            ("telex.log/1", "record", self.log.is_some_and(|log| log.record.is_none())),
            ("telex.filter/1", "judge", self.filter.is_some_and(|filter| filter.judge.is_none())),
            ("telex.events/1", "event", self.events.is_some_and(|events| events.event.is_none())),
            ("telex.events/1", "wants", self.events.is_some_and(|events| events.wants.is_none())),
        ];
        if let Some((extension, function, _)) = missing.iter().find(|(.., is_missing)| *is_missing) {
            return Err(format!("its table for {extension} has no `{function}`"));
        }
        if self.log.is_none() && self.filter.is_none() && self.events.is_none() {
            return Err(
                "it has none of telex.log/1, telex.filter/1, telex.events/1, so it does nothing".to_owned()
            );
        }
        if let Some(wants) = self.events.and_then(|events| events.wants) {
            // SAFETY: the table is the instance's.
            self.wants = unsafe { wants(self.pointer.as_ptr()) };
        }
        self.interests = match self.filter.and_then(|filter| filter.interests) {
            None => vec![Interest::default()],
            // SAFETY: the table is the instance's.
            Some(interests) => unsafe { self.read_interests(interests)? },
        };
        Ok(())
    }

    unsafe fn read_interests(
        &self,
        interests: unsafe extern "C" fn(*mut c_void, *mut usize) -> *const raw::Interest,
    ) -> Result<Vec<Interest>, String> {
        let mut count = 0;
        // SAFETY: the table is the instance's.
        let list = unsafe { interests(self.pointer.as_ptr(), &mut count) };
        if count > INTERESTS_MAX || (list.is_null() && count > 0) {
            return Err(format!(
                "its list of interests is not right: {count} of them, and at most {INTERESTS_MAX} can be"
            ));
        }
        // SAFETY: so many are there, as the header promises.
        let list = if count == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(list, count) } };
        let owned = |text: Str| {
            // SAFETY: it lives as long as the list.
            unsafe { text_of(text) }.map(Cow::into_owned)
        };
        let own = |interest: &raw::Interest| Interest {
            message_type: owned(interest.message_type),
            to: owned(interest.to),
            topic: owned(interest.topic),
            from: owned(interest.from),
        };
        Ok(list.iter().map(own).collect())
    }

    /// A table, copied; it lives as long as the instance, but is not needed.
    fn extension<T: Copy>(&self, id: &CStr) -> Option<T> {
        let extension = self.library.descriptor.extension?;
        // SAFETY: the instance is this library's, and the table of an extension has one form for ever.
        unsafe { extension(self.pointer.as_ptr(), id.as_ptr()).cast::<T>().as_ref().copied() }
    }

    pub(super) fn is_log(&self) -> bool {
        self.log.is_some()
    }

    pub(super) fn is_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether it wants to hear of events of this kind.
    pub(super) fn wants(&self, kind: u32) -> bool {
        self.wants >> kind & 1 == 1
    }

    /// Hands it a record; gives its answer.
    pub(super) fn record(&mut self, record: &raw::Record) -> i32 {
        match self.log.and_then(|log| log.record) {
            // SAFETY: the table is the instance's, and the record lives until it returns.
            Some(function) => unsafe { function(self.pointer.as_ptr(), record) },
            None => raw::OK,
        }
    }

    /// Tells it that the turn's records are all there.
    pub(super) fn flush(&mut self) -> i32 {
        match self.log.and_then(|log| log.flush) {
            // SAFETY: the table is the instance's.
            Some(function) => unsafe { function(self.pointer.as_ptr()) },
            None => raw::OK,
        }
    }

    /// Has it judge a message. What it has to say of it is in `call` afterwards.
    pub(super) fn judge(&mut self, message: &raw::Message, call: &Call) -> i32 {
        let Some(function) = self.filter.and_then(|filter| filter.judge) else { return raw::PASS };
        call.state.begin(Phase::Filter { kind: message.kind, body: message.body });
        // SAFETY: the table is the instance's, and all that is handed to it lives until it returns.
        let answer = unsafe { function(self.pointer.as_ptr(), message, &call.raw) };
        call.state.end();
        answer
    }

    /// Tells it of an event.
    pub(super) fn event(&mut self, event: &raw::Event, call: &Call) -> i32 {
        let Some(function) = self.events.and_then(|events| events.event) else { return raw::OK };
        call.state.begin(Phase::Event);
        // SAFETY: the table is the instance's, and all that is handed to it lives until it returns.
        let answer = unsafe { function(self.pointer.as_ptr(), event, &call.raw) };
        call.state.end();
        answer
    }

    /// What it says, beyond its end.
    pub(super) fn voice(&self) -> Voice {
        Voice(self.host.shared.clone())
    }

    /// How often it wants to hear of its timer, in milliseconds; 0: never.
    pub(super) fn timer(&self) -> u64 {
        self.host.shared.timer.load(Ordering::Relaxed)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.library.descriptor.destroy {
            // SAFETY: the instance is this library's, and is not used any more.
            unsafe { destroy(self.pointer.as_ptr()) };
        }
    }
}

/// What a plugin can do while it is called, and what it has done. One for all plugins, which are called one
/// after the other; it stands still, so that a plugin that keeps its pointer is told that it is too late.
#[derive(Debug)]
pub(super) struct Call {
    raw: raw::Call,
    state: State,
}

#[derive(Debug)]
struct State {
    phase: Cell<Phase>,
    reason: RefCell<Option<String>>,
    replaced: RefCell<Replaced>,
    emitted: RefCell<Vec<Emission>>,
    /// Of the call that is under way.
    emitted_count: Cell<usize>,
    max_line_bytes: Cell<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
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
pub(super) struct Replaced {
    pub(super) to: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) message_type: Option<String>,
    /// Any text; whether it is JSON is not looked at yet.
    pub(super) body: Option<String>,
}

impl Call {
    pub(super) fn new(max_line_bytes: usize) -> Box<Call> {
        let raw = raw::Call {
            size: size_of::<raw::Call>() as u32,
            reserved: 0,
            context: std::ptr::null_mut(),
            reason: call_reason,
            replace: call_replace,
            value: call_value,
            emit: call_emit,
        };
        let state = State {
            phase: Cell::new(Phase::Idle),
            reason: RefCell::default(),
            replaced: RefCell::default(),
            emitted: RefCell::default(),
            emitted_count: Cell::new(0),
            max_line_bytes: Cell::new(max_line_bytes),
        };
        let mut call = Box::new(Call { raw, state });
        call.raw.context = std::ptr::from_ref(&call.state).cast_mut().cast();
        call
    }

    /// What is emitted may be so long from now on, and what is replaced.
    pub(super) fn set_max_line_bytes(&self, max_line_bytes: usize) {
        self.state.max_line_bytes.set(max_line_bytes);
    }

    pub(super) fn max_line_bytes(&self) -> usize {
        self.state.max_line_bytes.get()
    }

    /// The reason that the last call gave.
    pub(super) fn take_reason(&self) -> Option<String> {
        self.state.reason.take()
    }

    /// What the last call has replaced.
    pub(super) fn take_replaced(&self) -> Replaced {
        self.state.replaced.take()
    }

    /// What has been emitted since this was asked last.
    pub(super) fn take_emitted(&self) -> Vec<Emission> {
        self.state.emitted.take()
    }
}

impl State {
    fn begin(&self, phase: Phase) {
        self.phase.set(phase);
        self.emitted_count.set(0);
        self.reason.replace(None);
        self.replaced.take();
    }

    fn end(&self) {
        self.phase.set(Phase::Idle);
    }

    fn replace(&self, field: i32, value: String) -> i32 {
        let Phase::Filter { kind, .. } = self.phase.get() else { return raw::NOT_NOW };
        if kind == raw::REPLY && field != raw::FIELD_BODY {
            return raw::BAD_VALUE;
        }
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

    fn emit(&self, emission: Option<Emission>) -> i32 {
        if matches!(self.phase.get(), Phase::Idle) {
            return raw::NOT_NOW;
        }
        if self.emitted_count.get() >= EMITTED_MAX {
            return raw::TOO_MANY;
        }
        let Some(emission) = emission else { return raw::BAD_VALUE };
        self.emitted_count.set(self.emitted_count.get() + 1);
        self.emitted.borrow_mut().push(emission);
        raw::OK
    }
}

/// A text that a plugin hands over; none where it is not there. What is no UTF-8 in it is replaced.
unsafe fn text_of<'a>(text: Str) -> Option<Cow<'a, str>> {
    if text.data.is_null() || text.len > isize::MAX as usize {
        return None;
    }
    // SAFETY: the header promises so many bytes.
    Some(String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(text.data.cast(), text.len) }))
}

/// The same of one that has to be right.
unsafe fn right_text<'a>(text: Str) -> Option<&'a str> {
    // SAFETY: as there.
    match unsafe { text_of(text) } {
        Some(Cow::Borrowed(text)) => Some(text),
        _ => None,
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
    let mut said = lock(&shared.said);
    match said.records.len() < SAID_MAX {
        true => said.records.push((level, message.unwrap_or_default().into_owned())),
        false => said.lost += 1,
    }
    shared.has_said.store(true, Ordering::Release);
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
    state.reason.replace(text.map(Cow::into_owned));
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

unsafe extern "C" fn call_emit(call: *const raw::Call, to: Str, topic: Str, body: Str) -> i32 {
    // SAFETY: as the header promises.
    let (state, to, topic, body) =
        unsafe { (state(call), right_text(to), right_text(topic), right_text(body)) };
    state.emit(Emission::new(to, topic, body, state.max_line_bytes.get()))
}
