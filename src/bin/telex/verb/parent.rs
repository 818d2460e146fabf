//! Knows how a user says which profile another one overlays.
//! Never: how the file is written.

use clap::Args;
use serde_json::json;

use super::profile::set;
use crate::context::{Context, Form};
use crate::exit::Failure;
use crate::output::{Results, safe};
use crate::own_file::OwnFile;
use crate::setting::Key;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex parent night worker
  telex parent night"#;

/// Tell the parents of a profile, or give it another one, in your profiles.toml
///
/// What a profile does not set its parent does, or the parent of that. A circle is refused. `telex profile NAME del
/// parent` takes the parent away.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Parent {
    /// The profile
    name: String,
    /// Its parent from now on; without one its parents are printed, the nearest first
    parent: Option<String>,
}

impl Parent {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let file = OwnFile::find()?;
        if let Some(parent) = &self.parent {
            return set(&file, &self.name, Key::Parent, parent);
        }
        let document = file.document()?;
        let parent_of = |name: &str| -> Option<String> {
            let settings = document.settings(name)?;
            let (_, parent) = settings.into_iter().find(|(key, _)| key == Key::Parent.word())?;
            parent.as_str().map(str::to_owned)
        };
        if document.settings(&self.name).is_none() {
            return Err(Failure::usage(format!("there is no profile {:?}", self.name)));
        }
        let mut results = Results::new();
        // The file is checked: they end.
        for parent in std::iter::successors(parent_of(&self.name), |name| parent_of(name)) {
            match context.form() {
                Form::Json => results.line(&json!({"name": parent}).to_string())?,
                Form::Table => results.line(&safe(&parent))?,
            }
        }
        results.flush()
    }
}
