//! Knows how a text in Markdown becomes one in roff, with what the documentation uses of it.
//! Never: what the text is about.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Columns whose cells are all shorter are as wide as these; longer ones share the rest of a line.
const NARROW_CHARS: usize = 22;

pub(super) fn roff(text: &str) -> Roff {
    let mut page = Page::default();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        page.take(event);
    }
    page.roff
}

#[derive(Default)]
struct Page {
    roff: Roff,
    /// The words of the paragraph, heading or cell that is being read.
    words: Vec<Inline>,
    /// The rows of the table that is being read.
    rows: Vec<Vec<Vec<Inline>>>,
    /// The number of the next item of each list around, none where they have none.
    lists: Vec<Option<u64>>,
    /// Whether an item has begun, and its first paragraph has not.
    is_item: bool,
    is_code: bool,
    is_emphasis: bool,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(end) => self.end(end),
            Event::Text(text) if self.is_code => {
                super::verbatim(&mut self.roff, text.lines());
            }
            Event::Text(text) if self.is_emphasis => self.words.push(italic(&*text)),
            Event::Text(text) => self.words.push(roman(&*text)),
            Event::Code(code) => self.words.push(bold(&*code)),
            Event::SoftBreak | Event::HardBreak => self.words.push(roman(" ")),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Paragraph => self.paragraph(),
            Tag::CodeBlock(_) => {
                self.flush();
                self.is_code = true;
            }
            Tag::List(first) => {
                self.flush();
                if !self.lists.is_empty() {
                    self.roff.control("RS", []);
                }
                self.lists.push(*first);
            }
            Tag::Item => {
                self.flush();
                let number = self.lists.last_mut().and_then(Option::as_mut).map(|number| {
                    *number += 1;
                    format!("{}.", *number - 1)
                });
                self.roff.control("IP", [number.as_deref().unwrap_or("\\(bu"), "3"]);
                self.is_item = true;
            }
            Tag::Emphasis | Tag::Strong => self.is_emphasis = true,
            Tag::TableHead | Tag::TableRow => self.rows.push(Vec::new()),
            _ => {}
        }
    }

    fn end(&mut self, end: TagEnd) {
        match end {
            TagEnd::Heading(level) => {
                let heading: String = std::mem::take(&mut self.words).iter().map(plain).collect();
                let section = if level <= HeadingLevel::H2 { "SH" } else { "SS" };
                self.roff.control(section, [&*heading]);
            }
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::CodeBlock => self.is_code = false,
            TagEnd::List(_) => {
                self.lists.pop();
                let after = if self.lists.is_empty() { "PP" } else { "RE" };
                self.roff.control(after, []);
            }
            TagEnd::Emphasis | TagEnd::Strong => self.is_emphasis = false,
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.words);
                self.rows.last_mut().map(|row| row.push(cell)).unwrap_or_default();
            }
            TagEnd::TableHead => {
                let names = self.rows.last_mut().into_iter().flatten().flatten();
                names.for_each(|part| *part = bold(plain(part)));
            }
            TagEnd::Table => self.table(),
            _ => {}
        }
    }

    fn paragraph(&mut self) {
        match (std::mem::take(&mut self.is_item), self.lists.is_empty()) {
            (true, _) => {}
            (false, true) => drop(self.roff.control("PP", [])),
            (false, false) => drop(self.roff.control("IP", ["", "3"])),
        }
    }

    fn flush(&mut self) {
        self.is_item = false;
        if !self.words.is_empty() {
            self.roff.text(std::mem::take(&mut self.words));
        }
    }

    fn table(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let width = |row: &Vec<Vec<Inline>>, column: usize| -> usize {
            row.get(column).map_or(0, |cell| cell.iter().map(|part| plain(part).chars().count()).sum())
        };
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        let is_narrow: Vec<bool> =
            (0..columns).map(|column| rows.iter().all(|row| width(row, column) <= NARROW_CHARS)).collect();
        let format: Vec<&str> = is_narrow.iter().map(|narrow| if *narrow { "l" } else { "lx" }).collect();
        self.roff.control("TS", []);
        self.roff.text([roman(format!("{}.", format.join(" ")))]);
        for row in rows {
            // A cell of several words is a text of its own, which ends with the mark that begins the next one.
            let mut line = Vec::new();
            for (column, cell) in row.into_iter().enumerate() {
                if column > 0 {
                    line.push(roman("\t"));
                }
                if is_narrow[column] {
                    line.extend(cell);
                    continue;
                }
                line.push(roman("T{"));
                self.roff.text(std::mem::take(&mut line));
                self.roff.text(cell);
                line.push(roman("T}"));
            }
            self.roff.text(line);
        }
        self.roff.control("TE", []);
    }
}

fn plain(part: &Inline) -> String {
    match part {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.clone(),
        Inline::LineBreak => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::roff;

    #[test]
    fn what_the_documentation_uses_becomes_roff() {
        for (text, page) in [
            ("## A *b*\n\nc `d-e`\nf\n", ".SH \"A b\"\n.PP\nc \\fBd\\-e\\fR f\n"),
            ("- a\n- b\n\nc", ".IP \\(bu 3\na\n.IP \\(bu 3\nb\n.PP\n.PP\nc\n"),
            ("1. a\n2. b\n", ".IP 1. 3\na\n.IP 2. 3\nb\n.PP\n"),
            ("```json\n{}\n\n.x\n```\n", ".nf\n  {}\n  \n  .x\n.fi\n"),
            ("[a](b) .c\n", ".PP\na .c\n"),
            ("| a |\n| --- |\n| .b |\n", ".TS\nl.\n\\fBa\\fR\n\\&.b\n.TE\n"),
            (
                "| a | b |\n| --- | --- |\n| c | a text of more than a few words |\n",
                ".TS\nl lx.\n\\fBa\\fR\tT{\n\\fBb\\fR\nT}\nc\tT{\na text of more than a few words\nT}\n.TE\n",
            ),
        ] {
            assert_eq!(roff(text).to_roff(), page, "{text}");
        }
    }
}
