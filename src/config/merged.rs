//! Knows a configuration in the making, and where each of its settings got its value.
//! Never: which layer counts more.

use std::collections::BTreeMap;

use super::model::Config;
use super::sections::Entry;
use crate::toml_file::{Place, Problem};

/// A configuration in the making.
#[derive(Clone, Default)]
pub(super) struct Merged<'e> {
    pub config: Config,
    /// By the name of a setting that has been given a value: where.
    pub set_by: BTreeMap<&'static str, &'e Place<'e>>,
}

impl<'e> Merged<'e> {
    /// Lays settings over those that are there; what is wrong with a value is added to `problems`.
    pub(super) fn lay(&mut self, layer: &'e [Entry<'_>], problems: &mut Vec<Problem>) {
        for Entry { setting, value, place } in layer {
            match (setting.set)(&mut self.config, value) {
                Ok(()) => {
                    self.set_by.insert(setting.name, place);
                }
                Err(wrong) => problems.push(place.problem(wrong)),
            }
        }
    }
}
