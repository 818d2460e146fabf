//! Knows how the service manager is told of a service's state (sd_notify(3)). Without one nothing is told.
//! Never: when.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

/// How long a service manager is waited for that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// It serves.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// It ends.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Tells on a thread: one that is busy (systemd in a `daemon-reload`) may take nothing for long.
fn tell(state: NotifyState<'static>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let (sender, told) = channel();
    let tell = move || {
        // Nothing depends on it here.
        let _ = sd_notify::notify(&[state]);
        drop(sender);
    };
    if thread::Builder::new().name("telex-notify".to_owned()).spawn(tell).is_ok() {
        let _ = told.recv_timeout(PATIENCE) as Result<(), _>;
    }
}
