//! Knows a file of settings in TOML: its text, its profiles, where each key stands, and how what is wrong is told.
//! Never: which settings there are.

mod fault;
mod load;
mod place;
mod profile;
mod slip;
mod value;

pub use fault::ConfigError;
pub(crate) use fault::Problem;
pub(crate) use place::{File, Place};
pub(crate) use profile::{Profile, Profiles, chains, names};
pub(crate) use slip::no_setting;
pub(crate) use value::{Value, Wrong};
