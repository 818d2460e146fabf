//! The users and groups of this machine ([`Machine`]), and how rules of filters name them: [`uids`] and
//! [`Groups`] read the `user` and the `group` of a rule, and say which names are [`Unknown`].

mod machine;
mod named;

pub use machine::{Machine, Members, Users};
pub use named::{Groups, Unknown, uids};
