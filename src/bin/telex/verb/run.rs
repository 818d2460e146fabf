//! Knows how the daemon is started with a profile.
//! Never: waits for it; this process becomes the daemon.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::context::Context;
use crate::exit::{Exit, Failure};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex run bench --config my.toml
  telex run small max_names 8 log_level debug --config /etc/telexd.toml"#;

/// Become the daemon telexd, with a profile of its configuration
///
/// Executes telexd --profile PROFILE --set KEY=VALUE..., the telexd beside this command or else the one in $PATH. An
/// --address is where it listens.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// The profile, [profile.PROFILE] of the daemon's file
    profile: String,
    /// A setting of the daemon and its value, as in its file; any number of pairs
    #[arg(value_names = ["KEY", "VALUE"], num_args = 0.., allow_negative_numbers = true)]
    pairs: Vec<String>,
    /// The daemon's file; without one no file is read
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Run {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut telexd = Command::new(program());
        if let Some(config) = &self.config {
            telexd.arg("--config").arg(config);
        }
        telexd.args(["--profile", &self.profile]);
        for pair in self.pairs.chunks(2) {
            match pair {
                [key, value] => telexd.args(["--set", &format!("{key}={value}")]),
                _ => return Err(Failure::usage(format!("{} has no VALUE", pair.concat()))),
            };
        }
        if let Some(address) = &context.address {
            telexd.args(["--listen", address]);
        }
        let error = telexd.exec();
        let name = telexd.get_program().display();
        Err(match error.kind() {
            ErrorKind::NotFound => {
                Failure::new(Exit::Unreachable, "there is no telexd beside this command, and none in $PATH")
            }
            ErrorKind::PermissionDenied => Failure::new(Exit::Denied, format!("{name}: {error}")),
            _ => Failure::new(Exit::Unreachable, format!("{name}: {error}")),
        })
    }
}

/// The daemon beside this command, else its name.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("telexd")));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new("telexd").to_owned())
}
