//! Knows what a node would be configured by.
//! Never: which source counts more; that is the library's.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};
use telex::profile::{Error, Profiles, Program, Source, Spawn};

use super::profile::plain;
use crate::caret;
use crate::context::{Context, Form};
use crate::exit::Failure;
use crate::output::Results;
use crate::own_file::OwnFile;
use crate::setting::Key;
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex showconfig night
  telex showconfig night address tcp:127.0.0.1:4040 --json"#;

/// Tell what a node of a profile is configured by, and where each setting comes from
///
/// In this order the first counts that sets something: the pairs that stand here, the profile, its parents, global, the
/// defaults. A profile that is not there sets nothing. For the settings of the daemon see config.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Showconfig {
    /// The profile
    name: String,
    /// A setting (node_id, address, services) and its value, as if the program insisted on it; any number of pairs
    #[arg(value_names = ["KEY", "VALUE"], num_args = 0..)]
    pairs: Vec<String>,
}

impl Showconfig {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let program = program(&self.pairs)?;
        let profiles = OwnFile::find()?.profiles()?;
        let settings =
            profiles.settings(&self.name, &program).map_err(|error| Failure::usage(error.to_string()))?;
        let (mut addresses, mut from) = (settings.address.value, source(settings.address.source));
        if addresses.is_empty() {
            addresses.push(context.address()?);
            from = of_address(context).to_owned();
        }
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let services: Value = settings.services.value.iter().map(Spawn::to_value).collect();
        let rows = [
            (Key::NodeId, json!(settings.node_id.value), source(settings.node_id.source)),
            (Key::Address, json!(addresses), from),
            (Key::Services, services, source(settings.services.source)),
        ];
        let mut results = Results::new();
        let mut table = Table::new(&["SETTING", "VALUE", "SOURCE"]);
        for (key, value, source) in rows {
            match context.form() {
                Form::Json => {
                    let row = json!({"name": key.word(), "value": value, "source": source});
                    results.line(&row.to_string())?;
                }
                Form::Table => table.row([key.word().to_owned(), plain(&value), source]),
            }
        }
        if context.form() == Form::Table {
            table.write(&mut results)?;
        }
        results.flush()
    }
}

fn source(source: Source) -> String {
    match source {
        Source::Program => "the command line".to_owned(),
        source => source.to_string(),
    }
}

/// Where the address comes from that is taken if no profile has one.
fn of_address(context: &Context) -> &'static str {
    let is_set = std::env::var_os("TELEX_ADDRESS").is_some_and(|address| !address.is_empty());
    match &context.address {
        Some(_) => "--address",
        None if is_set => "$TELEX_ADDRESS",
        None => "the default",
    }
}

/// What the pairs set.
fn program(pairs: &[String]) -> Result<Program, Failure> {
    let mut program = Program { is_forced: true, ..Program::default() };
    for pair in pairs.chunks(2) {
        let [word, given] = pair else {
            return Err(Failure::usage(format!("{} has no VALUE", pair.concat())));
        };
        let key = Key::of(word).filter(|key| *key != Key::Parent).ok_or_else(|| {
            Failure::usage(format!("{word:?} is no setting of a node; there are node_id, address, services"))
        })?;
        // As the library reads it in a file.
        let text = format!("[global]\n{word} = {}\n", key.read(given)?);
        let fault = |error: Error| caret::fault(given, 0..given.len(), &error.to_string());
        let read = Profiles::read(Path::new("the command line"), &text)
            .and_then(|profiles| profiles.settings("x", &Program::default()));
        let settings = read.map_err(fault)?;
        match key {
            Key::NodeId => program.node_id = Some(settings.node_id.value),
            Key::Address => program.address = Some(settings.address.value),
            Key::Services => program.services = Some(settings.services.value),
            Key::Parent => {}
        }
    }
    Ok(program)
}
