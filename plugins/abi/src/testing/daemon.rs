//! Knows how a fake daemon calls a plugin, and what the plugin tells it.
//! Never: what a plugin should do.
#![expect(unsafe_code, reason = "plugins speak C")]
// What telex_plugin.h promises to plugins is kept by lending them locals, and a host and a call that stand
// still until the instance has ended. What it demands of them is relied on.

use std::cell::{RefCell, RefMut};
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Mutex;
use std::time::Duration;

use super::call::{self, Phase, State};
use super::host::{self, Told, lock};
use super::json::{self, find, value};
use super::{Emitted, Event, Peer, owned};
use crate::raw::{self, Str};
use crate::{Descriptor, Fault, Heard, Kind, Level, Record, Replacement, Transport, Verdict, matches};

/// A daemon with nothing but one instance of one plugin, which it calls as telexd would: through the
/// descriptor that the library exports.
///
/// It is stricter than telexd nowhere, and laxer where what a filter has replaced is concerned: of that
/// it only looks whether a body is JSON and the category the same. It has no clock: a test sends
/// [`Kind::Timer`] itself.
#[derive(Debug)]
pub struct FakeDaemon {
    descriptor: &'static raw::Descriptor,
    instance: *mut c_void,
    log: Option<&'static raw::Log>,
    filter: Option<&'static raw::Filter>,
    events: Option<&'static raw::Events>,
    /// What the filter wants to see: of each interest its patterns.
    interests: Vec<[Option<String>; 4]>,
    /// Bits by the kinds of events.
    wants: u64,
    _host: Box<raw::Host>,
    told: Box<Mutex<Told>>,
    call: Box<raw::Call>,
    state: Box<RefCell<State>>,
}

impl FakeDaemon {
    /// Makes an instance; the error is what the plugin says why it cannot be made. `config` is a JSON
    /// object.
    pub fn start(plugin: &'static Descriptor, config: &str) -> Result<FakeDaemon, String> {
        let (told, state) = (Box::<Mutex<Told>>::default(), Box::<RefCell<State>>::default());
        let host = host::new(&told);
        let call = call::new(&state);
        let descriptor = plugin.raw();
        let create = descriptor.create.ok_or("its descriptor has no `create`")?;
        // SAFETY: as above.
        let instance = unsafe { create(&*host, Str::of(config)) };
        if instance.is_null() {
            return Err(lock(&told).failed.take().unwrap_or_default());
        }
        let mut daemon = FakeDaemon {
            descriptor,
            instance,
            log: None,
            filter: None,
            events: None,
            interests: Vec::new(),
            wants: 0,
            _host: host,
            told,
            call,
            state,
        };
        // SAFETY: each table has the form that its name promises, and lives as long as the instance.
        unsafe {
            daemon.log = daemon.table(raw::LOG).cast::<raw::Log>().as_ref();
            daemon.filter = daemon.table(raw::FILTER).cast::<raw::Filter>().as_ref();
            daemon.events = daemon.table(raw::EVENTS).cast::<raw::Events>().as_ref();
        }
        daemon.interests = daemon.ask_for_interests();
        if let Some(wants) = daemon.events.and_then(|events| events.wants) {
            // SAFETY: as above.
            daemon.wants = unsafe { wants(daemon.instance) };
        }
        assert!(daemon.table("telex.nothing/1").is_null(), "it has what there is not");
        Ok(daemon)
    }

    fn table(&self, id: &str) -> *const c_void {
        let (Some(extension), Ok(id)) = (self.descriptor.extension, CString::new(id)) else {
            return std::ptr::null();
        };
        // SAFETY: as above.
        unsafe { extension(self.instance, id.as_ptr()) }
    }

