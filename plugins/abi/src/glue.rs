//! Knows how calls through pointers become calls of the traits, and back.
//! Never: what a plugin does with them.
#![expect(unsafe_code, reason = "the other side speaks C")]
// Every function that is handed a pointer relies on what telex_plugin.h promises of it: that it is right, and
// lives until the function returns. The comments at the blocks say only what goes beyond that.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::raw::{self, Str};
use crate::{
    Category, Events, Fault, Filter, Heard, Kind, Level, Log, Plugin, Refused, Target, Transport, Verdict,
};

/// A plugin type with the extensions that it exports; written by `export!`.
pub trait Exported: Plugin {
    /// The table of an extension.
    fn table(id: &str) -> Option<Table>;
}

/// The table of an extension, which lives for ever.
#[derive(Debug)]
pub struct Table(*const c_void);

/// What `telex_plugin` is.
#[repr(transparent)]
#[derive(Debug)]
pub struct Descriptor(raw::Descriptor);

// SAFETY: it is never changed, and its pointers are to statics.
unsafe impl Sync for Descriptor {}

/// What an instance pointer points to.
struct Instance<T> {
    plugin: T,
    /// What `interests` gave, as long as it lives.
    interests: Vec<raw::Interest>,
    _texts: Vec<crate::Interest>,
}

/// The descriptor of a plugin. Both texts end with a NUL.
pub const fn descriptor<T: Exported>(name: &'static str, version: &'static str) -> Descriptor {
    Descriptor(raw::Descriptor {
        magic: raw::MAGIC,
        abi: raw::ABI,
        size: size_of::<raw::Descriptor>() as u32,
        reserved: 0,
        name: name.as_ptr().cast(),
        version: version.as_ptr().cast(),
        create: Some(create::<T>),
        destroy: Some(destroy::<T>),
        extension: Some(extension::<T>),
    })
}

/// Runs what may panic; the panic is told to stderr by its hook, and goes no further.
fn catch<R>(or: R, run: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(or)
}

unsafe extern "C" fn create<T: Exported>(host: *const raw::Host, config: Str) -> *mut c_void {
    let host = Host(host);
    let made = catch(Err("it panicked".to_owned()), || {
        // SAFETY: as above.
        let config = unsafe { text(config) }.unwrap_or("{}");
        T::create(host, config)
    });
    match made {
        Ok(plugin) => {
            let instance = Instance { plugin, interests: Vec::new(), _texts: Vec::new() };
            Box::into_raw(Box::new(instance)).cast()
        }
        Err(reason) => {
            host.fail(&reason);
            std::ptr::null_mut()
        }
    }
}

unsafe extern "C" fn destroy<T>(instance: *mut c_void) {
    // SAFETY: it came from `create`, and this is its last use.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<T>>()) };
    catch((), || drop(instance));
}

unsafe extern "C" fn extension<T: Exported>(_: *mut c_void, id: *const c_char) -> *const c_void {
    // SAFETY: as above.
    let id = unsafe { CStr::from_ptr(id) };
    id.to_str().ok().and_then(T::table).map_or(std::ptr::null(), |table| table.0)
}

/// The instance of a call. No two calls of one instance are ever under way at once.
unsafe fn instance<'a, T>(instance: *mut c_void) -> &'a mut Instance<T> {
    // SAFETY: it came from `create::<T>`.
    unsafe { &mut *instance.cast::<Instance<T>>() }
}

/// A text that is there, for as long as the call that it came with.
unsafe fn text<'a>(text: Str) -> Option<&'a str> {
    if text.data.is_null() {
        return None;
    }
    // SAFETY: the header promises UTF-8 of this length.
    Some(unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(text.data.cast(), text.len)) })
}

fn number(result: Result<(), Fault>) -> i32 {
    result.map_or(raw::FAULT, |()| raw::OK)
}

/// `telex.log/1`.
pub mod log {
    use super::*;

    /// Its name.
    pub const ID: &str = raw::LOG;

    struct Of<T>(PhantomData<T>);

    impl<T: Log> Of<T> {
        const TABLE: raw::Log = raw::Log { record: Some(record::<T>), flush: Some(flush::<T>) };
    }

    /// Its table for a plugin.
    pub fn table<T: Log>() -> Table {
        Table(std::ptr::from_ref(&Of::<T>::TABLE).cast())
    }

    unsafe extern "C" fn record<T: Log>(at: *mut c_void, record: *const raw::Record) -> i32 {
        // SAFETY: as above.
        let (instance, record) = unsafe { (instance::<T>(at), &*record) };
        catch(raw::PANIC, || number(instance.plugin.record(&Record(record))))
    }

    unsafe extern "C" fn flush<T: Log>(at: *mut c_void) -> i32 {
        // SAFETY: as above.
        let instance = unsafe { instance::<T>(at) };
        catch(raw::PANIC, || number(instance.plugin.flush()))
    }
}

