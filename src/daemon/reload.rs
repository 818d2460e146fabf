//! Knows how a new configuration comes into force: all of it, or nothing.
//! Never: what a setting means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Now;
use crate::config::{AppliedBy, Config, ConfigError, Difference, drop_in_dir};
use crate::core::{Input, Outcome, Reloaded, Token};
use crate::daemon::{Daemon, wakes};
use crate::plugin::{Fresh, Prepared};
use crate::sys::{BackgroundTask, State};

/// A new configuration that takes longer than this is told of.
const LONG: Duration = Duration::from_secs(10);
/// How many files are open at once, at most, for a new configuration that changes no library.
pub(super) const FILES: usize = 4;
/// Where plugins are, if the configuration does not say.
const PLUGIN_DIR: &str = "/usr/lib/telexd/plugins";

/// A configuration that is being read again. Whatever may make it wait (a slow disk, a lookup of a group, a plugin)
/// is done on threads beside the loop.
#[derive(Debug)]
pub(super) struct Reloading {
    stage: Stage,
    /// Requests that are answered with its outcome.
    tokens: Vec<Token>,
    /// When the log is told that this takes long; once.
    tell_at: Option<Duration>,
}

impl Reloading {
    /// Requests that wait for its outcome.
    pub(super) fn tokens(self) -> Vec<Token> {
        self.tokens
    }
}

#[derive(Debug)]
enum Stage {
    /// The files are read, and the machine asked for what is in it.
    Reading(BackgroundTask<Result<Config, ConfigError>>),
    /// Its plugins are made.
    Making(Box<Config>),
}

/// What a look at a reload has come to.
enum Step {
    /// It goes on beside the loop.
    Waits(Stage),
    /// All is made, and its plugins are in force.
    Made(Box<Config>, Fresh),
    /// Nothing changes, for this reason.
    Refused(String),
}

/// Where plugins are that a configuration names without a path.
pub(super) fn plugin_dir(config: &Config) -> PathBuf {
    config.plugin_dir.clone().unwrap_or_else(|| PLUGIN_DIR.into())
}

impl Daemon {
    /// Begins to read the configuration again if that is wanted, and goes on with it as far as it has come beside
    /// the loop. A daemon that ends begins nothing new.
    pub(super) fn go_on_with_reload(&mut self, now: Now) {
        if self.stop_at.is_some() {
            self.reloading = None;
            return;
        }
        let is_wanted = self.wants_reload || !self.switch.reloads.is_empty();
        if is_wanted && self.reloading.is_none() {
            self.begin_reload(now);
        }
        if let Some(reloading) = self.reloading.take() {
            self.reloading = self.go_on(reloading, now);
        }
    }

    /// When the log is to be told that a reload takes long.
    pub(super) fn reload_deadline(&self) -> Option<Duration> {
        self.reloading.as_ref().and_then(|reloading| reloading.tell_at)
    }

    fn begin_reload(&mut self, now: Now) {
        self.wants_reload = false;
        self.service_manager.tell(State::Reloading);
        self.sockets.keep_for_files(0);
        let tokens = std::mem::take(&mut self.switch.reloads);
        let (command_line, machine) = (self.command_line.clone(), self.machine.clone());
        let read = move || Config::load_again(&command_line, &machine);
        match BackgroundTask::start(read, wakes(&self.waker)) {
            Ok(task) => {
                let (stage, tell_at) = (Stage::Reading(task), Some(now.mono + LONG));
                self.reloading = Some(Reloading { stage, tokens, tell_at });
            }
            Err(error) => self.refuse_reload(&tokens, &format!("it cannot be read: {error}"), now),
        }
    }

    /// Goes on with a reload as far as that goes now; none when it is over.
    fn go_on(&mut self, reloading: Reloading, now: Now) -> Option<Reloading> {
        let Reloading { stage, tokens, mut tell_at } = reloading;
        let step = match stage {
            Stage::Reading(task) => self.read_again(task),
            Stage::Making(config) => match self.switch.plugins.prepared() {
                None => Step::Waits(Stage::Making(config)),
                Some(Prepared::InForce(fresh)) => Step::Made(config, fresh),
                Some(Prepared::Refused(why)) => Step::Refused(why),
            },
        };
        match step {
            Step::Refused(why) => self.refuse_reload(&tokens, &why, now),
            Step::Made(config, fresh) => self.end_reload(*config, &fresh, &tokens, now),
            Step::Waits(stage) => {
                if tell_at.take_if(|at| now.mono >= *at).is_some() {
                    self.tell_that_it_waits(&stage);
                }
                return Some(Reloading { stage, tokens, tell_at });
            }
        }
        None
    }

