//! Knows how rows of cells become a table that fits a terminal.
//! Never: what is in a cell.

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthStr;

use crate::colour::{Colours, Hue};
use crate::exit::Failure;
use crate::output::{Results, safe};

/// The narrowest that a column of text is made so that a table fits: first this, and if that is not enough, that.
const COLUMN_MIN: [usize; 2] = [8, 3];

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    /// Its cells stand at the right.
    is_right: bool,
    /// Its cells may be cut.
    is_elastic: bool,
    /// It may be left out.
    is_optional: bool,
}

impl Column {
    /// A column and its name, as [`Table::new`] takes them.
    fn of(told: &str) -> (Column, String) {
        let name = told.trim_start_matches(['>', '=', '?']);
        let marks = &told[..told.len() - name.len()];
        let is_right = marks.contains('>');
        let is_elastic = !is_right && !marks.contains('=');
        (Column { is_right, is_elastic, is_optional: marks.contains('?') }, name.to_owned())
    }
}

/// A table in the making.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// The column that has names of nodes.
    names: Option<(usize, Colours)>,
}

impl Table {
    /// A table with these columns, by their names and what stands before these. `>`: the cells stand at the right, and are
    /// never cut. `=`: they are never cut, either. `?`: the column is left out if there is no room for it, the last one
    /// first.
    pub(crate) fn new(columns: &[&str]) -> Table {
        let (columns, names) = columns.iter().map(|told| Column::of(told)).unzip();
        Table { columns, rows: vec![names], names: None }
    }

    /// Paints the names of nodes, which stand in this column.
    pub(crate) fn with_names(mut self, column: usize, colours: Colours) -> Table {
        self.names = Some((column, colours));
        self
    }

    /// Adds a row; what is no text for a terminal is escaped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().map(|cell| safe(&cell)).collect();
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// Writes it, cut to the width of the terminal if stdout is one.
    pub(crate) fn write(&self, results: &mut Results) -> Result<(), Failure> {
        let most =
            terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(Width(width), _)| usize::from(width));
        for line in self.lines(most) {
            results.painted(&line)?;
        }
        Ok(())
    }

    /// Its lines, the names of the columns first, of at most so many columns of a terminal if that is possible.
    pub(crate) fn lines(&self, most: usize) -> Vec<String> {
        let mut widths = vec![0; self.columns.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let (shown, between) = self.fit(&widths, most);
        let mut names = None;
        let mut lines = Vec::new();
        for row in &self.rows {
            lines.push(self.line(row, &shown, between, names));
            // They begin below the head.
            names = self.names;
        }
        lines
    }

    /// The columns that are shown, each by its place and with its width, and the space between them.
    fn fit(&self, widths: &[usize], most: usize) -> (Vec<(usize, usize)>, usize) {
        let mut places: Vec<usize> = (0..widths.len()).collect();
        loop {
            let mut shown: Vec<_> = places.iter().map(|place| (*place, widths[*place])).collect();
            if self.shrink(&mut shown, COLUMN_MIN[0], 2, most) {
                return (shown, 2);
            }
            match places.iter().rposition(|place| self.columns[*place].is_optional) {
                Some(last) => drop(places.remove(last)),
                None => {
                    let _ = COLUMN_MIN.iter().any(|least| self.shrink(&mut shown, *least, 1, most));
                    return (shown, 1);
                }
            }
        }
    }

    /// Makes the widest columns of text narrower, but not below `least`; whether all fit then.
    fn shrink(&self, shown: &mut [(usize, usize)], least: usize, between: usize, most: usize) -> bool {
        let spaces = between * shown.len().saturating_sub(1);
        while shown.iter().map(|(_, width)| width).sum::<usize>() + spaces > most {
            let elastic = shown.iter_mut().filter(|(place, _)| self.columns[*place].is_elastic);
            match elastic.map(|(_, width)| width).max() {
                Some(widest) if *widest > least => *widest -= 1,
                _ => return false,
            }
        }
        true
    }

    fn line(
        &self,
        row: &[String],
        shown: &[(usize, usize)],
        between: usize,
        names: Option<(usize, Colours)>,
    ) -> String {
        let mut line = String::new();
        for (nth, &(place, width)) in shown.iter().enumerate() {
            if nth > 0 {
                line.push_str(&" ".repeat(between));
            }
            let cell = cut(&row[place], width);
            let space = " ".repeat(width - cell.width());
            let cell = match names {
                Some((at, colours)) if at == place => colours.paint(Hue::Name, &cell),
                _ => cell,
            };
            match self.columns[place].is_right {
                false => line.extend([&*cell, &*space]),
                true => line.extend([&*space, &*cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
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
    fn without_room_some_columns_go_and_numbers_stay_whole() {
        let mut table = Table::new(&["=ID", "NODE", ">?PID", ">QUEUE"]);
        table.row([":12345678".into(), "a-long-name-of-a-node".into(), "4711".into(), "8388608".into()]);
        assert_eq!(table.lines(50)[1], ":12345678  a-long-name-of-a-node  4711  8388608");
        assert_eq!(table.lines(40)[1], ":12345678  a-long-name-o…  4711  8388608");
        assert_eq!(table.lines(30)[1], ":12345678  a-long-na…  8388608");
        assert_eq!(table.lines(23)[1], ":12345678 a-lo… 8388608");
    }

    #[test]
    fn what_is_cut_keeps_within_its_columns() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("ああ", 3), "あ…");
        assert_eq!(cut("ああ", 2), "…");
    }
}
