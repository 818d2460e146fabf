//! Knows how the settings in force are told (PROTOCOL.md section 7, `settings`).
//! Never: changes one.

use crate::daemon::Daemon;
use crate::wire::json::Object;

impl Daemon {
    /// The member `settings`, in an object on one line. What applies at a restart is in force as the daemon was started
    /// with it; what the configuration says by now comes next.
    pub(super) fn settings(&self) -> String {
        let mut body = Vec::new();
        let mut object = Object::begin(&mut body);
        let both = self.started_with.settings().zip(self.config.settings());
        object.array("settings", both, |out, (then, now)| {
            let is_late = now.applies == "restart";
            let in_force = if is_late { &then } else { &now };
            let mut entry = Object::begin(out);
            entry.string("name", in_force.name).raw("value", in_force.value.as_bytes());
            entry.string("source", in_force.source).string("applies", in_force.applies);
            if is_late && then.value != now.value {
                entry.raw("next", now.value.as_bytes()).string("next_source", now.source);
            }
            entry.end();
        });
        object.end();
        String::from_utf8(body).unwrap_or_default()
    }
}