    /// Has the plugins of a configuration made that has been read.
    fn read_again(&mut self, task: BackgroundTask<Result<Config, ConfigError>>) -> Step {
        match task.outcome() {
            None => Step::Waits(Stage::Reading(task)),
            Some(Err(error)) => Step::Refused(format!("it cannot be read: {error}")),
            Some(Ok(Err(error))) => Step::Refused(error.to_string()),
            Some(Ok(Ok(config))) => {
                if let Some(why) = self.loses_plugins(&config) {
                    return Step::Refused(why);
                }
                self.switch.plugins.prepare(config.plugins.clone(), plugin_dir(&config));
                Step::Waits(Stage::Making(Box::new(config)))
            }
        }
    }

    /// Why a configuration is refused that would silently end plugins that are required: a file may have been cut while
    /// it was written, or a drop-in be away while it is replaced.
    fn loses_plugins(&self, config: &Config) -> Option<String> {
        let names: Vec<_> = self.config.lost_plugins(config).iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(", ");
        let file = self.command_line.config.as_deref().unwrap_or(Path::new("--config"));
        let drop_ins = drop_in_dir(file).map(|dir| format!(" with {}/*.toml", dir.display()));
        (!names.is_empty()).then(|| {
            format!(
                "{}{}: has no [[plugin]] {names}, which is in force and required; to end it, write \
                 without = [{names}] above the first table",
                file.display(),
                drop_ins.unwrap_or_default()
            )
        })
    }

    fn tell_that_it_waits(&mut self, stage: &Stage) {
        let text = match stage {
            Stage::Reading(_) => "the new configuration is still being read".to_owned(),
            Stage::Making(_) => {
                let plugin = self.switch.plugins.waits_for().unwrap_or_default();
                format!("the new configuration is still waiting for the plugin {plugin}")
            }
        };
        self.switch.log.warn(&text);
    }

    fn refuse_reload(&mut self, tokens: &[Token], why: &str, now: Now) {
        self.switch.log.error(&format!("the configuration is left as it was: {why}"));
        self.answer(tokens, Outcome::Failed(why), now);
    }

    /// Puts a configuration in force whose plugins are in force already.
    fn end_reload(&mut self, config: Config, fresh: &Fresh, tokens: &[Token], now: Now) {
        let is_live = |difference: &Difference| difference.applied_by != AppliedBy::NextStart;
        let mut live = self.config.differences(&config);
        live.retain(is_live);
        let mut late = self.started_with.differences(&config);
        late.retain(|difference| !is_live(difference));
        let names = |of: &[Difference]| of.iter().map(|difference| difference.name).collect::<Vec<_>>();
        let (applied, restart) = (names(&live), names(&late));
        self.switch.log.notice(&format!(
            "configuration read again: changed now: {}; after a restart: {}",
            or_nothing(&applied),
            or_nothing(&restart)
        ));
        self.switch.take_back_log_level();
        self.put_plugins_in_force(fresh);
        config.warnings.iter().for_each(|text| self.switch.log.warn(text));
        self.config = config;
        // What one part applies stands together.
        live.dedup_by_key(|difference| difference.applied_by);
        for difference in live {
            self.apply(difference.applied_by, now);
        }
        self.answer(tokens, Outcome::Reloaded(Reloaded { applied: &applied, restart: &restart }), now);
    }

    /// Tells of plugins that have just been put in force, and tells them what is there. They may be others although
    /// the configuration says the same.
    fn put_plugins_in_force(&mut self, fresh: &Fresh) {
        let switch = &mut self.switch;
        switch.log.for_plugins(switch.plugins.has_log());
        switch.core.tell_happenings(switch.plugins.wants_happenings());
        switch.core.replay(&mut |happened| switch.plugins.replay(fresh, &happened));
    }

    /// Applies what has changed in the configuration in force. Which setting is applied by what stands in the table
    /// of all settings (`config::setting`).
    fn apply(&mut self, applied_by: AppliedBy, now: Now) {
        let (config, switch) = (&self.config, &mut self.switch);
        match applied_by {
            AppliedBy::NextStart => {}
            AppliedBy::Log => switch.log.set_level(config.log_level),
            // An end looks it up by itself; the core tells it to peers.
            AppliedBy::Drain => switch.core.drain_timeout_changed(config.drain_timeout),
            // A turn looks it up by itself.
            AppliedBy::Turn => {}
            // They were made of it.
            AppliedBy::Plugins => {}
            AppliedBy::Limits => {
                switch.plugins.set_max_line_bytes(config.limits.max_line_bytes);
                let limits = Box::new(config.limits.clone());
                switch.tell(Input::LimitsChanged(limits), &mut self.sockets, now);
            }
        }
    }

    fn answer(&mut self, tokens: &[Token], outcome: Outcome<'_>, now: Now) {
        self.sockets.keep_for_files(FILES);
        for &token in tokens {
            self.switch.tell(Input::Done { token, outcome }, &mut self.sockets, now);
        }
        self.tell_ready(now.mono);
    }
}

fn or_nothing(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
