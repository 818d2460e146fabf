//! Knows what a profile can set, and which of several layers counts.
//! Never: how a file is written, or where it is.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::client::unique;
use crate::name::{BadName, check_node_id, expand};
use crate::profile::error::Error;
use crate::profile::source::Source;
use crate::profile::spawn::Spawn;

/// A value, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

/// What a program sets by itself: defaults, or, if they are forced, more than that.
///
/// ```
/// use telex::profile::{Profiles, Program, Source};
///
/// let program = Program { node_id: Some("chat/%n".into()), ..Program::default() };
/// let settings = Profiles::default().settings("chat", &program)?;
/// assert_eq!((settings.node_id.value.as_str(), settings.node_id.source), ("chat/%n", Source::Program));
/// # Ok::<(), telex::profile::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The node ID, in which `%n` is the host's name, `%u` something unique and `%%` a percent sign.
    pub node_id: Option<String>,
    /// The addresses of switches.
    pub address: Option<Vec<Address>>,
    /// The functions that ports are made by.
    pub services: Option<Vec<Spawn>>,
    /// Whether these count more than the file.
    pub is_forced: bool,
}

/// Profiles, as a file has them; by default there are none.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    /// Each with what its parents set, too.
    pub(super) profiles: BTreeMap<String, Layer>,
    pub(super) global: Layer,
}

/// What a node is configured by.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The name of the profile.
    pub profile: String,
    /// The node ID, in which `%n` is the host's name, `%u` something unique and `%%` a percent sign: by default
    /// the profile's name, a `/`, and `%u`.
    pub node_id: Setting<String>,
    /// Addresses of switches: the node is at one of them. By default none, which means
    /// [`default_address`](crate::client::default_address).
    pub address: Setting<Vec<Address>>,
    /// The functions that ports are made by when the node is there; by default none.
    pub services: Setting<Vec<Spawn>>,
}

/// What one place sets.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) node_id: Option<Setting<String>>,
    pub(super) address: Option<Setting<Vec<Address>>>,
    pub(super) services: Option<Setting<Vec<Spawn>>>,
}

impl Layer {
    /// This layer over another one.
    pub(super) fn over(self, below: &Layer) -> Layer {
        Layer {
            node_id: self.node_id.or_else(|| below.node_id.clone()),
            address: self.address.or_else(|| below.address.clone()),
            services: self.services.or_else(|| below.services.clone()),
        }
    }
}

impl From<&Program> for Layer {
    fn from(program: &Program) -> Layer {
        fn setting<T: Clone>(value: &Option<T>) -> Option<Setting<T>> {
            value.clone().map(|value| Setting { value, source: Source::Program })
        }
        Layer {
            node_id: setting(&program.node_id),
            address: setting(&program.address),
            services: setting(&program.services),
        }
    }
}

impl Profiles {
    /// The names of the profiles, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// What a node of a profile is configured by. In this order the first counts that sets something: the profile,
    /// its parents, `[global]`, the program; or the program first, if that is forced. A profile that is
    /// not there sets nothing. [`Error::NodeId`] if what comes out cannot be a node ID.
    pub fn settings(&self, profile: &str, program: &Program) -> Result<Settings, Error> {
        let program_layer = Layer::from(program);
        let file = self.profiles.get(profile).cloned().unwrap_or_default().over(&self.global);
        Settings::of(
            profile,
            if program.is_forced { program_layer.over(&file) } else { file.over(&program_layer) },
        )
    }
}

impl Settings {
    /// What comes of a layer if nothing is below it.
    pub(super) fn of(profile: &str, layer: Layer) -> Result<Settings, Error> {
        let by_default =
            || Setting { value: format!("{}/%u", profile.replace('%', "%%")), source: Source::Default };
        let node_id = layer.node_id.unwrap_or_else(by_default);
        check_pattern(&node_id.value).map_err(|why| Error::NodeId {
            node_id: node_id.value.clone(),
            source: node_id.source.clone(),
            why,
        })?;
        Ok(Settings {
            profile: profile.to_owned(),
            node_id,
            address: layer.address.unwrap_or(Setting { value: Vec::new(), source: Source::Default }),
            services: layer.services.unwrap_or(Setting { value: Vec::new(), source: Source::Default }),
        })
    }
}

/// Checks that a node ID can come of a pattern.
pub(super) fn check_pattern(node_id: &str) -> Result<(), BadName> {
    check_node_id(&expand(node_id, "n", &unique::prefix())?)
}
