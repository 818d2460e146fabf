//! Knows the parts of the daemon and the order of the steps of a turn.
//! Never: what a message means.

mod accept;
mod conns;
mod fatal;
mod log;
mod place;
mod reload;
mod turn;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::address::Address;
use crate::config::{CommandLine, Config, Machine};
use crate::core::{About, Core, Level, SessionKey, Token};
use crate::net::{Bound, Poller, adopt, bind};
use crate::plugin::Plugins;
use crate::store::Numbers;
use crate::sys::{self, Clock, Signals};

use accept::Accepting;
use conns::Conns;
pub use fatal::Fatal;
use log::Log;
use reload::Reloading;

/// The daemon, ready to serve.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    /// What holds until the next start.
    started_with: Config,
    /// How it was called, for reading the configuration again.
    command_line: CommandLine,
    machine: Machine,
    clock: Clock,
    log: Log,
    poller: Poller,
    signals: Signals,
    listeners: Vec<Bound>,
    accepting: Accepting,
    numbers: Numbers,
    core: Core,
    plugins: Plugins,
    conns: Conns,
    /// Connections that have something to be done, in the order of their turns.
    ready: VecDeque<SessionKey>,
    /// What is read goes through this one buffer.
    buffer: Vec<u8>,
    /// The configuration is to be read again.
    wants_reload: bool,
    /// Peers that asked for that.
    reloads: Vec<Token>,
    /// What has been read and is not in force yet.
    reloading: Option<Reloading>,
    /// When an ordered end is over at the latest.
    stop_at: Option<Duration>,
}

/// Bytes read from one connection in one go. With half of it the kernel takes twice the time for each byte that
/// came over TCP from a fast sender. What is kept of a sender that has to wait may be as much.
const READ_BYTES: usize = 256 * 1024;
/// Tokens of what is no connection. Connections have those of their sessions, which are larger.
const SIGNALS: usize = 0;
const WAKER: usize = 1;
const ALARM: usize = 2;
const LISTENERS: usize = 3;
/// What plugins are told that the daemon is.
const NAME: &str = concat!("telexd ", env!("CARGO_PKG_VERSION"));

