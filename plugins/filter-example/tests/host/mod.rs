//! A host of one plugin, for tests of built libraries: it loads one as telexd would, and tells what the
//! plugin makes of messages and events.
#![allow(dead_code, reason = "not every test needs all of it")]
#![expect(unsafe_code, reason = "the other side speaks C")]
// What telex_plugin.h promises to plugins is kept by lending them nothing but locals, and contexts that outlive
// the calls.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;

use serde_json::Value;
use telex_plugin::matches;
use telex_plugin::raw::{self, Str};

/// A library with one instance.
pub(crate) struct Loaded {
    /// Who sends what is judged: over a Unix socket a uid, over TCP perhaps a name.
    pub(crate) uid: Option<u32>,
    pub(crate) user: Option<&'static str>,
    instance: *mut c_void,
    descriptor: raw::Descriptor,
    filter: Option<raw::Filter>,
    events: Option<raw::Events>,
    host: Box<raw::Host>,
    told: Box<RefCell<Told>>,
    _library: libloading::Library,
}

/// What the instance has told the host.
#[derive(Debug, Default)]
struct Told {
    logged: Vec<(i32, String)>,
    failed: Option<String>,
}

/// What became of a message or an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) verdict: i32,
    pub(crate) reason: Option<String>,
    pub(crate) replaced: Vec<(i32, String)>,
}

/// What a call can reach.
struct Context {
    body: Option<Value>,
    judged: RefCell<Judged>,
    found: RefCell<Vec<String>>,
}

impl Loaded {
    /// Loads a library and makes an instance, or tells why there is none.
    pub(crate) fn new(library: &Path, config: &str) -> Result<Loaded, String> {
        // SAFETY: it is a plugin of this repository.
        let library = unsafe { libloading::Library::new(library) }.map_err(|error| error.to_string())?;
        // SAFETY: so the symbol is what the header says.
        let descriptor: raw::Descriptor = unsafe {
            **library.get::<*const raw::Descriptor>("telex_plugin").map_err(|error| error.to_string())?
        };
        assert_eq!((descriptor.magic, descriptor.abi), (raw::MAGIC, raw::ABI));
        assert_eq!(descriptor.size as usize, size_of::<raw::Descriptor>());
        let told = Box::<RefCell<Told>>::default();
        let host = Box::new(raw::Host {
            size: size_of::<raw::Host>() as u32,
            abi: raw::ABI,
            context: std::ptr::from_ref(&*told).cast_mut().cast(),
            daemon: Str::of("telexd 0.0.0"),
            name: Str::of("test"),
            log,
            fail,
            set_timer,
            extension,
        });
        let (create, ask) = (descriptor.create.unwrap(), descriptor.extension.unwrap());
        // SAFETY: as above.
        let instance = unsafe { create(&*host, Str::of(config)) };
        if instance.is_null() {
            return Err(told.take().failed.unwrap_or_default());
        }
        // SAFETY: as above.
        let table = |id: &str| unsafe { ask(instance, CString::new(id).unwrap().as_ptr()) };
        assert!(table("telex.nothing/1").is_null());
        // SAFETY: as above.
        let filter = unsafe { table(raw::FILTER).cast::<raw::Filter>().as_ref() }.copied();
        // SAFETY: as above.
        let events = unsafe { table(raw::EVENTS).cast::<raw::Events>().as_ref() }.copied();
        Ok(Loaded {
            uid: Some(1000),
            user: None,
            instance,
            descriptor,
            filter,
            events,
            host,
            told,
            _library: library,
        })
    }

    /// Its name and version.
    pub(crate) fn name(&self) -> [&str; 2] {
        // SAFETY: they are static.
        [self.descriptor.name, self.descriptor.version]
            .map(|it| unsafe { CStr::from_ptr(it) }.to_str().unwrap())
    }

    /// Has a line judged that `:7` has sent from "alice"; none where the filter is not interested.
    pub(crate) fn judge(&self, line: &str) -> Option<Judged> {
        let filter = self.filter.expect("it is a filter");
        let json: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| json[name].as_str();
        let message_type = field("message_type").unwrap();
        let from = field("from").unwrap_or("alice");
        if !self.is_interested(
            &filter,
            [message_type, field("to").unwrap_or(""), field("topic").unwrap_or(""), from],
        ) {
            return None;
        }
        let body = json.get("body").map(Value::to_string);
        let node_ids = [Str::of("alice")];
        let peer = self.peer(&node_ids);
        let message = raw::Message {
            size: size_of::<raw::Message>() as u32,
            kind: match message_type {
                "signal" => raw::SIGNAL,
                reply if reply.ends_with("_reply") => raw::REPLY,
                _ => raw::REQUEST,
            },
            sender: &peer,
            line: Str::of(line),
            message_id: Str::NONE,
            message_type: Str::of(message_type),
            from: Str::of(from),
            to: Str::maybe(field("to")),
            topic: Str::maybe(field("topic")),
            key: Str::NONE,
            body: Str::maybe(body.as_deref()),
            in_reply_to: Str::NONE,
        };
        // SAFETY: as above.
        Some(call(json.get("body").cloned(), |call| unsafe {
            filter.judge.unwrap()(self.instance, &message, call)
        }))
    }

