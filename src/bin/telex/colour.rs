//! Knows when colours are used, and which.
//! Never: more than a few: names of nodes, verdicts, errors.

use std::io::IsTerminal;

use clap::ValueEnum;

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    Always,
    Never,
}

impl When {
    /// As it is given.
    pub(crate) fn word(self) -> &'static str {
        match self {
            When::Auto => "auto",
            When::Always => "always",
            When::Never => "never",
        }
    }
}

/// What a colour says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hue {
    Name,
    Good,
    Doubtful,
    Bad,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Colours(bool);

impl Colours {
    pub(crate) fn on(when: When, stream: &impl IsTerminal) -> Colours {
        let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Colours(match when {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                let is_dumb = is_set("TERM").is_none_or(|term| term == "dumb");
                stream.is_terminal() && !is_dumb && is_set("NO_COLOR").is_none()
            }
        })
    }

    /// The text in that colour. It has to be safe already.
    pub(crate) fn paint(self, hue: Hue, text: &str) -> String {
        let code = match hue {
            Hue::Name => "1",
            Hue::Good => "32",
            Hue::Doubtful => "33",
            Hue::Bad => "31",
        };
        if self.0 && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What a filter's or the daemon's verdict on a message amounts to.
pub(crate) fn hue_of_verdict(verdict: &str) -> Hue {
    match verdict {
        "pass" => Hue::Good,
        "drop" | "reject" | "refused" => Hue::Bad,
        _ => Hue::Doubtful,
    }
}
