//! Knows how a new configuration comes into force: all of it, or nothing.
//! Never: what a setting does.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Now;
use crate::config::{Config, Differences};
use crate::core::{Input, Reloaded, Token};
use crate::daemon::Daemon;
use crate::plugin::{Fresh, Prepared};
use crate::sys;

/// A new configuration whose plugins take longer than this is told of.
const LONG: Duration = Duration::from_secs(10);
/// Where plugins are, where the configuration does not say.
const PLUGIN_DIR: &str = "/usr/lib/telexd/plugins";

/// A configuration that has been read, and whose plugins are being made.
#[derive(Debug)]
pub(super) struct Reloading {
    config: Config,
    /// Who asked for it.
    tokens: Vec<Token>,
    /// When the log is told that this takes long; once.
    pub(super) tell_at: Option<Duration>,
}

/// Where plugins are that a configuration names without a path.
pub(super) fn plugin_dir(config: &Config) -> PathBuf {
    config.plugin_dir.clone().unwrap_or_else(|| PLUGIN_DIR.into())
}

impl Daemon {
    /// Reads the configuration again where that is wanted, and puts it in force when its plugins are
    /// there. Whoever asked is told then. A daemon that ends begins nothing new.
    pub(super) fn go_on_with_reload(&mut self, now: Now) {
        if self.stop_at.is_some() {
            self.reloading = None;
            return self.obey(now);
        }
        if self.wants_reload && self.reloading.is_none() {
            self.wants_reload = false;
            self.reload(now);
        }
        if self.reloading.is_some()
            && let Some(prepared) = self.plugins.prepared()
            && let Some(reloading) = self.reloading.take()
        {
            self.end_reload(reloading, prepared, now);
        }
        if let Some(reloading) = &mut self.reloading
            && reloading.tell_at.take_if(|at| now.mono >= *at).is_some()
        {
            let plugin = self.plugins.waits_for().unwrap_or_default();
            self.log.warn(&format!("the new configuration is still waiting for the plugin {plugin}"));
        }
        self.obey(now);
    }

    fn reload(&mut self, now: Now) {
        // A service manager that cannot be told will find out.
        let _ = sys::notify_reloading();
        let tokens = std::mem::take(&mut self.reloads);
        match Config::load(&self.command_line, &self.machine) {
            Err(error) => self.refuse_reload(&tokens, &error.to_string(), now),
            Ok(config) => {
                let (plugins, dir) = (config.plugins.clone(), plugin_dir(&config));
                self.reloading = Some(Reloading { config, tokens, tell_at: Some(now.mono + LONG) });
                self.plugins.prepare(plugins, dir);
            }
        }
    }

    fn end_reload(&mut self, Reloading { config, tokens, .. }: Reloading, prepared: Prepared, now: Now) {
        let fresh = match prepared {
            Prepared::Refused(why) => return self.refuse_reload(&tokens, &why, now),
            Prepared::InForce(fresh) => fresh,
        };
        let Differences { live, restart } = self.put_in_force(config, &fresh, now);
        for token in tokens {
            let outcome = Ok(Reloaded { applied: &live, restart: &restart });
            self.core.handle(Input::Reloaded { token, outcome }, now, &mut self.plugins);
        }
        self.tell_ready();
    }

    fn refuse_reload(&mut self, tokens: &[Token], why: &str, now: Now) {
        self.log.error(&format!("the configuration is left as it was: {why}"));
        for &token in tokens {
            self.core.handle(Input::Reloaded { token, outcome: Err(why) }, now, &mut self.plugins);
        }
        self.tell_ready();
    }

    /// Says what is in force now that was not, and what will be after a restart.
    fn put_in_force(&mut self, config: Config, fresh: &Fresh, now: Now) -> Differences {
        let differences = Differences {
            live: self.config.differences(&config).live,
            restart: self.started_with.differences(&config).restart,
        };
        self.log.notice(&format!(
            "configuration read again: changed now: {}; after a restart: {}",
            or_nothing(&differences.live),
            or_nothing(&differences.restart)
        ));
        self.log.set_level(config.log_level);
        self.log.for_plugins(self.plugins.has_log());
        self.core.tell_happenings(self.plugins.wants_happenings());
        let plugins = &mut self.plugins;
        self.core.replay(&mut |happened| plugins.replay(fresh, &happened));
        self.plugins.set_max_line_bytes(config.limits.max_line_bytes);
        let limits = Box::new(config.limits.clone());
        self.core.handle(Input::LimitsChanged(limits), now, &mut self.plugins);
        self.core.drain_timeout_changed(config.drain_timeout);
        self.config = config;
        differences
    }
}

fn or_nothing(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