    /// What the plugin calls itself.
    pub fn plugin_name(&self) -> &'static str {
        static_text(self.descriptor.name)
    }

    /// And its version.
    pub fn plugin_version(&self) -> &'static str {
        static_text(self.descriptor.version)
    }

    /// Has it judge a line that `sender` has sent; none where the filter is not interested. Where the line
    /// has no `from`, it is stamped. Panics where the plugin is no filter or the line no message.
    pub fn judge(&mut self, sender: &Peer, line: &str) -> Option<Verdict> {
        self.ask(sender, line, 0)
    }

    /// As [`FakeDaemon::judge`], but that nothing is to come of it, as for the daemon's request `explain`. Panics where
    /// the plugin does not say that it knows that (`telex.dry/1`).
    pub fn explain(&mut self, sender: &Peer, line: &str) -> Option<Verdict> {
        assert!(self.knows_dry(), "the plugin does not know `telex.dry/1`");
        let verdict = self.ask(sender, line, raw::CALL_DRY);
        self.call.flags = 0;
        verdict
    }

    fn knows_dry(&self) -> bool {
        let Some(extension) = self.descriptor.extension else { return false };
        // SAFETY: the instance is this library's.
        unsafe { !extension(self.instance, c"telex.dry/1".as_ptr()).is_null() }
    }

    fn ask(&mut self, sender: &Peer, line: &str, flags: u32) -> Option<Verdict> {
        self.call.flags = flags;
        let filter = self.filter.expect("the plugin is no filter");
        let judge = filter.judge.expect("its table has no `judge`");
        assert!(value(line).is_some_and(|line| line.starts_with('{')), "this is no JSON object: {line}");
        let field = |name: &str| {
            let found = find(line, &format!("/{name}")).unwrap_or(None);
            found.filter(|found| *found != "null")
        };
        let text = |name: &str| field(name).and_then(json::text);
        let message_type = text("message_type").unwrap_or_else(|| panic!("it has no message_type: {line}"));
        let unique_id = format!(":{}", sender.connection);
        let from = text("from").or(sender.node_ids.first().cloned()).unwrap_or(unique_id);
        let (to, topic, key) = (text("to"), text("topic"), text("key"));
        let [of_to, of_topic] = [&to, &topic].map(|it| it.as_deref().unwrap_or_default());
        if !self.is_interested([&message_type, of_to, of_topic, &from]) {
            return None;
        }
        let body = find(line, "/body").unwrap_or(None);
        let in_reply_to = body.and_then(|body| find(body, "/in_reply_to").unwrap_or(None));
        let sender = RawPeer::of(sender);
        let raw = sender.raw();
        let message = raw::Message {
            size: size_of::<raw::Message>() as u32,
            kind: category(&message_type),
            sender: &raw,
            line: Str::of(line),
            message_id: Str::maybe(field("message_id")),
            message_type: Str::of(&message_type),
            from: Str::of(&from),
            to: Str::maybe(to.as_deref()),
            topic: Str::maybe(topic.as_deref()),
            key: Str::maybe(key.as_deref()),
            body: Str::maybe(body),
            in_reply_to: Str::maybe(in_reply_to),
        };
        self.begin(Phase::Filter { kind: message.kind, body: message.body });
        // SAFETY: as above.
        let answer = unsafe { judge(self.instance, &message, &*self.call) };
        let mut state = self.end();
        Some(match answer {
            raw::PASS => Verdict::Pass,
            raw::DROP => Verdict::Drop,
            raw::REJECT => {
                Verdict::Reject(state.reason.take().unwrap_or_else(|| "a filter refused it".to_owned()))
            }
            raw::REPLACE => {
                let Replacement { message_type, body, .. } = &state.replaced;
                let is_right = message_type.as_deref().is_none_or(|it| category(it) == message.kind)
                    && body.as_deref().is_none_or(|body| value(body).is_some());
                if is_right { Verdict::Replace(std::mem::take(&mut state.replaced)) } else { Verdict::Fault }
            }
            _ => Verdict::Fault,
        })
    }

    fn ask_for_interests(&self) -> Vec<[Option<String>; 4]> {
        let Some(interests) = self.filter.and_then(|filter| filter.interests) else {
            return vec![[const { None }; 4]];
        };
        let mut count = 0;
        // SAFETY: so many are there, and live as long as the instance.
        let interests = unsafe {
            match interests(self.instance, &mut count) {
                list if count > 0 => std::slice::from_raw_parts(list, count),
                _ => &[],
            }
        };
        // SAFETY: so do their texts.
        let patterns = |it: &raw::Interest| {
            [it.message_type, it.to, it.topic, it.from].map(|pattern| unsafe { owned(pattern) })
        };
        interests.iter().map(patterns).collect()
    }

    fn is_interested(&self, fields: [&str; 4]) -> bool {
        let fits = |(pattern, field): (&Option<String>, _)| {
            pattern.as_ref().is_none_or(|pattern| matches(pattern, field))
        };
        self.interests.iter().any(|patterns| patterns.iter().zip(fields).all(fits))
    }

    /// Tells it of something that has happened; none where it does not want to hear of that. Panics where
    /// the plugin hears no events.
    pub fn event(&mut self, event: &Event<'_>) -> Option<Heard> {
        let events = self.events.expect("the plugin hears no events");
        let hears = events.event.expect("its table has no `event`");
        if self.wants >> event.kind.number() & 1 == 0 {
            return None;
        }
        let peer = event.peer.map(RawPeer::of);
        let peer = peer.as_ref().map(RawPeer::raw);
        let told = raw::Event {
            size: size_of::<raw::Event>() as u32,
            kind: event.kind.number(),
            replayed: u32::from(event.replayed),
            reserved: 0,
            peer: peer.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
            node_id: Str::maybe(event.node_id),
            topic: Str::maybe(event.topic),
            group: Str::maybe(event.group),
            reason: Str::maybe(event.reason),
        };
        self.begin(Phase::Event);
        // SAFETY: as above.
        let answer = unsafe { hears(self.instance, &told, &*self.call) };
        let mut state = self.end();
        Some(match answer {
            raw::OK => Heard::Yes,
            raw::REJECT if event.kind == Kind::Connected => {
                let reason = state.reason.take();
                Heard::Refused(reason.unwrap_or_else(|| "a plugin refused the connection".to_owned()))
            }
            _ => Heard::Fault,
        })
    }

    /// Hands it a record of the log. Panics where the plugin takes none.
    pub fn record(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let log = self.log.expect("the plugin takes no log");
        let function = log.record.expect("its table has no `record`");
        let record = raw::Record {
            size: size_of::<raw::Record>() as u32,
            level: record.level.number(),
            time: record.time,
            event: Str::of(record.event),
            connection: record.connection.unwrap_or(0),
            node_id: Str::maybe(record.node_id),
            uid: record.uid.map_or(-1, i64::from),
            message: Str::of(record.message),
            fields: Str::of(record.fields),
        };
        // SAFETY: as above.
        done(unsafe { function(self.instance, &record) })
    }

    /// Tells it that these were all records of this turn. Panics where the plugin takes none.
    pub fn flush(&mut self) -> Result<(), Fault> {
        let log = self.log.expect("the plugin takes no log");
        // SAFETY: as above.
        log.flush.map_or(Ok(()), |function| done(unsafe { function(self.instance) }))
    }

    /// What it has written to the log since this was asked last.
    pub fn logged(&mut self) -> Vec<(Level, String)> {
        std::mem::take(&mut lock(&self.told).logged)
    }

    /// What it has emitted since this was asked last.
    pub fn emitted(&mut self) -> Vec<Emitted> {
        std::mem::take(&mut self.state.borrow_mut().emitted)
    }

    /// How often it wants to hear of [`Kind::Timer`].
    pub fn timer(&self) -> Option<Duration> {
        Some(lock(&self.told).timer).filter(|every| *every > 0).map(Duration::from_millis)
    }

    /// Ends the instance; gives what it has written to the log since that was asked for last.
    pub fn end_plugin(mut self) -> Vec<(Level, String)> {
        self.destroy();
        self.logged()
    }

    fn begin(&self, phase: Phase) {
        self.state.borrow_mut().begin(phase);
    }

    fn end(&self) -> RefMut<'_, State> {
        let mut state = self.state.borrow_mut();
        state.phase = None;
        state
    }

    fn destroy(&mut self) {
        let instance = std::mem::replace(&mut self.instance, std::ptr::null_mut());
        if let Some(destroy) = self.descriptor.destroy
            && !instance.is_null()
        {
            // SAFETY: this is its last use.
            unsafe { destroy(instance) }
        }
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.destroy();
    }
}

