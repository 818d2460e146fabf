//! Knows services: programs that answer under a name, directly and through the switch, with the same functions.
//! Never: what the messages of an application mean.

mod answers;
mod base;
mod builder;
mod hall;
mod hear;
mod notify;
mod peer;
mod stream;
mod through;
mod work;

pub use base::Service;
pub use builder::Builder;