impl Daemon {
    /// Opens everything that the daemon needs. When this returns, clients can connect.
    pub fn start(command_line: CommandLine, config: Config, machine: Machine) -> Result<Daemon, Fatal> {
        let clock = Clock::new();
        let mut log = Log::new(config.log_level, sys::is_journal());
        if let Err(error) = sys::raise_descriptor_limit() {
            log.warn(&format!("cannot raise the limit of open files: {error}"));
        }
        let mut signals = Signals::take().map_err(Fatal::doing("taking signals"))?;
        let poller = Poller::new(ALARM).map_err(Fatal::doing("making a poller"))?;
        poller.watch(signals.source(), SIGNALS).map_err(Fatal::doing("watching for signals"))?;
        let waker = poller.waker(WAKER).map_err(Fatal::doing("making a waker"))?;
        let wake = move || {
            // Where that fails the next turn finds out.
            let _ = waker.wake();
        };
        let plugins = make_plugins(&config, &mut log, wake)?;
        signals.keep();
        log.for_plugins(plugins.has_log());
        let state_dir = match &config.state_dir {
            Some(dir) => dir.clone(),
            None => place::state_dir()?,
        };
        // Before the sockets: of two daemons that start at once on one state directory, the one that does
        // not get it must not have taken the other's new socket for a stale one.
        let mut numbers = Numbers::open(&state_dir).map_err(Fatal::doing("opening the state"))?;
        let mut listeners = match listen(&config) {
            Ok(listeners) => listeners,
            Err(fatal) => {
                // Those that cannot be given back are lost, as in a crash.
                let _ = numbers.close();
                return Err(fatal);
            }
        };
        for (at, bound) in listeners.iter_mut().enumerate() {
            let watched = poller.watch_listener(&mut bound.listener, LISTENERS + at);
            watched.map_err(Fatal::doing("watching a listener"))?;
        }
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            host: config.host.clone().unwrap_or_else(|| machine.host_name.clone()),
            drain_timeout: config.drain_timeout,
        };
        let mut core = Core::new(about, config.limits.clone(), clock.now());
        core.tell_happenings(plugins.wants_happenings());
        Ok(Daemon {
            accepting: Accepting::new(listeners.len()),
            started_with: config.clone(),
            config,
            command_line,
            machine,
            clock,
            log,
            poller,
            signals,
            listeners,
            numbers,
            core,
            plugins,
            conns: Conns::default(),
            ready: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
            wants_reload: false,
            reloads: Vec::new(),
            reloading: None,
            stop_at: None,
        })
    }

    /// Where clients can connect, with real ports.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.listeners.iter().map(|bound| &bound.address)
    }

    /// Serves until it is told to stop.
    pub fn run(mut self) -> Result<(), Fatal> {
        self.plugins.started();
        self.tell_ready();
        self.obey(self.clock.now());
        self.hand_over_log();
        let outcome = loop {
            if self.is_over() {
                break Ok(());
            }
            if let Err(fatal) = self.turn() {
                break Err(fatal);
            }
        };
        match outcome {
            Ok(()) => self.finish(),
            // What has led to it may be among what waits for plugins.
            Err(_) => self.hand_over_log(),
        }
        outcome
    }

    fn tell_ready(&mut self) {
        let addresses: Vec<_> = self.addresses().map(Address::to_string).collect();
        if let Err(error) = sys::notify_ready(&format!("listening on {}", addresses.join(", "))) {
            self.log.warn(&format!("cannot tell the service manager: {error}"));
        }
    }

    fn finish(mut self) {
        let lost = self.core.end_drain();
        if lost > 0 {
            self.log.warn(&format!("{lost} messages were not taken in time and are lost with the daemon"));
        }
        // Some of their senders are still there to be told.
        self.write_all(self.clock.now());
        for (_, conn) in self.conns.drain() {
            conn.stream.close();
        }
        for bound in &self.listeners {
            if let Err(error) = bound.remove_file() {
                self.log.warn(&format!("cannot remove the socket of {}: {error}", bound.address));
            }
        }
        if let Err(error) = self.numbers.close() {
            self.log.warn(&error.to_string());
        }
        self.log.notice("stopped");
        self.hand_over_log();
        self.log.for_plugins(false);
        for note in self.plugins.end() {
            self.log.note(note);
        }
    }
}

/// Makes the plugins of a configuration and ends them at once, as they are when the daemon starts. What
/// its log would have of them goes to stderr, as far as it is a warning.
pub fn check_plugins(config: &Config) -> Result<(), Fatal> {
    let mut log = Log::new(Level::Warning, sys::is_journal());
    for note in make_plugins(config, &mut log, || {})?.end() {
        log.note(note);
    }
    Ok(())
}

fn make_plugins(
    config: &Config,
    log: &mut Log,
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<Plugins, Fatal> {
    sys::fail_at_file_limit().map_err(Fatal::doing("taking signals"))?;
    let (plugins, dir) = (config.plugins.clone(), reload::plugin_dir(config));
    Plugins::start(plugins, &dir, NAME, sys::own_uid(), config.limits.max_line_bytes, wake).map_err(
        |failed| {
            for note in failed.notes {
                log.note(note);
            }
            Fatal::doing("loading plugins")(io::Error::other(failed.why))
        },
    )
}

/// The sockets that the service manager has opened, and those of the configuration that are not
/// among them; where there are none at all, the default one.
fn listen(config: &Config) -> Result<Vec<Bound>, Fatal> {
    let inherited = sys::inherited().map_err(Fatal::doing("taking the sockets of the service manager"))?;
    let adopted = inherited.into_iter().map(adopt).collect::<Result<Vec<_>, _>>();
    let mut all = adopted.map_err(Fatal::doing("taking a socket of the service manager"))?;
    let mut addresses = config.listen.clone();
    addresses.retain(|address| !all.iter().any(|bound| bound.address == *address));
    if all.is_empty() && addresses.is_empty() {
        addresses.push(place::address()?);
    }
    for address in &addresses {
        match bind(address, config.socket_mode, config.socket_group.as_deref()) {
            Ok(bound) => all.extend(bound),
            Err(error) => {
                for bound in &all {
                    // What cannot be removed is stale to whoever listens there next.
                    let _ = bound.remove_file();
                }
                return Err(Fatal::doing(format!("listening on {address}"))(error));
            }
        }
    }
    Ok(all)
}