/// `telex.filter/1`.
pub mod filter {
    use super::*;

    /// Its name.
    pub const ID: &str = raw::FILTER;

    struct Of<T>(PhantomData<T>);

    impl<T: Filter> Of<T> {
        const TABLE: raw::Filter = raw::Filter { judge: Some(judge::<T>), interests: Some(interests::<T>) };
    }

    /// Its table for a plugin.
    pub fn table<T: Filter>() -> Table {
        Table(std::ptr::from_ref(&Of::<T>::TABLE).cast())
    }

    unsafe extern "C" fn judge<T: Filter>(
        at: *mut c_void,
        message: *const raw::Message,
        call: *const raw::Call,
    ) -> i32 {
        // SAFETY: as above.
        let (instance, message, call) = unsafe { (instance::<T>(at), &*message, Call(&*call)) };
        catch(raw::PANIC, || {
            let verdict = instance.plugin.judge(&Message { raw: message, call: &call }, &call);
            call.write(&verdict)
        })
    }

    unsafe extern "C" fn interests<T: Filter>(at: *mut c_void, count: *mut usize) -> *const raw::Interest {
        // SAFETY: as above.
        let instance = unsafe { instance::<T>(at) };
        let texts = catch(Vec::new(), || instance.plugin.interests());
        let of = |interest: &crate::Interest| raw::Interest {
            message_type: Str::maybe(interest.message_type.as_deref()),
            to: Str::maybe(interest.to.as_deref()),
            topic: Str::maybe(interest.topic.as_deref()),
            from: Str::maybe(interest.from.as_deref()),
        };
        let interests: Vec<_> = if texts.is_empty() {
            vec![of(&crate::Interest::default())]
        } else {
            texts.iter().map(of).collect()
        };
        // The texts stand still on the heap while the lists are moved.
        (instance._texts, instance.interests) = (texts, interests);
        // SAFETY: as above.
        unsafe { *count = instance.interests.len() };
        instance.interests.as_ptr()
    }
}

/// `telex.events/1`.
pub mod events {
    use super::*;

    /// Its name.
    pub const ID: &str = raw::EVENTS;

    struct Of<T>(PhantomData<T>);

    impl<T: Events> Of<T> {
        const TABLE: raw::Events = raw::Events { event: Some(event::<T>), wants: Some(wants::<T>) };
    }

    /// Its table for a plugin.
    pub fn table<T: Events>() -> Table {
        Table(std::ptr::from_ref(&Of::<T>::TABLE).cast())
    }

    unsafe extern "C" fn event<T: Events>(
        at: *mut c_void,
        event: *const raw::Event,
        call: *const raw::Call,
    ) -> i32 {
        // SAFETY: as above.
        let (instance, event, call) = unsafe { (instance::<T>(at), &*event, Call(&*call)) };
        let Some(kind) = Kind::from_number(event.kind) else { return raw::OK };
        catch(raw::PANIC, || match instance.plugin.event(&Event { raw: event, kind }, &call) {
            Heard::Yes => raw::OK,
            Heard::Refused(reason) => {
                call.reason(&reason);
                raw::REJECT
            }
            Heard::Fault => raw::FAULT,
        })
    }

    unsafe extern "C" fn wants<T: Events>(at: *mut c_void) -> u64 {
        // SAFETY: as above.
        let instance = unsafe { instance::<T>(at) };
        let wants = catch(&[][..], || instance.plugin.wants());
        wants.iter().fold(0, |bits, kind| bits | 1 << kind.number())
    }
}

/// The daemon, as a plugin sees it.
#[derive(Clone, Copy, Debug)]
pub struct Host(*const raw::Host);

// SAFETY: what may be called on other threads the header says, and the others check it.
unsafe impl Send for Host {}
// SAFETY: the same.
unsafe impl Sync for Host {}

impl Host {
    fn raw(&self) -> &raw::Host {
        // SAFETY: it lives as long as the instance, which is where this is kept.
        unsafe { &*self.0 }
    }

    /// Name and version of the daemon: `telexd 0.1.0`.
    pub fn daemon(&self) -> &str {
        // SAFETY: it lives as long as the instance.
        unsafe { text(self.raw().daemon) }.unwrap_or_default()
    }

    /// The name that the configuration gives to this plugin.
    pub fn name(&self) -> &str {
        // SAFETY: it lives as long as the instance.
        unsafe { text(self.raw().name) }.unwrap_or_default()
    }

    /// Writes a record to the daemon's log. On any thread of the plugin's.
    pub fn log(&self, level: Level, message: &str) {
        // SAFETY: the header says that it may be called now, and copies.
        unsafe { (self.raw().log)(self.0, level.number(), Str::of(message)) }
    }

