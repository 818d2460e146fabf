//! Knows the page of the daemon's file: the file that has every setting at its default, and the error codes.
//! Never: a setting.

use clap_mangen::roff::{Roff, bold, roman};

use super::{Page, protocol, verbatim};

const FILE: &str = include_str!("../../../../etc/telexd.toml");

pub(super) fn page() -> Page {
    let (head, rest) = FILE.split_once("\n#\n").unwrap_or((FILE, ""));
    let about = head.trim_start_matches("# ").trim_end_matches('.');
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    for block in rest.split("\n\n") {
        let lines = block.lines().filter(|line| !line.is_empty());
        let (comments, settings): (Vec<&str>, Vec<&str>) =
            lines.partition(|line| *line == "#" || line.starts_with("# "));
        match settings[..] {
            [] => text(&mut roff, "PP", &comments),
            [setting] => {
                roff.control("TP", []).text([bold(setting)]);
                text(&mut roff, "IP", &comments);
            }
            _ => {
                text(&mut roff, "PP", &comments);
                roff.control("PP", []);
                verbatim(&mut roff, settings.iter().map(|line| line.trim_start_matches('#')));
            }
        }
    }
    roff.control("SH", ["ERROR CODES"])
        .text([roman("What the daemon answers if it cannot do what a line asks for.")]);
    roff.extend([protocol::codes()]);
    Page::new(
        "telexd.toml",
        5,
        &lower_first(about),
        (FILE, roff),
        &[("telexd", 8), ("telex", 1), ("telex-protocol", 7)],
    )
}

/// The lines of comments, in paragraphs that begin so: what is aligned stays so, the rest flows.
fn text(roff: &mut Roff, begin: &str, comments: &[&str]) {
    let lines: Vec<&str> = comments.iter().map(|line| line.trim_start_matches('#')).collect();
    if begin == "PP" && !lines.is_empty() {
        roff.control(begin, []);
    }
    for run in lines.chunk_by(|one, other| is_aligned(one) == is_aligned(other)) {
        if run.first().is_some_and(|line| is_aligned(line)) {
            verbatim(roff, run.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)));
            continue;
        }
        for line in run {
            match line.trim_start() {
                "" => drop(roff.control(begin, [])),
                line => drop(roff.text([roman(line)])),
            }
        }
    }
}

fn is_aligned(line: &str) -> bool {
    line.trim_end().strip_prefix(' ').is_some_and(|words| words.contains("  "))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
