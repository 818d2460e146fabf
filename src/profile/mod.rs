//! Knows how a node is configured from the profiles of a file.
//! Never: what a node does.

mod configure;
mod error;
mod file;
mod settings;
mod source;

pub use configure::Configure;
pub use error::Error;
pub use file::{Profiles, config_home};
pub use settings::{Program, Setting, Settings};
pub use source::Source;

pub use crate::toml_file::ConfigError;
