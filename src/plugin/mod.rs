//! Knows the plugins: where they are, how they are loaded, called and replaced, and what their faults lead
//! to.
//! Never: where a message goes.
//!
//! The shell calls [`Plugins`] on its one thread: it is the core's [`Gate`], takes the records of the log,
//! and hears what happens. A new configuration is built up beside the one in force, on a thread of its own
//! ([`Plugins::prepare`]), and put in its place between two turns ([`Plugins::prepared`]).

mod chain;
mod elf;
mod events;
mod ffi;
mod file;
mod interest;
mod log;
mod pace;
mod slot;
mod usage;
mod view;
mod wake;
mod workshop;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use telex_plugin::raw;

use crate::core::{Counters, Emission, Explained, Gate, Happened, Judged, Level, Note, Peer, Verdict};
use crate::plugin_settings::PluginSettings;

use chain::Chain;
pub use events::TurnedAway;
use ffi::Library;
use slot::Slot;
use view::event;
use wake::Wake;
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
}

/// Why a daemon cannot start with its plugins.
#[derive(Debug)]
pub struct NotStarted {
    /// For people.
    pub why: String,
    /// What there is to log of the plugins.
    pub notes: Vec<Note>,
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
    /// be done here: something is prepared, or has been said. If it is `checking` they are made to be ended at once,
    /// and open nothing for writing. The error says which plugin that is required cannot be made, and why.
    pub fn start(
        wanted: Vec<PluginSettings>,
        dir: &Path,
        daemon: &'static str,
        uid: u32,
        max_line_bytes: usize,
        checking: bool,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Plugins, NotStarted> {
        let wake = Wake::new(wake);
        let mut plugins = Plugins {
            chain: Chain::new(max_line_bytes),
            workshop: Arc::new(Workshop::new(daemon, uid, checking, wake.clone())),
            under_way: None,
            wake,
            maker: None,
            ending: Vec::new(),
        };
        match plugins.workshop.make(wanted, &[], dir) {
            Ok(made) => {
                plugins.put_in_force(made);
                Ok(plugins)
            }
            Err(why) => Err(NotStarted { why, notes: plugins.take_notes() }),
        }
    }

    /// Begins to make the plugins of a new configuration, on a thread of its own. `dir` is where libraries are
    /// that are named without a path.
    pub fn prepare(&mut self, wanted: Vec<PluginSettings>, dir: PathBuf) {
        let standing: Vec<_> = self.chain.slots.iter().map(Slot::standing).collect();
        let (workshop, wake, (tell, told)) = (self.workshop.clone(), self.wake.clone(), channel());
        self.under_way = Some(told);
        self.ending.retain(|(_, thread)| !thread.is_finished());
        let thread = std::thread::Builder::new().name("plugins".to_owned()).spawn(move || {
            // If the daemon ends meanwhile, nothing listens, and they are ended here.
            let _ = tell.send(workshop.make(wanted, &standing, &dir));
            wake.wake();
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

    /// The name of the plugin that is being made.
    pub fn waits_for(&self) -> Option<String> {
        self.workshop.making()
    }

    /// Puts in force what [`Plugins::prepare`] began, if it is done and nothing has failed; none as long as it
    /// is not done. To be called between two turns.
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
                        true => Slot::new(slot.settings, slot.version, slot.instance),
                        false => slot,
                    }));
                }
                Made::New(settings, version, instance) => {
                    let Library { name, version: built, .. } = &*instance.library;
                    let text = format!("is in force ({name} {built}, from {})", settings.path);
                    self.chain.note(Level::Notice, &settings.name, &text);
                    fresh.push(slots.len());
                    slots.push(Slot::new(settings, version, *instance));
                }
                Made::Missing(name, why) => self.chain.note(Level::Warning, &name, &why),
            }
        }
        self.chain.put(slots);
        for at in kept {
            self.chain.tell(at, &event(raw::RELOADED), &[]);
        }
        for slot in old.into_iter().flatten() {
            self.end_beside(slot.settings.name, slot.instance);
        }
        Fresh(fresh)
    }

    /// Ends what may take long on a thread of its own.
    fn end_beside(&mut self, name: String, what: impl Send + 'static) {
        let wake = self.wake.clone();
        let end = move || {
            drop(what);
            wake.wake();
        };
        // Without a thread it has ended here.
        self.ending.extend(std::thread::Builder::new().spawn(end).ok().map(|thread| (name, thread)));
    }

    /// Ends all plugins, when they have written what they still have to write, and leaves those behind that
    /// take too long. Gives what they said at their end, which none of them can write any more.
    pub fn end(mut self) -> Vec<Note> {
        for slot in self.chain.put(Vec::new()) {
            self.end_beside(slot.settings.name, slot.instance);
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

    /// Sets how long a line may be that a filter has changed, in bytes.
    pub fn set_max_line_bytes(&mut self, max_line_bytes: usize) {
        self.chain.call.set_max_line_bytes(max_line_bytes);
    }

    /// Takes the signals that plugins have emitted since this was called last.
    pub fn take_emitted(&mut self) -> Vec<Emission> {
        self.chain.call.take_emitted()
    }

    /// Whether any plugin wants to hear what happens to connections.
    pub fn wants_happenings(&self) -> bool {
        self.chain.wants_happenings()
    }

    /// Asks the plugins whether a connection may be opened; the first refusal counts. `number` is that of its
    /// unique id.
    pub fn connected(&mut self, number: u64, peer: &Peer) -> Result<(), TurnedAway> {
        self.chain.connected(number, peer)
    }

    /// Tells the plugins of what has happened to a connection.
    pub fn happened(&mut self, happened: &Happened) {
        for at in 0..self.chain.slots.len() {
            self.chain.tell_of(at, happened, false);
        }
    }

    /// Tells plugins that have just been put in force of what was there before them.
    pub fn replay(&mut self, fresh: &Fresh, happened: &Happened) {
        for &at in &fresh.0 {
            self.chain.tell_of(at, happened, true);
        }
    }

    /// Tells the plugins that the daemon is about to serve.
    pub fn started(&mut self) {
        self.chain.tell_all(raw::STARTED);
    }

    /// Tells the plugins that the daemon is about to end.
    pub fn stopping(&mut self) {
        self.chain.tell_all(raw::STOPPING);
    }

    /// Tells each plugin of its timer if that has passed. `now` is monotonic.
    pub fn tick(&mut self, now: Duration) {
        self.chain.tick(now);
    }

    /// When [`Plugins::tick`] is wanted at the latest; none: never. `now` is monotonic.
    pub fn next_deadline(&mut self, now: Duration) -> Option<Duration> {
        self.chain.next_deadline(now)
    }

    /// Whether a plugin takes the log's records.
    pub fn has_log(&self) -> bool {
        self.chain.has_log()
    }

    /// Hands a record to the plugins that take the log. False if none has taken it. `now` is since 1970.
    pub fn record(&mut self, note: &Note, now: Duration) -> bool {
        self.chain.record(note, now)
    }

    /// Tells the plugins that take the log that it has no more records in this turn.
    pub fn flush(&mut self) {
        self.chain.flush();
    }

    /// Takes what there is to log of the plugins themselves.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.chain.take_notes(&mut self.workshop.voices())
    }

    /// Takes what plugins that take the log have said of the records that they were handed. It goes to none of
    /// them: they would drive each other for ever.
    pub fn take_echoes(&mut self) -> Vec<Note> {
        self.chain.take_echoes(&self.workshop.voices())
    }

    /// Whether there is something to log of the plugins already.
    pub fn has_notes(&self) -> bool {
        !self.chain.notes.is_empty()
    }
}

impl Gate for Plugins {
    fn judge(&mut self, judged: &Judged<'_>) -> Verdict {
        if self.chain.has_filters() { self.chain.judge(judged) } else { Verdict::Pass }
    }

    fn explain(&mut self, judged: &Judged<'_>) -> Explained {
        self.chain.explain(judged)
    }

    fn counters(&self) -> Vec<Counters> {
        self.chain.counters()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::plugin_settings::OnFault;

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
    TELEX_MAGIC, TELEX_ABI, sizeof(telex_descriptor), TELEX_MINOR, "idle", "1", create, destroy, extension};
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

    fn settings(name: &str) -> PluginSettings {
        PluginSettings {
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
        let wanted = names.iter().map(|name| settings(name)).collect();
        Plugins::start(wanted, dir, "telexd", nix::unistd::geteuid().as_raw(), 1000, false, || {}).unwrap()
    }

    /// Reads the configuration again; `meanwhile` is what happens while its plugins are made.
    fn reload(plugins: &mut Plugins, dir: &Path, names: &[&str], meanwhile: impl FnOnce(&mut Plugins)) {
        plugins.prepare(names.iter().map(|name| settings(name)).collect(), dir.to_owned());
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
