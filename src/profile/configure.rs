//! Knows how a node is made from its settings.
//! Never: how settings are written, or which of them counts.

use std::collections::HashMap;
use std::fmt::Display;

use crate::address::Address;
use crate::client::{self, Builder, Handle, connect_default, unique};
use crate::node::{Function, Node, Port, Value, as_function};
use crate::profile::error::Error;
use crate::profile::settings::{Profiles, Program, Settings};
use crate::profile::spawn::Spawn;

/// A node that is being configured.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::client::{Handle, default_address};
/// use telex::node::Node;
/// use telex::profile::{Profiles, Source};
///
/// // Of a tool that is to run as it is, whatever the user has in a file.
/// let configure = Node::configure()
///     .profile("tool")
///     .profiles(Profiles::default())
///     .node_id("tool/%n/%u")
///     .address([default_address()?])
///     .connection(Handle::builder().connect_timeout(Duration::from_secs(2)))
///     .force();
/// assert_eq!(configure.settings()?.node_id.source, Source::Program);
/// let node = configure.start()?;
/// assert!(node.id().starts_with("tool/host/"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What the program sets here counts least, unless it is
/// [forced](Configure::force): the user who runs the program has the last word, in
/// [`profiles.toml`](crate::profile).
pub struct Configure {
    profile: Option<String>,
    /// Without any, the user's own are read.
    profiles: Option<Profiles>,
    program: Program,
    builder: Builder,
    functions: HashMap<String, Function>,
}

impl Node {
    /// Configures a node from the profile that is named as the host, if no other one is chosen.
    pub fn configure() -> Configure {
        Configure {
            profile: None,
            profiles: None,
            program: Program::default(),
            builder: Handle::builder(),
            functions: HashMap::new(),
        }
    }
}

impl Configure {
    /// Chooses a profile. There need not be one of that name: then `[global]` and the program say it all.
    pub fn profile(mut self, name: &str) -> Configure {
        self.profile = Some(name.to_owned());
        self
    }

    /// Takes these profiles, and does not read the user's file. `Profiles::default()` has none: the program says it
    /// all.
    pub fn profiles(mut self, profiles: Profiles) -> Configure {
        self.profiles = Some(profiles);
        self
    }

    /// The node ID, in which `%n` is the host's name, `%u` something unique at all switches and `%%` a percent
    /// sign.
    pub fn node_id(mut self, node_id: &str) -> Configure {
        self.program.node_id = Some(node_id.to_owned());
        self
    }

    /// The switches: the first that can be reached is taken, and when it is lost, they are tried in turn.
    pub fn address(mut self, addresses: impl IntoIterator<Item = Address>) -> Configure {
        self.program.address = Some(addresses.into_iter().collect());
        self
    }

    /// Functions, each of which a port is made by when the node is there: their names, or, with arguments, [`Spawn`]s.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::node::{Node, json};
    /// use telex::profile::Spawn;
    ///
    /// let (told, rooms) = std::sync::mpsc::channel();
    /// let node = Node::configure()
    ///     .profile("house")
    ///     .offer("heat", move |_, args| {
    ///         let room = args.first().and_then(|room| room.as_str()).ok_or("heat needs a room")?;
    ///         told.send(room.to_owned()).map_err(|_| "the house is gone")
    ///     })
    ///     .services([Spawn::new("heat", json!(["hall", 21])), Spawn::new("heat", "attic")])
    ///     .start()?;
    /// assert_eq!(rooms.iter().take(2).collect::<Vec<_>>(), ["hall", "attic"]);
    /// # Ok::<(), telex::profile::Error>(())
    /// ```
    pub fn services(mut self, services: impl IntoIterator<Item = impl Into<Spawn>>) -> Configure {
        self.program.services = Some(services.into_iter().map(Into::into).collect());
        self
    }

    /// What the program sets counts more than the file.
    pub fn force(mut self) -> Configure {
        self.program.is_forced = true;
        self
    }

    /// The connection, as in [`Node::connect_with`].
    pub fn connection(mut self, builder: Builder) -> Configure {
        self.builder = builder;
        self
    }

    /// Offers a function from the start, as [`Node::offer`] does: services are of these.
    pub fn offer<E: Display>(
        mut self,
        name: &str,
        function: impl Fn(&Port, &[Value]) -> Result<(), E> + Send + Sync + 'static,
    ) -> Configure {
        self.functions.insert(name.to_owned(), as_function(function));
        self
    }

