//! Knows how a core is carried to another process, but for the other process.
//! Never: when.

use telex::core::Core;

use crate::model::Checked;

/// Saves a core, and puts what is restored from that in its place. `fresh` gives one of the same configuration.
pub(crate) fn carry(core: &mut Core, fresh: impl Fn() -> Core) -> Checked {
    let mut saved = Vec::new();
    let save = std::mem::replace(core, fresh()).save(&mut saved);
    save.map_err(|error| format!("the core cannot be saved: {error}"))?;
    *core = fresh().restore(&saved).map_err(|error| format!("the core cannot be restored: {error}"))?;
    core.check();
    Ok(())
}
