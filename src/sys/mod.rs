//! Knows what the machine says of itself and of its processes: time, signals, credentials, limits, the service
//! manager, files that are removed; and how its threads do what may take long.
//! Never: what a message is.

mod credentials;
mod descriptors;
mod handover;
mod machine;
mod run;
mod service;
mod signals;
mod task;
mod terminal;
mod watch;
mod writer;

pub use credentials::identify;
pub use descriptors::{raise_descriptor_limit, unread};
pub use handover::{Found, Incoming, Outgoing, inherit, inherited_by_number};
pub use machine::{Clock, has_group, host_name, is_root, own_uid};
pub use run::run;
pub use service::{HANDOVER, ServiceManager, State, is_journal, watchdog};
pub use signals::{Signal, Signals, fail_at_file_limit, unblock_signals};
pub use task::BackgroundTask;
pub use watch::Watch;
pub use writer::BackgroundWriter;