    /// What the node will be configured by, and where each setting comes from. Reads the file, and does no more.
    /// The errors are [`Error::File`], [`Error::NoProfile`] and [`Error::NodeId`].
    pub fn settings(&self) -> Result<Settings, Error> {
        let profile = self.profile.clone().or_else(host_name).ok_or(Error::NoProfile)?;
        match &self.profiles {
            Some(profiles) => profiles.settings(&profile, &self.program),
            None => own()?.settings(&profile, &self.program),
        }
    }

    /// Connects, becomes the node, and starts its services, one after the other. If one fails, that is the error,
    /// and the node ends.
    ///
    /// It takes as long as [`Node::connect_with`] for each address at most, and for each service as long as its
    /// function takes.
    pub fn start(self) -> Result<Node, Error> {
        let settings = self.settings()?;
        let services = settings.services.value;
        if let Some(absent) = services.iter().find(|spawn| !self.functions.contains_key(&spawn.function)) {
            let why = "the program offers no function of that name".to_owned();
            return Err(Error::Service { function: absent.function.clone(), why });
        }
        let addresses = settings.address.value;
        let node_id = with_unique(&settings.node_id.value, &unique::prefix());
        let node = connect(self.functions, &self.builder, &addresses, &node_id)?;
        for Spawn { function, args } in services {
            node.start(&function, args).map_err(|why| Error::Service { function, why })?;
        }
        Ok(node)
    }
}

#[cfg(feature = "profiles")]
fn own() -> Result<Profiles, Error> {
    Profiles::load_own()
}

#[cfg(not(feature = "profiles"))]
fn own() -> Result<Profiles, Error> {
    Ok(Profiles::default())
}

/// A node ID whose `%u` are filled in. The daemon's own `%u` is unique only at that daemon, and the node may move to
/// another.
fn with_unique(node_id: &str, unique: &str) -> String {
    let parts: Vec<String> = node_id.split("%%").map(|part| part.replace("%u", unique)).collect();
    parts.join("%%")
}

/// A node at the first of these addresses that can be reached; without any, at the default.
fn connect(
    functions: HashMap<String, Function>,
    builder: &Builder,
    addresses: &[Address],
    node_id: &str,
) -> Result<Node, Error> {
    let mut tries = Vec::new();
    if addresses.is_empty() {
        let connect =
            |address: &Address| Node::connect_offering(functions.clone(), builder.clone(), address, node_id);
        return connect_default(connect).map_err(|error| match is_of_the_switch(&error) {
            true => Error::Unreachable { tries: vec![error] },
            false => Error::Client(error),
        });
    }
    for (at, address) in addresses.iter().enumerate() {
        let others = addresses[at + 1..].iter().chain(&addresses[..at]).cloned();
        let builder = builder.clone().or_at(others);
        match Node::connect_offering(functions.clone(), builder, address, node_id) {
            Ok(node) => return Ok(node),
            Err(error) if is_of_the_switch(&error) => tries.push(error),
            Err(error) => return Err(Error::Client(error)),
        }
    }
    Err(Error::Unreachable { tries })
}

/// Whether another switch may do better.
fn is_of_the_switch(error: &client::Error) -> bool {
    use client::Error as E;
    matches!(
        error,
        E::Connect { .. }
            | E::NoPermission { .. }
            | E::Io { .. }
            | E::Closed { .. }
            | E::Lost { .. }
            | E::Away
            | E::GaveUp { .. }
            | E::Fault(_)
    )
}

/// The host's name, if it can be told.
fn host_name() -> Option<String> {
    let text = |path| std::fs::read_to_string(path).ok();
    let name = text("/proc/sys/kernel/hostname").or_else(|| text("/etc/hostname"))?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::with_unique;

    #[test]
    fn what_is_unique_is_filled_in_and_no_more() {
        for (pattern, filled) in [
            ("a/%u", "a/7"),
            ("%u-%u", "7-7"),
            ("50%%u/%u", "50%%u/7"),
            ("%%%u%%", "%%7%%"),
            ("%n", "%n"),
            ("", ""),
        ] {
            assert_eq!(with_unique(pattern, "7"), filled, "{pattern}");
        }
    }
}