    fn fail(&self, reason: &str) {
        // SAFETY: this is called by `create` alone.
        unsafe { (self.raw().fail)(self.0, Str::of(reason)) }
    }

    /// From now on [`Kind::Timer`] comes every so many milliseconds (at least 10), or no more: 0. In
    /// [`Plugin::create`] and in calls of the daemon's.
    pub fn set_timer(&self, milliseconds: u64) -> Result<(), Refused> {
        // SAFETY: as for `log`; where it may not be called now, it says so.
        Refused::from_number(unsafe { (self.raw().set_timer)(self.0, milliseconds) })
    }
}

/// What can be done while a filter or an event is being handled.
#[derive(Debug)]
pub struct Call<'a>(&'a raw::Call);

impl Call<'_> {
    fn reason(&self, reason: &str) {
        // SAFETY: the call is under way.
        unsafe { (self.0.reason)(self.0, Str::of(reason)) };
    }

    /// Sends a signal from the daemon itself; `body` is a JSON object. It never waits: who has no room
    /// misses it. At most 16 in one call.
    pub fn emit(&self, target: Target<'_>, body: &str) -> Result<(), Refused> {
        let (to, topic) = match target {
            Target::To(to) => (Str::of(to), Str::NONE),
            Target::Topic(topic) => (Str::NONE, Str::of(topic)),
        };
        // SAFETY: the call is under way.
        Refused::from_number(unsafe { (self.0.emit)(self.0, to, topic, Str::of(body)) })
    }

    fn write(&self, verdict: &Verdict) -> i32 {
        match verdict {
            Verdict::Pass => raw::PASS,
            Verdict::Drop => raw::DROP,
            Verdict::Fault => raw::FAULT,
            Verdict::Reject(reason) => {
                self.reason(reason);
                raw::REJECT
            }
            Verdict::Replace(with) => {
                let fields = [
                    (raw::FIELD_TO, &with.to),
                    (raw::FIELD_TOPIC, &with.topic),
                    (raw::FIELD_TYPE, &with.message_type),
                    (raw::FIELD_BODY, &with.body),
                ];
                for (field, value) in fields {
                    if let Some(value) = value
                        // SAFETY: the call is under way.
                        && unsafe { (self.0.replace)(self.0, field, Str::of(value)) } != raw::OK
                    {
                        return raw::FAULT;
                    }
                }
                raw::REPLACE
            }
        }
    }
}

/// A connection, as the kernel or its authentication vouches for it.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a>(&'a raw::Peer);

impl<'a> Peer<'a> {
    /// The number of its unique id.
    pub fn connection(&self) -> u64 {
        self.0.connection
    }

    /// `:7`.
    pub fn unique_id(&self) -> &'a str {
        // SAFETY: it lives as long as the struct.
        unsafe { text(self.0.unique_id) }.unwrap_or_default()
    }

    /// The node IDs that it holds, in the order in which it took them.
    pub fn node_ids(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let list: &'a [Str] = match self.0.node_id_count {
            0 => &[],
            // SAFETY: so many are there, and live as long as the struct.
            count => unsafe { std::slice::from_raw_parts(self.0.node_ids, count) },
        };
        // SAFETY: as above.
        list.iter().map(|name| unsafe { text(*name) }.unwrap_or_default())
    }

    /// What it runs over.
    pub fn transport(&self) -> Transport {
        if self.0.transport == raw::TCP { Transport::Tcp } else { Transport::Unix }
    }

    /// Its user id, where the kernel has said.
    pub fn uid(&self) -> Option<u32> {
        u32::try_from(self.0.uid).ok()
    }

    /// Its group id, where the kernel has said.
    pub fn gid(&self) -> Option<u32> {
        u32::try_from(self.0.gid).ok()
    }

    /// Its process id, for display only.
    pub fn pid(&self) -> Option<i32> {
        i32::try_from(self.0.pid).ok().filter(|pid| *pid >= 0)
    }

    /// The authenticated name, over TCP.
    pub fn user(&self) -> Option<&'a str> {
        // SAFETY: it lives as long as the struct.
        unsafe { text(self.0.user) }
    }

    /// Whether it may `kill`, `tap` and `reload`.
    pub fn is_administrator(&self) -> bool {
        self.0.administrator != 0
    }
}

/// A message at the door (PROTOCOL.md section 2). Texts are decoded.
#[derive(Debug)]
pub struct Message<'a> {
    raw: &'a raw::Message,
    call: &'a Call<'a>,
}

impl<'a> Message<'a> {
    /// Its category.
    pub fn category(&self) -> Category {
        match self.raw.kind {
            raw::SIGNAL => Category::Signal,
            raw::REPLY => Category::Reply,
            _ => Category::Request,
        }
    }

