//! Knows which manual pages there are, and what stands at the head and the end of each.
//! Never: what a page says; that comes from texts that are there anyway.

mod commands;
mod daemon;
mod markdown;
mod protocol;
mod settings;

use clap_mangen::roff::{Inline, Roff, bold, roman};

/// The day of the pages. Not that of the build: the same sources make the same pages.
const DATE: &str = "2026-11-30";
const MANUAL: &str = "telex";
const SOURCE: &str = concat!("telex ", env!("CARGO_PKG_VERSION"));

/// A manual page.
pub(crate) struct Page {
    /// As `telex-call`.
    pub(crate) name: String,
    pub(crate) section: u8,
    /// What it says, in roff.
    pub(crate) text: String,
    /// What it is made of, for terminals without man(1).
    pub(crate) plain: String,
}

/// All pages.
pub(crate) fn pages() -> Vec<Page> {
    let mut pages = commands::pages();
    pages.extend([daemon::page(), settings::page(), protocol::page()]);
    pages
}

impl Page {
    /// The page of this name that is called so, with these sections, which are made of a text.
    fn new(name: &str, section: u8, about: &str, (plain, body): (&str, Roff), see: &[(&str, u8)]) -> Page {
        let mut page = Roff::new();
        page.control("TH", [&*name.to_uppercase(), &section.to_string(), DATE, SOURCE, MANUAL]);
        page.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
        page.extend([body, see_also(see)]);
        // The first line asks for what makes tables (man(1)).
        let text = format!("'\\\" t\n{}", finished(&page.render()));
        Page { name: name.to_owned(), section, text, plain: plain.to_owned() }
    }
}

/// The last section.
fn see_also(pages: &[(&str, u8)]) -> Roff {
    let mut words: Vec<Inline> = Vec::new();
    for (at, (name, section)) in pages.iter().enumerate() {
        if at > 0 {
            words.push(roman(", "));
        }
        words.extend([bold(*name), roman(format!("({section})"))]);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text(words);
    roff
}

/// Lines that stay as they are.
fn verbatim<'l>(roff: &mut Roff, lines: impl IntoIterator<Item = &'l str>) {
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(format!("  {line}"))]);
    }
    roff.control("fi", []);
}

/// Roff without what does nothing there: a break at the start of a section, or two in a row, and the library's own head
/// before each section but the first. What the library writes for a backslash is none outside of a macro.
fn finished(roff: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in roff.lines().filter(|line| !line.is_empty()) {
        let last = lines.last().copied().unwrap_or_default();
        if [".PP", ".IP", ".br"].contains(&line) && (is_break(last) || last.starts_with(".S")) {
            continue;
        }
        if (line.starts_with(".ie ") || line.starts_with(".el ")) && lines.contains(&line) {
            continue;
        }
        if is_break(line) && [".PP", ".IP", ".br"].contains(&last) {
            lines.pop();
        }
        lines.push(line);
    }
    lines.join("\n").replace("\\\\", "\\e") + "\n"
}

/// Whether a line begins a paragraph by itself.
fn is_break(line: &str) -> bool {
    [".PP", ".IP", ".TP", ".br", ".sp", ".S"].iter().any(|begin| line.starts_with(begin))
}
