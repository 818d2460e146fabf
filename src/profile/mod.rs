//! Knows how a node is configured from the profiles of a file.
//! Never: what a node does.

mod configure;
mod error;
#[cfg(feature = "profiles")]
mod file;
mod settings;
mod source;

pub use configure::Configure;
pub use error::Error;
#[cfg(feature = "profiles")]
pub use file::config_home;
pub use settings::{Profiles, Program, Setting, Settings};
pub use source::Source;

#[cfg(feature = "profiles")]
pub use crate::toml_file::ConfigError;