    /// Who sent it.
    pub fn sender(&self) -> Peer<'a> {
        // SAFETY: it lives as long as the message.
        Peer(unsafe { &*self.raw.sender })
    }

    /// The whole line, without its LF.
    pub fn line(&self) -> &'a str {
        self.text(self.raw.line).unwrap_or_default()
    }

    /// As JSON: a string with its quotes, or a number. None where the daemon will assign one.
    pub fn message_id(&self) -> Option<&'a str> {
        self.text(self.raw.message_id)
    }

    /// Its type.
    pub fn message_type(&self) -> &'a str {
        self.text(self.raw.message_type).unwrap_or_default()
    }

    /// The sender's address, as stamped.
    pub fn from(&self) -> &'a str {
        self.text(self.raw.from).unwrap_or_default()
    }

    /// The address that it goes to. Neither this nor a topic: to the daemon.
    pub fn to(&self) -> Option<&'a str> {
        self.text(self.raw.to)
    }

    /// The topic that it is published to.
    pub fn topic(&self) -> Option<&'a str> {
        self.text(self.raw.topic)
    }

    /// Its key, where it has one.
    pub fn key(&self) -> Option<&'a str> {
        self.text(self.raw.key)
    }

    /// Its body, as JSON.
    pub fn body(&self) -> Option<&'a str> {
        self.text(self.raw.body)
    }

    /// Of a reply: which request it answers, as JSON.
    pub fn in_reply_to(&self) -> Option<&'a str> {
        self.text(self.raw.in_reply_to)
    }

    /// A value in the body by JSON Pointer (RFC 6901), as it stands there: JSON, a string with its quotes.
    pub fn value(&self, pointer: &str) -> Option<&'a str> {
        let mut found = Str::NONE;
        let call = self.call.0;
        // SAFETY: the call is under way.
        let done = unsafe { (call.value)(call, Str::of(pointer), &mut found) };
        if done == raw::OK { self.text(found) } else { None }
    }

    fn text(&self, field: Str) -> Option<&'a str> {
        // SAFETY: it lives as long as the message.
        unsafe { text(field) }
    }
}

/// A record of the daemon's log.
#[derive(Debug)]
pub struct Record<'a>(&'a raw::Record);

impl<'a> Record<'a> {
    /// How much it matters.
    pub fn level(&self) -> Level {
        Level::from_number(self.0.level)
    }

    /// Nanoseconds since 1970.
    pub fn time(&self) -> i64 {
        self.0.time
    }

    /// What happened, as one fixed word.
    pub fn event(&self) -> &'a str {
        self.text(self.0.event).unwrap_or_default()
    }

    /// The number of the connection that it is about.
    pub fn connection(&self) -> Option<u64> {
        Some(self.0.connection).filter(|number| *number != 0)
    }

    /// The first node ID of that connection.
    pub fn node_id(&self) -> Option<&'a str> {
        self.text(self.0.node_id)
    }

    /// Its user id.
    pub fn uid(&self) -> Option<u32> {
        u32::try_from(self.0.uid).ok()
    }

    /// For people, on one line.
    pub fn message(&self) -> &'a str {
        self.text(self.0.message).unwrap_or_default()
    }

    /// What else belongs to the event: a JSON object on one line.
    pub fn fields(&self) -> &'a str {
        self.text(self.0.fields).unwrap_or("{}")
    }

    fn text(&self, field: Str) -> Option<&'a str> {
        // SAFETY: it lives as long as the record.
        unsafe { text(field) }
    }
}

/// Something that happened.
#[derive(Debug)]
pub struct Event<'a> {
    raw: &'a raw::Event,
    kind: Kind,
}

impl<'a> Event<'a> {
    /// What.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it happened before the instance was there.
    pub fn is_replayed(&self) -> bool {
        self.raw.replayed != 0
    }

    /// The connection that it is about.
    pub fn peer(&self) -> Option<Peer<'a>> {
        // SAFETY: where it is there, it lives as long as the event.
        unsafe { self.raw.peer.as_ref() }.map(Peer)
    }

    /// The node ID that was taken or given up.
    pub fn node_id(&self) -> Option<&'a str> {
        self.text(self.raw.node_id)
    }

    /// The pattern of a subscription.
    pub fn topic(&self) -> Option<&'a str> {
        self.text(self.raw.topic)
    }

    /// The group of a subscription, where it has one.
    pub fn group(&self) -> Option<&'a str> {
        self.text(self.raw.group)
    }

    /// Why something ended, as in `node_down` signals.
    pub fn reason(&self) -> Option<&'a str> {
        self.text(self.raw.reason)
    }

    fn text(&self, field: Str) -> Option<&'a str> {
        // SAFETY: it lives as long as the event.
        unsafe { text(field) }
    }
}
