//! Knows the pages of the command and of each verb, as the table of arguments has them.
//! Never: an argument.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{DATE, MANUAL, Page, SOURCE, finished, see_also, verbatim};

pub(super) fn pages() -> Vec<Page> {
    let mut telex = crate::definition().disable_help_subcommand(true);
    telex.build();
    let verbs = telex.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut pages = vec![page(&telex, &[("telexd", 8), ("telexd.toml", 5), ("telex-protocol", 7)])];
    pages.extend(verbs.map(|verb| page(verb, &[("telex", 1), ("telexd", 8)])));
    pages
}

fn page(command: &Command, see: &[(&str, u8)]) -> Page {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(DATE).source(SOURCE).manual(MANUAL);
    let mut text = Vec::new();
    let written = (|| -> io::Result<()> {
        man.render_title(&mut text)?;
        man.render_name_section(&mut text)?;
        synopsis(command).to_writer(&mut text)?;
        man.render_description_section(&mut text)?;
        man.render_options_section(&mut text)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut text)?;
        }
        end(command, see).to_writer(&mut text)
    })();
    written.expect("memory takes it");
    let plain = command.clone().render_long_help().to_string();
    Page { name, section: 1, text: finished(&String::from_utf8_lossy(&text)), plain }
}

/// As the help has it: the library's own leaves out the values of options.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for line in usage.trim_start_matches("Usage:").lines().map(str::trim) {
        roff.control("br", []).text([roman(line)]);
    }
    roff
}

/// What stands behind the options: the examples of a verb, the exit codes of the command.
fn end(command: &Command, see: &[(&str, u8)]) -> Roff {
    let mut roff = Roff::new();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (head, lines) = help.split_once('\n').unwrap_or_default();
    let lines = lines.lines().map(str::trim);
    if head == "Examples:" {
        roff.control("SH", ["EXAMPLES"]);
        verbatim(&mut roff, lines);
        roff.control("SH", ["EXIT STATUS"]).text([roman("See "), bold("telex"), roman("(1).")]);
    } else {
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in lines.filter_map(|line| line.split_once("  ")) {
            roff.control("TP", []).text([bold(code)]).text([roman(meaning)]);
        }
    }
    roff.extend([see_also(see)]);
    roff
}
