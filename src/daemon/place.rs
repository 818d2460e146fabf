//! Knows where the daemon listens and keeps its state if it is not told.
//! Never: opens anything but the folder of its own socket.

use std::env;
use std::io;
use std::path::PathBuf;

use crate::address::Address;
use crate::daemon::Fatal;
use crate::store::make_directory;
use crate::sys::{is_root, own_uid};

/// The Unix socket: of root in /run/telexd, of others in their $XDG_RUNTIME_DIR, which is /run/user/UID if it is not
/// set. `telex` looks there, too.
pub(super) fn address() -> Result<Address, Fatal> {
    if is_root() {
        let folder = PathBuf::from("/run/telexd");
        make_directory(&folder, 0o755).map_err(Fatal::doing("making the folder /run/telexd"))?;
        return Ok(Address::Unix(folder.join("telex.sock")));
    }
    // Where systemd puts it, for those without their environment (cron, su).
    let usual = PathBuf::from(format!("/run/user/{}", own_uid()));
    let folder = home("XDG_RUNTIME_DIR").or_else(|| usual.is_dir().then(|| usual.clone())).ok_or_else(|| {
        let usual = usual.display();
        let why = format!(
            "$XDG_RUNTIME_DIR is no absolute path, and there is no {usual}; say where with --listen unix:/PATH"
        );
        missing("finding a place for the socket", &why)
    })?;
    Ok(Address::Unix(folder.join("telex.sock")))
}

/// The state directory: of a service the one that systemd gives it, of root in /var/lib, of others in their
/// $XDG_STATE_HOME, where each machine has its own: a home may be shared.
pub(super) fn state_dir(host_name: &str) -> Result<PathBuf, Fatal> {
    if let Some(folder) = given_by_systemd() {
        return Ok(folder);
    }
    if is_root() {
        return Ok(PathBuf::from("/var/lib/telexd"));
    }
    let folder = home("XDG_STATE_HOME").or_else(|| Some(home("HOME")?.join(".local/state")));
    // Nothing that leads elsewhere.
    let host = host_name.trim_start_matches('.').replace('/', "-");
    folder.map(|folder| folder.join("telexd").join(host)).ok_or_else(|| {
        missing(
            "finding a state directory",
            "neither $XDG_STATE_HOME nor $HOME is set; say where with --state-dir DIR",
        )
    })
}

/// The first of the unit's `StateDirectory=`. What a service starts inherits the variable, so that it may be another
/// service's: only the process that systemd itself has started takes it.
fn given_by_systemd() -> Option<PathBuf> {
    let is_ours = env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    let folders = env::var_os("STATE_DIRECTORY").filter(|_| is_ours)?;
    env::split_paths(&folders).next().filter(|path| path.is_absolute())
}

fn home(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn missing(doing: &str, why: &str) -> Fatal {
    Fatal::doing(doing)(io::Error::new(io::ErrorKind::NotFound, why))
}
