//! Knows what the machine says of itself and of its processes: time, signals, credentials, limits,
//! the service manager.
//! Never: what a message is.

mod credentials;
mod descriptors;
mod machine;
mod service;
mod signals;

pub use credentials::identify;
pub use descriptors::{inherited, raise_descriptor_limit, unread};
pub use machine::{Clock, has_group, host_name, is_root, own_uid};
pub use service::{is_journal, notify_ready, notify_reloading, notify_stopping};
pub use signals::{Signal, Signals, fail_at_file_limit};
