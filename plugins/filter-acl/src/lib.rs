//! Who may own, send, publish, subscribe, monitor and ask what: a filter for telexd.

pub mod pattern;
pub mod verb;
