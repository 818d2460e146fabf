//! Knows the plugins: where they are, how they are loaded, called and replaced, and what their faults lead
//! to.
//! Never: where a message goes.
//!
//! The shell calls [`Plugins`] on its one thread: it is the core's [`Gate`], takes the records of the log,
//! and hears what happens. A new configuration is built up beside the one in force, on a thread of its own
//! ([`Plugins::prepare`]), and put in its place between two turns ([`Plugins::prepared`]).

mod chain;
mod ffi;
mod file;
mod interest;
mod log;
mod slot;
mod usage;
mod workshop;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use telex_plugin::raw::{self, Str};

use crate::core::{Counters, Emission, Gate, Happened, Happening, Judged, Level, Note, Peer, Verdict};

use chain::Chain;
use ffi::Library;
use slot::Slot;
pub use slot::{OnFault, Wanted};
use workshop::{Made, Workshop};

/// How long the daemon's end waits for plugins that are being made or ended. Those that take the log may have
/// much to write yet.
const END_MAX: Duration = Duration::from_secs(10);

/// All plugins.
#[derive(Debug)]
pub struct Plugins {
    chain: Chain,
    workshop: Arc<Workshop>,
    /// What is being made of a new configuration.
    under_way: Option<Receiver<Result<Vec<Made>, String>>>,
    wake: Wake,
    /// Makes what is under way.
    maker: Option<JoinHandle<()>>,
    /// Instances that are being ended, each with its plugin's name: what one of them waits for is not to keep
    /// the others from writing what they still have to write.
    ending: Vec<(String, JoinHandle<()>)>,
    /// Scratch for node IDs.
    node_ids: Vec<Str>,
}

/// What other threads end the loop's wait with.
#[derive(Clone)]
struct Wake {
    wake: Arc<dyn Fn() + Send + Sync>,
    loop_thread: ThreadId,
}

impl Wake {
    fn is_on_loop(&self) -> bool {
        std::thread::current().id() == self.loop_thread
    }
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

/// Why a daemon cannot start with its plugins.
#[derive(Debug)]
pub struct NotStarted {
    /// For people.
    pub why: String,
    /// What there is to log of the plugins.
    pub notes: Vec<Note>,
}

/// Who refuses a connection, and why.
#[derive(Debug)]
pub struct TurnedAway {
    /// The plugin.
    pub plugin: String,
    /// For people.
    pub reason: String,
}

/// What became of a new configuration.
#[derive(Debug)]
pub enum Prepared {
    /// It is in force. These plugins are new: they have to be told all that is there.
    InForce(Fresh),
    /// It is not, for this reason, and nothing has changed.
    Refused(String),
}

/// The places of plugins that have just been put in force.
#[derive(Debug)]
pub struct Fresh(Vec<usize>);

impl Plugins {
    /// Makes the plugins that a daemon starts with, on the thread of its loop. `uid` is the daemon's own
    /// user, `daemon` its name and version. `wake` is called, on other threads, when there is something to
    /// be done here: something is prepared, or has been said. The error says which plugin that is required
    /// cannot be made, and why.
    pub fn start(
        wanted: Vec<Wanted>,
        dir: &Path,
        daemon: &'static str,
        uid: u32,
        max_line_bytes: usize,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Plugins, NotStarted> {
        let wake = Wake { wake: Arc::new(wake), loop_thread: std::thread::current().id() };
        let mut plugins = Plugins {
            chain: Chain::new(max_line_bytes),
            workshop: Arc::new(Workshop::new(daemon, uid, wake.clone())),
            under_way: None,
            wake,
            maker: None,
            ending: Vec::new(),
            node_ids: Vec::new(),
        };
        match plugins.workshop.make(wanted, &[], dir) {
            Ok(made) => {
                plugins.put_in_force(made);
                Ok(plugins)
            }
            Err(why) => Err(NotStarted { why, notes: plugins.take_notes() }),
        }
    }

    /// Begins to make the plugins of a new configuration, on a thread of its own.
    pub fn prepare(&mut self, wanted: Vec<Wanted>, dir: PathBuf) {
        let standing: Vec<_> = self.chain.slots.iter().map(Slot::standing).collect();
        let (workshop, wake, (tell, told)) = (self.workshop.clone(), self.wake.clone(), channel());
        self.under_way = Some(told);
        self.ending.retain(|(_, thread)| !thread.is_finished());
        let thread = std::thread::Builder::new().name("plugins".to_owned()).spawn(move || {
            // Where nobody wants to know any more, they are ended here.
            let _ = tell.send(workshop.make(wanted, &standing, &dir));
            (wake.wake)();
        });
        match thread {
            Ok(thread) => self.maker = Some(thread),
            // The channel is closed then, which is told as a failure.
            Err(error) => self.chain.note(
                Level::Error,
                "plugins",
                &format!("there is no thread to make them on: {error}"),
            ),
        }
    }

    /// The plugin that is being made.
    pub fn waits_for(&self) -> Option<String> {
        self.workshop.making()
    }

    /// Puts what was prepared in force, where that is done and nothing has failed. To be called
    /// between two turns.
    pub fn prepared(&mut self) -> Option<Prepared> {
        let made = match self.under_way.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the plugins could not be made".to_owned()),
            Ok(made) => made,
        };
        self.under_way = None;
        Some(match made {
            Ok(made) => Prepared::InForce(self.put_in_force(made)),
            Err(why) => Prepared::Refused(why),
        })
    }

