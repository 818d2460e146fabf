//! Knows the page of the daemon: its help, as sections and lists.
//! Never: an option.

use clap_mangen::roff::{Roff, bold, roman};

use super::Page;

/// What `telexd --help` prints.
const HELP: &str = include_str!("../../../config/help.txt");

pub(super) fn page() -> Page {
    let (head, help) = HELP.split_once("\n\n").unwrap_or((HELP, ""));
    let about = head.trim_start_matches("telexd: ").trim_end_matches('.');
    let mut roff = Roff::new();
    // What a line that is not indented goes on with.
    let mut is_paragraph = false;
    for line in help.lines() {
        let words = line.trim_start();
        let is_term = line.starts_with("  ") && !line.starts_with("   ");
        let heading = line.strip_suffix(':').filter(|heading| !heading.contains(' '));
        if let Some(usage) = line.strip_prefix("Usage: ") {
            roff.control("SH", ["SYNOPSIS"]).text([roman(usage)]);
        } else if let Some(heading) = heading {
            roff.control("SH", [&*heading.to_uppercase()]);
        } else if is_term {
            let (term, text) = words.split_once("  ").unwrap_or((words, ""));
            roff.control("TP", []).text([bold(term)]).text([roman(text.trim_start())]);
        } else if !words.is_empty() {
            if !is_paragraph && !line.starts_with(' ') {
                roff.control("PP", []);
            }
            roff.text([roman(words)]);
        }
        is_paragraph = !words.is_empty() && !line.starts_with(' ');
    }
    Page::new("telexd", 8, about, (HELP, roff), &[("telex", 1), ("telexd.toml", 5), ("telex-protocol", 7)])
}
