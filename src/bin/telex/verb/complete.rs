//! Knows how a shell is told which nodes a word that is being typed can become.
//! Never: whether it is the name of one.

use clap::Args;

use crate::complete::{is_node, nodes};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Results;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex complete -- send ''
  telex complete -- call --timeout 2s ''"#;

/// Print the names of the nodes, if the last word is to be one
///
/// The scripts of `telex completions` ask this. It says nothing on stderr, and always ends with 0.
#[derive(Args)]
#[command(after_help = EXAMPLES, hide = true)]
pub(crate) struct Complete {
    /// The words behind telex, as far as they are typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Complete {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut command = crate::definition();
        command.build();
        if !is_node(&command, &self.words) {
            return Ok(());
        }
        let address = context.address.clone().or_else(|| value_of(&self.words, "--address"));
        let mut results = Results::new();
        for name in nodes(&Context { address, ..*context }) {
            results.line(&name)?;
        }
        results.flush()
    }
}

/// The value of an option that has been typed in full.
fn value_of(words: &[String], option: &str) -> Option<String> {
    let (_, typed) = words.split_last()?;
    typed.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(option)? {
        "" => typed.get(at + 1).cloned(),
        behind => behind.strip_prefix('=').map(str::to_owned),
    })
}
