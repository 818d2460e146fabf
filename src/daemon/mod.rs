//! Knows the parts of the daemon and the order of the steps of a turn.
//! Never: what a message means.
//!
//! There are two halves: the sockets ([`Sockets`](crate::net::Sockets)), which know nothing of the service, and the
//! switch behind them (core, plugins, log), which knows nothing of readiness. A [`Daemon`] has both and gives
//! them their turns: it waits, reads the clock once, and lets the switch act on what the sockets have found. What
//! may take long (making plugins, reading the configuration again, writing to stderr, telling the service manager) is done on threads beside the
//! loop.

mod accept;
mod catch_up;
mod fatal;
mod hand_over;
mod log;
mod notify;
mod place;
mod reach;
mod reload;
mod serve;
mod settings;
mod switch;
mod take_over;
mod turn;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::clock::Now;
use crate::config::{CommandLine, Config, Listen, Machine};
use crate::core::{About, Core, Level};
use crate::limits::KEPT_BACK_MAX;
use crate::listen::{Inherited, Place};
use crate::net::{Bound, Waker, adopt, bind};
use crate::plugin::Plugins;
use crate::store::Numbers;
use crate::sys::{self, Clock, ServiceManager, Signals};

use accept::Troubles;
use catch_up::CatchUp;
pub use fatal::Fatal;
use hand_over::HandingOver;
pub use hand_over::left_to_this_process;
use log::Log;
use notify::Notices;
use reach::Reach;
use reload::Reloading;
use switch::{Sockets, Switch};
use take_over::{Sorted, Taken, TakingOver};

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
    signals: Signals,
    service_manager: ServiceManager,
    notices: Notices,
    /// What threads beside the loop wake it with.
    waker: Arc<Waker>,
    sockets: Sockets,
    switch: Switch,
    catch_up: CatchUp,
    /// The configuration is to be read again.
    wants_reload: bool,
    /// What has been read, or is being read, and is not in force yet.
    reloading: Option<Reloading>,
    reach: Reach,
    /// When an ordered end is over at the latest.
    stop_at: Option<Duration>,
    /// Another process is to go on.
    handing_over: Option<HandingOver>,
    /// What has been taken over from another process, until it is gone on with.
    taken: Option<Taken>,
    /// What the service manager has kept, and is to keep no longer.
    forgotten: Vec<String>,
}

/// How a daemon that has served has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop.
    Stopped,
    /// It has left everything with the service manager, which is to start the process that goes on.
    HandedOver,
}

/// The mark of the signals among what the sockets watch.
const SIGNALS: usize = 0;
/// The mark of the files that the daemon is found by.
const FILES: usize = 1;
/// What is to be done if there is nothing to listen at.
const NO_SOCKET: &str = "listen is [\"systemd\"], and systemd has handed over no socket: start the daemon by its socket \
                         unit, such as `systemctl start telexd.socket`, or by hand with --listen unix:/PATH";
/// What plugins are told that the daemon is.
const NAME: &str = concat!("telexd ", env!("CARGO_PKG_VERSION"));

