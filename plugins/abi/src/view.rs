//! Knows what a plugin sees through the pointers that it is handed, as values that are safe to use.
//! Never: who is called, or what for.
#![expect(unsafe_code, reason = "the other side speaks C")]
// All that stands here was made from a pointer on which `glue` relies: it is right, and lives until the call
// returns, to which the lifetimes are bound.

use crate::raw::{self, Str};
use crate::{Category, Kind, Level, Refused, Target, Transport, Verdict};

/// A text that is there, for as long as the call that it came with.
pub(crate) unsafe fn text<'a>(text: Str) -> Option<&'a str> {
    if text.data.is_null() {
        return None;
    }
    // SAFETY: the header promises UTF-8 of this length.
    Some(unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(text.data.cast(), text.len)) })
}

/// The daemon, as a plugin sees it.
#[derive(Clone, Copy, Debug)]
pub struct Host(*const raw::Host);

// SAFETY: what may be called on other threads the header says, and the others check it.
unsafe impl Send for Host {}
// SAFETY: the same.
unsafe impl Sync for Host {}

impl Host {
    pub(crate) fn new(raw: *const raw::Host) -> Host {
        Host(raw)
    }

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

    /// Whether the configuration is only checked (`telexd --check`), maybe by another user than the daemon's: the
    /// instance opens nothing for writing then, makes no file, and logs as a warning what it could not find out
    /// without that.
    pub fn checking(&self) -> bool {
        let needed = std::mem::offset_of!(raw::Host, checking) + size_of::<u32>();
        // SAFETY: it lives as long as the instance, and has so many bytes as it says first.
        unsafe { (*self.0).size as usize >= needed && (*self.0).checking != 0 }
    }

    /// Writes a record to the daemon's log. On any thread of the plugin's.
    pub fn log(&self, level: Level, message: &str) {
        // SAFETY: the header says that it may be called now, and copies.
        unsafe { (self.raw().log)(self.0, level.number(), Str::of(message)) }
    }

    pub(crate) fn fail(&self, reason: &str) {
        // SAFETY: this is called by `create` alone.
        unsafe { (self.raw().fail)(self.0, Str::of(reason)) }
    }

    /// From now on [`Kind::Timer`] comes every so many milliseconds (at least 10), or no more: 0. In
    /// [`Plugin::create`](crate::Plugin::create) and in calls of the daemon's.
    pub fn set_timer(&self, milliseconds: u64) -> Result<(), Refused> {
        // SAFETY: as for `log`; where it may not be called now, it says so.
        Refused::from_number(unsafe { (self.raw().set_timer)(self.0, milliseconds) })
    }
}

/// What can be done while a filter or an event is being handled.
#[derive(Debug)]
pub struct Call<'a>(&'a raw::Call);

impl<'a> Call<'a> {
    pub(crate) fn new(raw: &'a raw::Call) -> Call<'a> {
        Call(raw)
    }

    /// Whether this is a dry run: the verdict must be the one that a real message would get, without side effects. It
    /// occurs only in plugins that export `dry`.
    pub fn is_dry(&self) -> bool {
        self.0.flags & raw::CALL_DRY != 0
    }

    pub(crate) fn reason(&self, reason: &str) {
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

    pub(crate) fn write(&self, verdict: &Verdict) -> i32 {
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
    pub(crate) fn new(raw: &'a raw::Message, call: &'a Call<'a>) -> Message<'a> {
        Message { raw, call }
    }

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

/// A record of the daemon's log. By default it is an empty one about nothing, of the level
/// [`Level::Info`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// How much it matters.
    pub level: Level,
    /// Nanoseconds since 1970.
    pub time: i64,
    /// What happened, as one fixed word.
    pub event: &'a str,
    /// The number of the connection that it is about.
    pub connection: Option<u64>,
    /// The first node ID of that connection.
    pub node_id: Option<&'a str>,
    /// Its user id.
    pub uid: Option<u32>,
    /// For people, on one line.
    pub message: &'a str,
    /// What else belongs to the event: a JSON object on one line.
    pub fields: &'a str,
}

impl Default for Record<'_> {
    fn default() -> Self {
        Record {
            level: Level::Info,
            time: 0,
            event: "daemon",
            connection: None,
            node_id: None,
            uid: None,
            message: "",
            fields: "{}",
        }
    }
}

impl<'a> Record<'a> {
    pub(crate) fn new(raw: &'a raw::Record) -> Record<'a> {
        // SAFETY: each lives as long as the record.
        let text = |field| unsafe { text::<'a>(field) };
        Record {
            level: Level::from_number(raw.level),
            time: raw.time,
            event: text(raw.event).unwrap_or_default(),
            connection: Some(raw.connection).filter(|number| *number != 0),
            node_id: text(raw.node_id),
            uid: u32::try_from(raw.uid).ok(),
            message: text(raw.message).unwrap_or_default(),
            fields: text(raw.fields).unwrap_or("{}"),
        }
    }
}

/// Something that happened.
#[derive(Debug)]
pub struct Event<'a> {
    raw: &'a raw::Event,
    kind: Kind,
}

impl<'a> Event<'a> {
    pub(crate) fn new(raw: &'a raw::Event, kind: Kind) -> Event<'a> {
        Event { raw, kind }
    }

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
