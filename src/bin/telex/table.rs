//! Knows how rows of cells become a table that fits a terminal.
//! Never: what is in a cell.

use terminal_size::{Width, terminal_size};
use unicode_width::UnicodeWidthStr;

use crate::exit::Failure;
use crate::output::{Results, safe};

/// The narrowest that a column is made so that a table fits.
const COLUMN_MIN: usize = 8;

/// On which side the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// A table in the making.
pub(crate) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. One whose name begins with `>` has its cells at the right.
    pub(crate) fn new(columns: &[&str]) -> Table {
        let side = |name: &&str| if name.starts_with('>') { Side::Right } else { Side::Left };
        let names = columns.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        Table { sides: columns.iter().map(side).collect(), rows: vec![names] }
    }

    /// Adds a row; what is no text for a terminal is escaped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().map(|cell| safe(&cell)).collect();
        debug_assert_eq!(row.len(), self.sides.len());
        self.rows.push(row);
    }

    /// Writes it, cut to the width of the terminal if stdout is one.
    pub(crate) fn write(&self, results: &mut Results) -> Result<(), Failure> {
        let most = terminal_size().map_or(usize::MAX, |(Width(width), _)| usize::from(width));
        for line in self.lines(most) {
            results.line(&line)?;
        }
        Ok(())
    }

    /// Its lines, the names of the columns first, of at most so many columns of a terminal if that is possible.
    pub(crate) fn lines(&self, most: usize) -> Vec<String> {
        let mut widths = vec![0; self.sides.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        shrink(&mut widths, most);
        self.rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, &width), side) in row.iter().zip(widths).zip(&self.sides) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let cell = cut(cell, width);
            let space = " ".repeat(width - cell.width());
            match side {
                Side::Left => line.extend([&*cell, &*space]),
                Side::Right => line.extend([&*space, &*cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Makes the widest columns narrower until all fit.
fn shrink(widths: &mut [usize], most: usize) {
    let between = 2 * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + between > most {
        match widths.iter_mut().max() {
            Some(widest) if *widest > COLUMN_MIN => *widest -= 1,
            _ => return,
        }
    }
}

/// A text of at most `width` columns, with an ellipsis for what is left out.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        if short.width() + 1 > width {
            short.pop();
            break;
        }
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_they_show_and_fit() {
        let mut table = Table::new(&["NODE", ">N", "PROCESS"]);
        table.row(["alice".into(), "7".into(), "a".into()]);
        table.row(["名前が長い".into(), "12".into(), "\u{1b}[2J".into()]);
        assert_eq!(
            table.lines(80),
            ["NODE         N  PROCESS", "alice        7  a", "名前が長い  12  \\u{1b}[2J"]
        );
        let narrow = table.lines(24);
        assert!(narrow.iter().all(|line| line.width() <= 24), "{narrow:?}");
        assert_eq!(narrow[2], "名前が長…  12  \\u{1b}[2J");
    }

    #[test]
    fn what_is_cut_keeps_within_its_columns() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("ああ", 3), "あ…");
        assert_eq!(cut("ああ", 2), "…");
    }
}