    fn put_in_force(&mut self, made: Vec<Made>) -> Fresh {
        let mut old: Vec<Option<Slot>> = self.chain.put(Vec::new()).into_iter().map(Some).collect();
        let (mut slots, mut fresh, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for made in made {
            match made {
                Made::Kept(at) => {
                    kept.push(slots.len());
                    slots.extend(old.get_mut(at).and_then(Option::take).map(|slot| match slot.is_out {
                        // It has been given up meanwhile: it has as many strikes as one made anew.
                        true => Slot::new(slot.wanted, slot.version, slot.instance),
                        false => slot,
                    }));
                }
                Made::New(wanted, version, instance) => {
                    let Library { name, version: built, .. } = &*instance.library;
                    let text = format!("is in force ({name} {built}, from {})", wanted.path);
                    self.chain.note(Level::Notice, &wanted.name, &text);
                    fresh.push(slots.len());
                    slots.push(Slot::new(wanted, version, *instance));
                }
                Made::Missing(name, why) => self.chain.note(Level::Warning, &name, &why),
            }
        }
        self.chain.put(slots);
        for at in kept {
            self.tell(at, &event(raw::RELOADED));
        }
        for slot in old.into_iter().flatten() {
            self.end_beside(slot.wanted.name, slot.instance);
        }
        Fresh(fresh)
    }

    /// Ends what may take long on a thread of its own.
    fn end_beside(&mut self, name: String, what: impl Send + 'static) {
        let wake = self.wake.clone();
        let end = move || {
            drop(what);
            (wake.wake)();
        };
        // Without a thread it has ended here.
        self.ending.extend(std::thread::Builder::new().spawn(end).ok().map(|thread| (name, thread)));
    }

    /// Ends all plugins, when they have written what they still have to write, and leaves those behind that
    /// take too long. Gives what they said at their end, which none of them can write any more.
    pub fn end(mut self) -> Vec<Note> {
        for slot in self.chain.put(Vec::new()) {
            self.end_beside(slot.wanted.name, slot.instance);
        }
        // What is made from now on is ended by its maker.
        if let Some(under_way) = self.under_way.take() {
            self.end_beside("plugins".to_owned(), under_way);
        }
        let deadline = Instant::now() + END_MAX;
        let is_finished = |thread: &JoinHandle<()>| {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.is_finished()
        };
        for (name, thread) in self.ending.drain(..) {
            if !is_finished(&thread) {
                self.chain.note(Level::Error, &name, "does not end, and is left behind");
            }
        }
        if self.maker.take().is_some_and(|maker| !is_finished(&maker)) {
            let name = self.workshop.making().unwrap_or_else(|| "plugins".to_owned());
            self.chain.note(Level::Error, &name, "is still being made, and is left behind");
        }
        self.take_notes()
    }

    /// Lines that a filter has changed may be so long from now on.
    pub fn set_max_line_bytes(&mut self, max_line_bytes: usize) {
        self.chain.call.set_max_line_bytes(max_line_bytes);
    }

    /// What plugins have emitted since this was asked last.
    pub fn take_emitted(&mut self) -> Vec<Emission> {
        self.chain.call.take_emitted()
    }

    /// Whether any plugin wants to hear what happens to connections.
    pub fn wants_happenings(&self) -> bool {
        const KINDS: [u32; 6] = [
            raw::CONNECTED,
            raw::REGISTERED,
            raw::UNREGISTERED,
            raw::SUBSCRIBED,
            raw::UNSUBSCRIBED,
            raw::DISCONNECTED,
        ];
        self.chain.slots.iter().any(|slot| KINDS.iter().any(|kind| slot.instance.wants(*kind)))
    }

    /// Asks whether a connection may be opened; the first refusal counts.
    pub fn connected(&mut self, number: u64, peer: &Peer) -> Result<(), TurnedAway> {
        let unique_id = &format!(":{number}");
        for at in 0..self.chain.slots.len() {
            let slot = &self.chain.slots[at];
            if !slot.instance.wants(raw::CONNECTED) {
                continue;
            }
            let peer = chain::peer(number, unique_id, peer, &[]);
            let refusal = match slot.is_out {
                true => slot.denies_on_fault().then(|| FAILED.to_owned()),
                false => self.tell(at, &raw::Event { peer: &peer, ..event(raw::CONNECTED) }),
            };
            if let Some(reason) = refusal {
                // Those before have been told that it is there.
                let gone = raw::Event { peer: &peer, reason: Str::of("refused"), ..event(raw::DISCONNECTED) };
                for before in 0..at {
                    self.tell(before, &gone);
                }
                return Err(TurnedAway { plugin: self.chain.slots[at].wanted.name.clone(), reason });
            }
        }
        Ok(())
    }

    /// Tells of what has happened.
    pub fn happened(&mut self, happened: &Happened) {
        for at in 0..self.chain.slots.len() {
            self.tell_of(at, happened, false);
        }
    }

    /// Tells plugins that have just been put in force of what was there before.
    pub fn replay(&mut self, fresh: &Fresh, happened: &Happened) {
        for &at in &fresh.0 {
            self.tell_of(at, happened, true);
        }
    }

    /// The daemon is about to serve.
    pub fn started(&mut self) {
        self.tell_all(raw::STARTED);
    }

    /// The daemon is about to end.
    pub fn stopping(&mut self) {
        self.tell_all(raw::STOPPING);
    }

    /// Tells those whose timer has passed. `now` is monotonic.
    pub fn tick(&mut self, now: Duration) {
        for at in 0..self.chain.slots.len() {
            if self.chain.slots[at].timer_has_passed(now) {
                self.tell(at, &event(raw::TIMER));
            }
        }
    }

    /// When [`Plugins::tick`] is wanted at the latest; `now` is monotonic.
    pub fn next_deadline(&mut self, now: Duration) -> Option<Duration> {
        self.chain.slots.iter_mut().filter_map(|slot| slot.next_timer(now)).min()
    }

    fn tell_of(&mut self, at: usize, happened: &Happened, replayed: bool) {
        let Happened { who, what } = happened;
        let mut node_ids = std::mem::take(&mut self.node_ids);
        node_ids.extend(who.node_ids.iter().map(|name| Str::of(name)));
        let peer = chain::peer(who.number, &who.unique_id, &who.peer, &node_ids);
        let kind = match what {
            Happening::Connected => raw::CONNECTED,
            Happening::Registered { .. } => raw::REGISTERED,
            Happening::Unregistered { .. } => raw::UNREGISTERED,
            Happening::Subscribed { .. } => raw::SUBSCRIBED,
            Happening::Unsubscribed { .. } => raw::UNSUBSCRIBED,
            Happening::Disconnected { .. } => raw::DISCONNECTED,
        };
        let mut told = raw::Event { peer: &peer, replayed: u32::from(replayed), ..event(kind) };
        match what {
            Happening::Connected => {}
            Happening::Registered { node_id } => told.node_id = Str::of(node_id),
            Happening::Unregistered { node_id, reason } => {
                (told.node_id, told.reason) = (Str::of(node_id), Str::of(reason.word()));
            }
            Happening::Subscribed { topic, group } | Happening::Unsubscribed { topic, group } => {
                (told.topic, told.group) = (Str::of(topic), Str::maybe(group.as_deref()));
            }
            Happening::Disconnected { reason } => told.reason = Str::of(reason.word()),
        }
        self.tell(at, &told);
        node_ids.clear();
        self.node_ids = node_ids;
    }

    fn tell_all(&mut self, kind: u32) {
        for at in 0..self.chain.slots.len() {
            self.tell(at, &event(kind));
        }
    }

    /// Tells one plugin of an event that it wants; gives the reason for which it refuses.
    fn tell(&mut self, at: usize, event: &raw::Event) -> Option<String> {
        let slot = &mut self.chain.slots[at];
        if slot.is_out || !slot.instance.wants(event.kind) {
            return None;
        }
        let answer = slot.instance.event(event, &self.chain.call);
        match answer {
            raw::OK => None,
            // Where it is there already, it stays; a plugin need not tell the one from the other.
            raw::REJECT if event.kind == raw::CONNECTED => Some(
                self.chain.call.take_reason().unwrap_or_else(|| "a plugin refused the connection".to_owned()),
            ),
            answer => {
                self.chain.strike(at, &format!("{} an event", failed_at(answer)));
                let denies = self.chain.slots[at].denies_on_fault();
                (event.kind == raw::CONNECTED && denies).then(|| FAILED.to_owned())
            }
        }
    }
}

/// Why something is refused that a plugin cannot judge.
const FAILED: &str = "the plugin has failed, and what it cannot judge is refused";

impl Gate for Plugins {
    fn judge(&mut self, judged: &Judged<'_>) -> Verdict {
        if self.chain.has_filters() { self.chain.judge(judged) } else { Verdict::Pass }
    }

