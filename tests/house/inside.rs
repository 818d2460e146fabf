//! Knows what stands where inside a room: the floors of `core` by its calls, the other rooms by the names
//! that their files use.
//! Never: how calls and names are found.

use crate::calls::{Calls, calls};
use crate::circles::{Use, circles};
use crate::index::{Index, Item};
use crate::source::{Stands, room_of};
use crate::types::{Place, Type};
use crate::{CORE_FLOORS, CORE_IMPLS};

/// What is wrong in `core`.
pub(crate) fn core(index: &Index<'_>) -> Vec<String> {
    let Calls { uses: mut calls, mut unclear } = calls(index);
    calls.retain(|call| room_of(&call.from) == "core" && room_of(&call.to) == "core");
    unclear.retain(|call| room_of(&call.from) == "core");
    let mut faults = floors(index);
    faults.extend(unclear.iter().map(|call| format!("the value needs a type to be followed: {call}")));
    faults.extend(upward(&calls));
    faults.extend(circles(&calls).iter().map(ToString::to_string));
    faults.extend(impls(index));
    faults
}

/// Whether a file of `core` is in a list of files and folders.
fn is_listed(path: &str, list: &[&str]) -> bool {
    let inside = path.trim_start_matches("src/core/").trim_end_matches(".rs");
    list.iter().any(|&place| inside == place || place.ends_with('/') && inside.starts_with(place))
}

fn floor_of(path: &str) -> Option<usize> {
    CORE_FLOORS.iter().position(|floor| is_listed(path, floor))
}

fn floors(index: &Index<'_>) -> Vec<String> {
    let of_core = index.sources.iter().filter(|source| source.room() == "core");
    let lost = of_core.filter(|source| floor_of(&source.path).is_none());
    lost.map(|source| source.fault("stands on no floor of core")).collect()
}

fn upward(calls: &[Use]) -> Vec<String> {
    let is_upward = |call: &&Use| match (floor_of(&call.from), floor_of(&call.to)) {
        (Some(from), Some(to)) => from < to,
        _ => false,
    };
    calls.iter().filter(is_upward).map(|call| format!("calls upwards: {call}")).collect()
}

/// `impl Core` where it has no place.
fn impls(index: &Index<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, source) in index.sources.iter().enumerate().filter(|(_, source)| source.room() == "core") {
        let place = Place::new(index, file);
        let is_core = |item: &Item| item.name == "Core" && index.sources[item.file].path == "src/core/mod.rs";
        for item in &index.parsed[file].items {
            if let syn::Item::Impl(found) = item
                && matches!(place.read(&found.self_ty), Type::Item(item) if is_core(&item))
                && !is_listed(&source.path, CORE_IMPLS)
            {
                let line = found.impl_token.span.start().line;
                faults.push(source.fault_at(line, "impl Core stands only in mod.rs and acts/"));
            }
        }
    }
    faults
}

/// All uses of what another file of the same room defines, by a call or a name. A door (`pub use`) is none.
pub(crate) fn uses(index: &Index<'_>) -> Vec<Use> {
    let mut found = calls(index).uses;
    for (file, source) in index.sources.iter().enumerate() {
        for name in source.names.iter().filter(|name| name.stands != Stands::Door) {
            let Some((item, _)) = index.resolve(file, &name.segments) else { continue };
            let (from, to) = (source.path.clone(), index.sources[item.file].path.clone());
            found.push(Use { from, to, line: name.line, what: name.segments.join("::") });
        }
    }
    found.retain(|it| it.from != it.to && room_of(&it.from) == room_of(&it.to));
    found
}
