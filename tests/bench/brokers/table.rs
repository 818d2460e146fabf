//! Knows how figures are shown, and which targets they meet.
//! Never: how they were taken.

use std::collections::HashMap;

use crate::rows::{Figure, Row, Target, Work};
use crate::server::{Program, Server};

/// All figures, of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Table {
    figures: HashMap<(String, Server), Vec<Figure>>,
    /// What did not arrive as it should have.
    pub(crate) failures: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, row: &Row, server: Server, measured: Result<Figure, String>) {
        match measured {
            Ok(figure) => self.figures.entry((row.name.clone(), server)).or_default().push(figure),
            Err(why) => self.failures.push(format!("{}, {}: {why}", row.name, server.name())),
        }
    }

    /// The medians of the rounds; none where a round has failed.
    fn median(&self, row: &Row, server: Server) -> Option<Figure> {
        let figures = self.figures.get(&(row.name.clone(), server))?;
        let beside: Vec<_> = figures.iter().filter_map(|figure| figure.beside).collect();
        let value = median(figures.iter().map(|figure| figure.value).collect())?;
        Some(Figure { value, beside: median(beside) })
    }

    pub(crate) fn show(&self, rows: &[Row], servers: &[Server]) -> String {
        let columns: String = servers.iter().map(|server| format!("{:>17}", server.name())).collect();
        let mut shown = format!("{:28}{columns}   telexd, and what it is to reach\n", "");
        for row in rows {
            let cells = servers.iter().map(|&server| {
                let cell = self.median(row, server).map_or("-".to_owned(), |figure| cell(row.work, figure));
                format!("{cell:>17}")
            });
            let (cells, targets) = (cells.collect::<String>(), self.targets(row));
            shown += format!("{:28}{cells}   {targets}", row.name).trim_end();
            shown += "\n";
        }
        shown
    }

    fn targets(&self, row: &Row) -> String {
        row.targets.iter().filter_map(|target| self.target(row, target)).collect::<Vec<_>>().join("; ")
    }

    fn target(&self, row: &Row, target: &Target) -> Option<String> {
        let telexd = Server(Program::Telexd, target.transport);
        let value = self.median(row, telexd)?.value;
        let (reached, of) = match target.of {
            None => (value, telexd.name()),
            Some(server) => (value / self.median(row, server)?.value, server.name()),
        };
        let verdict = if reached <= target.most { "" } else { " MISSED" };
        Some(match target.of {
            None => format!("{of} <= {}{verdict}", target.most),
            Some(_) => format!("{reached:.2} {of} (<= {}){verdict}", target.most),
        })
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn cell(work: Work, figure: Figure) -> String {
    let Figure { value, beside } = figure;
    match (work, beside) {
        (Work::Idle, _) => format!("{value:.0} B"),
        (Work::RoundTrip { .. }, Some(slow)) => format!("{value:.1} <{slow:.0}"),
        (_, Some(rate)) if rate < 1e6 => format!("{} {:.0}k/s", digits(value), rate / 1e3),
        (_, Some(rate)) => format!("{} {:.2}M/s", digits(value), rate / 1e6),
        (_, None) => digits(value),
    }
}

/// Three that count.
fn digits(value: f64) -> String {
    match value {
        ..1.0 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}
