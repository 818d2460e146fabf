//! Knows the page of the protocol.
//! Never: how Markdown is written.

use clap_mangen::roff::Roff;

use super::{Page, markdown};

const PAGE: &str = include_str!("../../../PROTOCOL.md");

pub(super) fn page() -> Page {
    let (_title, text) = PAGE.split_once('\n').unwrap_or((PAGE, ""));
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    roff.extend([markdown::roff(text)]);
    let about = "the line protocol of telexd, version 1";
    Page::new("telex-protocol", 7, about, (PAGE, roff), &[("telex", 1), ("telexd", 8), ("telexd.toml", 5)])
}

/// The table of the error codes.
pub(super) fn codes() -> Roff {
    let table = PAGE.lines().skip_while(|line| !line.starts_with("| code |"));
    let table: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
    markdown::roff(&table.join("\n"))
}

#[cfg(test)]
mod tests {
    use telex::wire::code::Code;

    use super::*;

    #[test]
    fn every_code_is_in_the_table() {
        let table = codes().render();
        for code in Code::ALL {
            assert!(table.contains(&format!("\\fB{}\\fR", code.word())), "{}", code.word());
        }
    }
}
