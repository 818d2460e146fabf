//! Knows how a shell completes the command: a script for each, made from the table of arguments.
//! Never: which nodes there are; the scripts ask `telex complete`.

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Results;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex completions bash > ~/.local/share/bash-completion/completions/telex
  telex completions fish > ~/.config/fish/completions/telex.fish
  telex completions zsh > ~/.zfunc/_telex"#;

/// Print the script by which a shell completes the verbs, their options, and the names of nodes
///
/// Nodes are those of the running daemon. One that does not answer at once has none.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self, _context: &Context) -> Result<(), Failure> {
        let mut results = Results::new();
        for line in self.shell.script().lines() {
            results.painted(line)?;
        }
        results.flush()
    }
}

impl Kind {
    fn script(self) -> String {
        let (shell, nodes) = match self {
            Kind::Bash => (Shell::Bash, BASH),
            Kind::Zsh => (Shell::Zsh, ZSH),
            Kind::Fish => (Shell::Fish, FISH),
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut shown(), "telex", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        match self {
            Kind::Fish => script + nodes,
            // Their function becomes a part of the one that knows the nodes, too.
            Kind::Bash | Kind::Zsh => {
                script.replacen("_telex() {", &format!("{nodes}\n_telex_words() {{"), 1)
            }
        }
    }
}

/// The table of arguments without the verbs that are hidden, which the library would offer.
fn shown() -> Command {
    let all = crate::definition();
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    Command::new("telex").version("").args(all.get_arguments().cloned()).subcommands(verbs)
}

/// A name is never split, expanded or run: it is read as a line and quoted. What stands in front of a colon bash takes
/// for a word of its own.
const BASH: &str = r#"_telex() {
    _telex_words "$@"
    local line=${COMP_LINE:0:COMP_POINT} word name
    local -a words nodes=()
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    while IFS= read -r name; do
        [[ $name == "$word"* ]] && nodes+=("$(printf %q "${name#"${word%"$2"}"}")")
    done < <(telex complete -- "${words[@]:1}" 2>/dev/null)
    ((${#nodes[@]} == 0)) || COMPREPLY=("${nodes[@]}")
}
"#;

const ZSH: &str = r#"_telex() {
    local -a nodes
    nodes=(${(f)"$(telex complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    (($#nodes)) && compadd -a nodes
    _telex_words "$@"
}
"#;

/// Where a node belongs there is no file.
const FISH: &str = r#"
function __telex_nodes
    set -g __telex_names (telex complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    set -q __telex_names[1]
end
complete -c telex -n __telex_nodes -f -a '$__telex_names'
"#;