    fn counters(&self) -> Vec<Counters> {
        self.chain.counters()
    }
}

fn failed_at(answer: i32) -> String {
    match answer {
        raw::FAULT => "failed at".to_owned(),
        raw::PANIC => "panicked at".to_owned(),
        other => format!("answered {other}, which means nothing, to"),
    }
}

/// An event that is about nothing yet.
fn event(kind: u32) -> raw::Event {
    raw::Event {
        size: size_of::<raw::Event>() as u32,
        kind,
        replayed: 0,
        reserved: 0,
        peer: std::ptr::null(),
        node_id: Str::NONE,
        topic: Str::NONE,
        group: Str::NONE,
        reason: Str::NONE,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Builds a plugin that does its best to do nothing.
    fn build(dir: &Path) {
        use std::os::unix::fs::PermissionsExt;

        const TEXT: &str = r#"
#include <string.h>
#include "telex_plugin.h"
static int self;
static void *create(const telex_host *host, telex_str config) { (void)host; (void)config; return &self; }
static void destroy(void *instance) { (void)instance; }
static int32_t event(void *instance, const telex_event *event, const telex_call *call) {
    (void)instance; (void)event; (void)call; return TELEX_OK;
}
static uint64_t wants(void *instance) { (void)instance; return TELEX_WANTS(TELEX_RELOADED); }
static const void *extension(void *instance, const char *id) {
    static const telex_events events = {event, wants};
    (void)instance;
    return strcmp(id, TELEX_EVENTS) == 0 ? &events : NULL;
}
TELEX_EXPORT const telex_descriptor telex_plugin = {
    TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor), 0, "idle", "1", create, destroy, extension};
"#;
        let fresh = dir.join("fresh");
        std::fs::write(dir.join("idle.c"), TEXT).unwrap();
        let include = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/abi/include");
        let mut cc = Command::new("cc");
        cc.args(["-fPIC", "-shared", "-I", include, "-o"]).arg(&fresh).arg(dir.join("idle.c"));
        assert!(cc.status().unwrap().success());
        for path in [dir, &fresh] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::rename(fresh, dir.join("idle.so")).unwrap();
    }

    fn wanted(name: &str) -> Wanted {
        Wanted {
            path: "idle".to_owned(),
            name: name.to_owned(),
            config: "{}".to_owned(),
            required: true,
            on_fault: OnFault::Deny,
            budget: Duration::from_secs(1),
            strikes: 2,
        }
    }

    fn start(dir: &Path, names: &[&str]) -> Plugins {
        let wanted = names.iter().map(|name| wanted(name)).collect();
        Plugins::start(wanted, dir, "telexd", nix::unistd::geteuid().as_raw(), 1000, || {}).unwrap()
    }

    /// Reads the configuration again; `meanwhile` is what happens while its plugins are made.
    fn reload(plugins: &mut Plugins, dir: &Path, names: &[&str], meanwhile: impl FnOnce(&mut Plugins)) {
        plugins.prepare(names.iter().map(|name| wanted(name)).collect(), dir.to_owned());
        meanwhile(plugins);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match plugins.prepared() {
                Some(Prepared::InForce(_)) => return,
                Some(Prepared::Refused(why)) => panic!("{why}"),
                None => assert!(Instant::now() < deadline, "it is never made"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn library(plugins: &Plugins, at: usize) -> Arc<Library> {
        plugins.chain.slots[at].instance.library.clone()
    }

    #[test]
    fn a_library_is_loaded_once_for_each_state_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path());
        let mut plugins = start(dir.path(), &["a", "b"]);
        let first = library(&plugins, 0);
        assert!(Arc::ptr_eq(&first, &library(&plugins, 1)));
        reload(&mut plugins, dir.path(), &["c"], |_| {});
        assert!(Arc::ptr_eq(&first, &library(&plugins, 0)));
        build(dir.path());
        reload(&mut plugins, dir.path(), &["c"], |_| {});
        assert!(!Arc::ptr_eq(&first, &library(&plugins, 0)));
    }

    #[test]
    fn a_strike_is_forgiven_after_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path());
        let mut plugins = start(dir.path(), &["a"]);
        let mut strike = |seconds| plugins.chain.slots[0].strike(Duration::from_secs(seconds), "failed").1;
        assert_eq!([100, 161, 222, 282].map(&mut strike), [false, false, false, true]);
    }

    #[test]
    fn one_that_is_given_up_during_a_reload_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path());
        let mut plugins = start(dir.path(), &["a"]);
        let is_out = |plugins: &Plugins| plugins.chain.slots[0].is_out;
        reload(&mut plugins, dir.path(), &["a"], |plugins| {
            (0..2).for_each(|_| plugins.chain.strike(0, "failed"));
            assert!(is_out(plugins));
        });
        assert!(!is_out(&plugins));
        plugins.chain.strike(0, "failed");
        assert!(!is_out(&plugins));
    }
}
