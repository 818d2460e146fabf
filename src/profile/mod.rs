//! Knows how a node is configured, from the profiles of a file and by its program.
//! Never: what a node does.
//!
//! A program says what its node needs; the user who runs it says the rest in `telex/profiles.toml`, in the folder
//! `$XDG_CONFIG_HOME`, or in `~/.config` if that is unset, empty or no absolute path:
//!
//! ```toml
//! [global]
//! # One of these is always kept; the first that can be reached is taken.
//! address = ["unix:/run/telexd/telex.sock", "tcp:127.0.0.1:4040"]
//!
//! [profile.worker]
//! # Functions that the program offers, each of which makes a port when the node is there.
//! services = ["images"]
//!
//! [profile.night]
//! parent = "worker"
//! node_id = "night/%n"
//! # With arguments: what is no text, too.
//! services = ["images", ["backup", "/srv", { keep = 7 }]]
//! ```
//!
//! | key | value | by default |
//! | --- | --- | --- |
//! | `node_id` | in which `%n` is the host's name, `%u` something unique at all switches, and `%%` a percent sign | the profile's name, `/`, and `%u` |
//! | `address` | addresses of switches: the node is at one of them, and when the connection is lost, all are tried in turn | [`default_address`](crate::client::default_address) |
//! | `services` | functions, started in their order: each a name, or a list of the name and the arguments | none |
//! | `parent` | another profile; in a profile alone | none |
//!
//! No profile is called `global`. The command edits the file, too: `telex profile night set node_id night/%n`.
//!
//! In this order the first counts that sets something: the profile, its parents, `[global]`, the program. So the
//! program sets defaults, unless it [insists](Configure::force). A profile that is not in the file sets nothing.
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! use telex::node::Node;
//!
//! let node = Node::configure()
//!     .profile("worker")
//!     .offer("images", |port, _| {
//!         port.rcv("scale", |_, message| println!("{message:?}"));
//!         port.node().grp_reg("images", port);
//!         Ok::<_, String>(())
//!     })
//!     .services(["images"])
//!     .start()?;
//! assert!(node.id().starts_with("worker/"));
//! # Ok::<(), telex::profile::Error>(())
//! ```
//!
//! The feature `profiles`, which is on by default, reads the file. Without it the program says it all.

mod configure;
mod error;
#[cfg(feature = "profiles")]
mod file;
#[cfg(feature = "profiles")]
mod json;
mod settings;
mod source;
mod spawn;

pub use configure::Configure;
pub use error::Error;
#[cfg(feature = "profiles")]
pub use file::{config_home, fault};
pub use settings::{Profiles, Program, Setting, Settings};
pub use source::Source;
pub use spawn::Spawn;

#[cfg(feature = "profiles")]
pub use crate::toml_file::ConfigError;
