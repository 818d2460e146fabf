//! Knows how a core is carried to another process, but for the other process.
//! Never: when.

use telex::core::Core;

use crate::model::Checked;

/// Only the daemon has state that is carried.
#[cfg(not(feature = "daemon"))]
pub(crate) fn carry(_: &mut Core, _: impl Fn() -> Core) -> Checked {
    Err("no daemon".to_owned())
}

/// Saves a core, and puts what is restored from that in its place. `fresh` gives one of the same configuration.
#[cfg(feature = "daemon")]
pub(crate) fn carry(core: &mut Core, fresh: impl Fn() -> Core) -> Checked {
    let mut saved = Vec::new();
    let save = std::mem::replace(core, fresh()).save(&mut saved);
    save.map_err(|error| format!("the core cannot be saved: {error}"))?;
    *core = fresh().restore(&saved).map_err(|error| format!("the core cannot be restored: {error}"))?;
    core.check();
    Ok(())
}