impl Daemon {
    /// Opens everything that the daemon needs. `inherited` are the sockets that the service manager has opened, `left` is
    /// what another process has left to be gone on with. When this returns, clients can connect.
    pub fn start(
        command_line: CommandLine,
        config: Config,
        machine: Machine,
        inherited: Vec<Inherited>,
        left: Vec<OwnedFd>,
    ) -> Result<Daemon, Fatal> {
        let clock = Clock;
        let mut log = start_log(config.log_level)?;
        config.warnings.iter().for_each(|text| log.warn(text));
        if let Err(error) = sys::raise_descriptor_limit() {
            log.warn(&format!("cannot raise the limit of open files: {error}"));
        }
        let mut signals = Signals::take().map_err(Fatal::doing("taking signals"))?;
        let mut sockets = Sockets::new().map_err(Fatal::doing("making a poller"))?;
        sockets.watch(signals.source(), SIGNALS).map_err(Fatal::doing("watching for signals"))?;
        let waker = Arc::new(sockets.waker().map_err(Fatal::doing("making a waker"))?);
        let service_manager = ServiceManager::start(wakes(&waker))
            .map_err(Fatal::doing("starting the thread that tells the service manager"))?;
        let plugins = make_plugins(&config, &mut log, false, wakes(&waker))?;
        signals.keep();
        // Those that a process has left to this one which it has become.
        sys::unblock_signals().map_err(Fatal::doing("unblocking signals"))?;
        log.for_plugins(plugins.has_log());
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            host: config.host.clone().unwrap_or_else(|| machine.host_name.clone()),
            drain_timeout: config.drain_timeout,
        };
        let Sorted { listeners, left: kept, forgotten } = take_over::sort(inherited, &mut log);
        let fresh = || Core::new(about.clone(), config.limits.clone(), clock.now());
        let left = left.into_iter().chain(kept).collect();
        let (mut core, taking_over) = TakingOver::find(left, fresh, &mut log);
        let (numbers, taken) =
            listen(&config, &machine.host_name, listeners, taking_over, &mut sockets, &mut log)?;
        core.tell_happenings(plugins.wants_happenings());
        let troubles = Troubles::default();
        let mut daemon = Daemon {
            started_with: config.clone(),
            config,
            command_line,
            machine,
            clock,
            signals,
            service_manager,
            notices: Notices::default(),
            waker,
            sockets,
            switch: Switch {
                core,
                plugins,
                log,
                numbers,
                troubles,
                reloads: Vec::new(),
                wants_settings: Vec::new(),
            },
            catch_up: CatchUp::default(),
            wants_reload: false,
            reloading: None,
            reach: Reach::default(),
            stop_at: None,
            handing_over: None,
            taken,
            forgotten,
        };
        daemon.keep_descriptors();
        Ok(daemon)
    }

    /// Keeps back what may be needed at the limit of open files.
    fn keep_descriptors(&mut self) {
        // One more, for telling a client that there is none for it.
        self.sockets.keep_back(KEPT_BACK_MAX + 1);
        self.sockets.keep_for_files(reload::FILES);
    }

    /// Where clients can connect, with real ports.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.sockets.listeners().iter().map(|bound| &bound.address)
    }

    /// Serves until it is told to stop, or to hand over.
    pub fn run(mut self) -> Result<End, Fatal> {
        let mut now = self.clock.now();
        self.switch.plugins.started();
        if let Some(Taken { connections, lost, .. }) = self.taken.take() {
            self.go_on_with(connections, lost, now);
        }
        let forgotten = std::mem::take(&mut self.forgotten);
        self.forget_what_was_left(forgotten);
        self.watch_files(now);
        self.tell_ready(now.mono);
        self.switch.carry_out(&mut self.sockets, now);
        self.switch.hand_over_log(now);
        while !self.is_over(now) {
            if self.hands_over() {
                return self.hand_over(now);
            }
            let deadline = self.deadline(now.mono);
            if let Err(error) = self.sockets.wait(deadline, now.mono) {
                // What has led to it may be among what waits for plugins.
                self.switch.hand_over_log(now);
                return Err(Fatal::doing("waiting for events")(error));
            }
            let began = self.clock.now();
            self.turn(began);
            now = self.clock.now();
            self.switch.core.turned(now.mono - began.mono);
        }
        self.finish(now);
        Ok(End::Stopped)
    }

    fn finish(mut self, now: Now) {
        let Daemon { sockets, switch, .. } = &mut self;
        let lost = switch.core.end_drain();
        if lost > 0 {
            let text = format!("{lost} messages were not taken in time and are lost with the daemon");
            switch.log.warn(&text);
        }
        // Some of their senders are still there to be told.
        switch.write_dirty(sockets, now);
        sockets.close_all();
        for bound in sockets.listeners() {
            if let Err(error) = bound.remove_file() {
                switch.log.warn(&format!("cannot remove the socket of {}: {error}", bound.address));
            }
        }
        if let Err(error) = switch.numbers.close() {
            switch.log.warn(&error.to_string());
        }
        switch.log.notice("stopped");
        switch.hand_over_log(now);
        let Switch { plugins, mut log, .. } = self.switch;
        log.for_plugins(false);
        for note in plugins.end() {
            log.note(note);
        }
    }
}

/// Makes the plugins of a configuration and ends them at once, as they are when the daemon starts, but without a file
/// opened for writing. What its log would have of them goes to stderr, as far as it is a warning. The error says which
/// plugin cannot be made.
pub fn check_plugins(config: &Config) -> Result<(), Fatal> {
    hand_over::check_version().map_err(Fatal::doing("taking over"))?;
    let mut log = start_log(Level::Warning)?;
    config.warnings.iter().for_each(|text| log.warn(text));
    for note in make_plugins(config, &mut log, true, || {})?.end() {
        log.note(note);
    }
    Ok(())
}

/// What a thread beside the loop ends the loop's wait with.
fn wakes(waker: &Arc<Waker>) -> impl Fn() + Send + Sync + use<> {
    let waker = waker.clone();
    move || {
        // If that fails the next turn finds out.
        let _ = waker.wake();
    }
}

fn start_log(level: Level) -> Result<Log, Fatal> {
    Log::start(level).map_err(Fatal::doing("starting the thread that writes the log"))
}