fn done(answer: i32) -> Result<(), Fault> {
    if answer == raw::OK { Ok(()) } else { Err(Fault) }
}

fn category(message_type: &str) -> u32 {
    match message_type {
        "signal" => raw::SIGNAL,
        reply if reply.ends_with("_reply") => raw::REPLY,
        _ => raw::REQUEST,
    }
}

fn static_text(text: *const c_char) -> &'static str {
    // SAFETY: of a descriptor it is static, ends with a NUL, and is UTF-8.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default()
}

/// A peer with the texts that its struct points to.
struct RawPeer<'a> {
    peer: &'a Peer,
    unique_id: String,
    node_ids: Vec<Str>,
}

impl RawPeer<'_> {
    fn of(peer: &Peer) -> RawPeer<'_> {
        let node_ids = peer.node_ids.iter().map(|node_id| Str::of(node_id)).collect();
        RawPeer { peer, unique_id: format!(":{}", peer.connection), node_ids }
    }

    fn raw(&self) -> raw::Peer {
        let Peer { connection, transport, uid, gid, pid, user, administrator, .. } = self.peer;
        raw::Peer {
            size: size_of::<raw::Peer>() as u32,
            transport: if *transport == Transport::Tcp { raw::TCP } else { raw::UNIX },
            connection: *connection,
            unique_id: Str::of(&self.unique_id),
            node_ids: self.node_ids.as_ptr(),
            node_id_count: self.node_ids.len(),
            uid: uid.map_or(-1, i64::from),
            gid: gid.map_or(-1, i64::from),
            pid: pid.map_or(-1, i64::from),
            user: Str::maybe(user.as_deref()),
            administrator: u32::from(*administrator),
            reserved: 0,
        }
    }
}