    fn is_interested(&self, filter: &raw::Filter, fields: [&str; 4]) -> bool {
        let Some(interests) = filter.interests else { return true };
        let mut count = 0;
        // SAFETY: so many are there, and live as long as the instance.
        let interests = unsafe {
            let first = interests(self.instance, &mut count);
            std::slice::from_raw_parts(first, count)
        };
        let fits = |pattern: Str, field| text(pattern).is_none_or(|pattern| matches(pattern, field));
        interests.iter().any(|it| {
            [it.message_type, it.to, it.topic, it.from]
                .into_iter()
                .zip(fields)
                .all(|(one, field)| fits(one, field))
        })
    }

    /// Has the plugin hear of something, where it wants to.
    pub(crate) fn event(&self, kind: u32, node_id: Option<&str>) -> Option<Judged> {
        let events = self.events.expect("it hears events");
        // SAFETY: as above.
        if unsafe { events.wants.unwrap()(self.instance) } & (1 << kind) == 0 {
            return None;
        }
        let node_ids: Vec<_> = node_id.map(Str::of).into_iter().collect();
        let peer = self.peer(&node_ids);
        let event = raw::Event {
            size: size_of::<raw::Event>() as u32,
            kind,
            replayed: 0,
            reserved: 0,
            peer: &peer,
            node_id: Str::maybe(node_id),
            topic: Str::NONE,
            group: Str::NONE,
            reason: Str::NONE,
        };
        // SAFETY: as above.
        Some(call(None, |call| unsafe { events.event.unwrap()(self.instance, &event, call) }))
    }

    fn peer(&self, node_ids: &[Str]) -> raw::Peer {
        raw::Peer {
            size: size_of::<raw::Peer>() as u32,
            transport: if self.uid.is_some() { raw::UNIX } else { raw::TCP },
            connection: 7,
            unique_id: Str::of(":7"),
            node_ids: node_ids.as_ptr(),
            node_id_count: node_ids.len(),
            uid: self.uid.map_or(-1, i64::from),
            gid: self.uid.map_or(-1, i64::from),
            pid: -1,
            user: Str::maybe(self.user),
            administrator: 0,
            reserved: 0,
        }
    }

    /// What it has logged since the last time.
    pub(crate) fn logged(&self) -> Vec<(i32, String)> {
        std::mem::take(&mut self.told.borrow_mut().logged)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: this is its last use.
        unsafe { self.descriptor.destroy.unwrap()(self.instance) }
    }
}

fn call(body: Option<Value>, made: impl FnOnce(&raw::Call) -> i32) -> Judged {
    let context = Context { body, judged: RefCell::default(), found: RefCell::default() };
    let verdict = made(&raw::Call {
        size: size_of::<raw::Call>() as u32,
        reserved: 0,
        context: std::ptr::from_ref(&context).cast_mut().cast(),
        reason,
        replace,
        value,
        emit,
    });
    Judged { verdict, ..context.judged.into_inner() }
}

fn text<'a>(text: Str) -> Option<&'a str> {
    if text.data.is_null() {
        return None;
    }
    // SAFETY: the header says so.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast(), text.len) };
    Some(std::str::from_utf8(bytes).expect("UTF-8"))
}

fn owned(it: Str) -> String {
    text(it).expect("a text").to_owned()
}

fn told<'a>(host: *const raw::Host) -> &'a RefCell<Told> {
    // SAFETY: `Loaded` put it there.
    unsafe { &*(*host).context.cast() }
}

unsafe extern "C" fn log(host: *const raw::Host, level: i32, message: Str) {
    told(host).borrow_mut().logged.push((level, owned(message)));
}

unsafe extern "C" fn fail(host: *const raw::Host, reason: Str) {
    told(host).borrow_mut().failed = Some(owned(reason));
}

unsafe extern "C" fn set_timer(_: *const raw::Host, _: u64) -> i32 {
    raw::BAD_VALUE
}

unsafe extern "C" fn extension(_: *const raw::Host, _: *const c_char) -> *const c_void {
    std::ptr::null()
}

fn context<'a>(call: *const raw::Call) -> &'a Context {
    // SAFETY: `call` above put it there.
    unsafe { &*(*call).context.cast() }
}

unsafe extern "C" fn reason(call: *const raw::Call, reason: Str) -> i32 {
    context(call).judged.borrow_mut().reason = Some(owned(reason));
    raw::OK
}

unsafe extern "C" fn replace(call: *const raw::Call, field: i32, value: Str) -> i32 {
    context(call).judged.borrow_mut().replaced.push((field, owned(value)));
    raw::OK
}

unsafe extern "C" fn value(call: *const raw::Call, pointer: Str, found: *mut Str) -> i32 {
    let context = context(call);
    let Some(value) = context.body.as_ref().and_then(|body| body.pointer(&owned(pointer))) else {
        return raw::NOT_FOUND;
    };
    let mut values = context.found.borrow_mut();
    values.push(value.to_string());
    // SAFETY: the plugin has lent the place; the text stands still until the message is judged.
    unsafe { *found = Str::of(&values[values.len() - 1]) };
    raw::OK
}

unsafe extern "C" fn emit(_: *const raw::Call, _: Str, _: Str, _: Str) -> i32 {
    raw::OK
}
