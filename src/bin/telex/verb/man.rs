//! Knows how a user gets the manual pages.
//! Never: what they say.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::context::{Context, Form};
use crate::exit::Failure;
use crate::man::{Page, pages};
use crate::output::Results;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex man call
  telex man telexd.toml
  telex man --dir ~/.local/share/man"#;

/// Show a manual page, or write all of them
///
/// There are telex and a page for each verb, telexd, telexd.toml with the error codes, and telex-protocol. No page needs
/// to be installed. On a terminal man(1) shows it, or, where there is no man, its text is printed; else it is printed in
/// roff.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Man {
    /// The page, or the verb
    #[arg(default_value = "telex")]
    page: String,
    /// Write all pages into DIR/man1, DIR/man5, DIR/man7 and DIR/man8
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let pages = pages();
        if let Some(dir) = &self.dir {
            return pages.iter().try_for_each(|page| write(dir, page));
        }
        let of_verb = format!("telex-{}", self.page);
        let page = pages.iter().find(|page| page.name == self.page || page.name == of_verb);
        let Some(page) = page else {
            let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
            return Err(Failure::usage(format!("there is no page {:?}; there are {}", self.page, names.join(", "))));
        };
        let text = match context.form() {
            Form::Table if shown(page) => return Ok(()),
            Form::Table => &page.plain,
            Form::Json => &page.text,
        };
        let mut results = Results::new();
        for line in text.lines() {
            results.painted(line)?;
        }
        results.flush()
    }
}

fn write(dir: &Path, page: &Page) -> Result<(), Failure> {
    let folder = dir.join(format!("man{}", page.section));
    let file = folder.join(format!("{}.{}", page.name, page.section));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, &page.text));
    written.map_err(|error| Failure::file(&file.display().to_string(), &error))
}

/// Whether man(1) has shown it.
fn shown(page: &Page) -> bool {
    let Ok(mut man) = Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn() else { return false };
    // Its reader may leave before the end.
    let _ = man.stdin.take().map(|mut stdin| stdin.write_all(page.text.as_bytes()));
    man.wait().is_ok_and(|status| status.success())
}