fn make_plugins(
    config: &Config,
    log: &mut Log,
    checking: bool,
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<Plugins, Fatal> {
    sys::fail_at_file_limit().map_err(Fatal::doing("taking signals"))?;
    let (plugins, dir, uid) = (config.plugins.clone(), reload::plugin_dir(config), sys::own_uid());
    let max_line_bytes = config.limits.max_line_bytes;
    Plugins::start(plugins, &dir, NAME, uid, max_line_bytes, checking, wake).map_err(|failed| {
        for note in failed.notes {
            log.note(note);
        }
        Fatal::doing("loading plugins")(io::Error::other(failed.why))
    })
}

/// Listens, and takes the numbers of connections from the state directory. What another process has handed over is taken
/// as late as can be.
fn listen(
    config: &Config,
    host_name: &str,
    inherited: Vec<OwnedFd>,
    taking_over: Option<TakingOver>,
    sockets: &mut Sockets,
    log: &mut Log,
) -> Result<(Numbers, Option<Taken>), Fatal> {
    let state_dir = match &config.state_dir {
        Some(dir) => dir.clone(),
        None => place::state_dir(host_name)?,
    };
    // Before the sockets: of two daemons that start at once on one state directory, the one that does not get it
    // must not have taken the other's new socket for a stale one.
    let least = taking_over.as_ref().map_or(1, TakingOver::next_number);
    let mut numbers = Numbers::open_from(&state_dir, least).map_err(Fatal::doing("opening the state"))?;
    let listening = bind_all(config, inherited, taking_over, log).and_then(|(bound, taken)| {
        sockets.listen(bound).map_err(Fatal::doing("watching the listeners"))?;
        Ok(taken)
    });
    let listening = listening.and_then(|taken| {
        let addresses: Vec<_> = sockets.listeners().iter().map(|bound| bound.address.to_string()).collect();
        let holder = format!("process {}, at {}", std::process::id(), addresses.join(", "));
        numbers.name_holder(&holder).map_err(Fatal::doing("writing the state"))?;
        Ok(taken)
    });
    match listening {
        Ok(taken) => Ok((numbers, taken)),
        Err(fatal) => {
            // What cannot be removed or given back is left, as by a crash.
            sockets.listeners().iter().for_each(|bound| drop(bound.remove_file()));
            let _ = numbers.close();
            Err(fatal)
        }
    }
}

/// The sockets that the service manager has opened, those that another process has handed over, and those of the
/// configuration that are not among them; if there are none at all, the default one.
fn bind_all(
    config: &Config,
    inherited: Vec<OwnedFd>,
    taking_over: Option<TakingOver>,
    log: &mut Log,
) -> Result<(Vec<Bound>, Option<Taken>), Fatal> {
    let adopted = inherited.into_iter().map(adopt).collect::<Result<Vec<_>, _>>();
    let mut all = adopted.map_err(Fatal::doing("taking a socket of the service manager"))?;
    let mut addresses = config.listen.addresses().to_vec();
    addresses.retain(|address| !all.iter().any(|bound| bound.address == *address));
    let places = taking_over.as_ref().map_or(&[][..], TakingOver::places);
    // It hands them over once: to a process that has become this one.
    let is_alone = all.is_empty();
    let is_adopted = |place: &Place| is_alone && place.is_adopted();
    if is_alone && addresses.is_empty() && !places.iter().any(is_adopted) {
        if config.listen == Listen::Systemd {
            return Err(Fatal::doing("listening")(io::Error::new(io::ErrorKind::NotFound, NO_SOCKET)));
        }
        addresses.push(place::address()?);
    }
    let asked = addresses.clone();
    let is_wanted = |place: &Place| is_adopted(place) || !place.is_adopted() && asked.contains(place.asked());
    let comes = |address: &Address| places.iter().any(|place| is_wanted(place) && place.asked() == address);
    addresses.retain(|address| !comes(address));
    let mut late = Vec::new();
    for address in addresses {
        match bind(&address, config.socket_mode, config.socket_group.as_deref()) {
            Ok(bound) => all.extend(bound),
            // It may be a listener of the other process, written in another way.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !places.is_empty() => {
                late.push(address)
            }
            Err(error) => return Err(give_up(&all, &address, error)),
        }
    }
    let taken = taking_over.map(|taking_over| taking_over.take(is_wanted, log)).transpose();
    let mut taken = taken.map_err(Fatal::doing("taking over from another process"))?;
    all.extend(taken.iter_mut().flat_map(|taken| std::mem::take(&mut taken.listeners)));
    for address in late {
        match bind(&address, config.socket_mode, config.socket_group.as_deref()) {
            Ok(bound) => all.extend(bound),
            Err(error) => return Err(give_up(&all, &address, error)),
        }
    }
    Ok((all, taken))
}

fn give_up(bound: &[Bound], address: &Address, error: io::Error) -> Fatal {
    for bound in bound {
        // A file that cannot be removed is stale to the next daemon that listens there.
        let _ = bound.remove_file();
    }
    Fatal::doing(format!("listening on {address}"))(error)
}
