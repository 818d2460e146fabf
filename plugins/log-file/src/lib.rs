#![doc = include_str!("../README.md")]

mod file;
mod line;
mod stdout;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use telex_log::{Format, Logger, MaxLevel, MaxQueueBytes, Queue, Sink, Tell, Way, check_append, options};
use telex_plugin::Level;

use crate::file::LineFile;
use crate::stdout::Stdout;

/// The `path` of the daemon's stdout.
const STDOUT: &str = "-";

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    path: PathBuf,
    format: LineFormat,
    mode: String,
    level: MaxLevel,
    max_queue_bytes: MaxQueueBytes,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            path: PathBuf::new(),
            format: LineFormat::Json,
            mode: "0640".to_owned(),
            level: MaxLevel::default(),
            max_queue_bytes: MaxQueueBytes::default(),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LineFormat {
    Json,
    Text,
}

/// What a configuration asks for.
struct Wanted {
    path: PathBuf,
    mode: u32,
    format: Format,
    level: MaxLevel,
    max_queue_bytes: usize,
}

impl Wanted {
    fn read(config: &str) -> Result<Wanted, String> {
        let Options { path, format, mode, level, max_queue_bytes } = options(config)?;
        if !path.is_absolute() && path != Path::new(STDOUT) {
            let path = path.display();
            return Err(format!(
                "path: \"{path}\" is no absolute path, such as \"/var/log/telexd.log\", nor \"-\" for stdout"
            ));
        }
        let octal = u32::from_str_radix(&mode, 8).ok().filter(|mode| *mode <= 0o777);
        let mode = octal.ok_or_else(|| format!("mode: \"{mode}\" is no mode from \"0000\" to \"0777\""))?;
        let format: Format = match format {
            LineFormat::Json => Box::new(line::write_json),
            LineFormat::Text => Box::new(line::write_text),
        };
        Ok(Wanted { path, mode, format, level, max_queue_bytes: max_queue_bytes.0 })
    }

    fn is_stdout(&self) -> bool {
        self.path == Path::new(STDOUT)
    }

    fn cannot_open(&self, error: &io::Error) -> String {
        let name = if self.is_stdout() { "stdout".to_owned() } else { self.path.display().to_string() };
        format!("cannot open {name}: {error}")
    }

    fn log_to(self, sink: impl Sink, tell: Tell) -> Result<Logger, String> {
        let queue = Queue::start("log-file", self.max_queue_bytes, self.format, sink, tell)?;
        Ok(Logger::new(self.level, Way::Queue(queue)))
    }
}

/// Opens the file; `tell` is told when writing fails, and when it works again.
pub fn start(config: &str, tell: Tell) -> Result<Logger, String> {
    let wanted = Wanted::read(config)?;
    if wanted.is_stdout() {
        let stdout = Stdout::open().map_err(|error| wanted.cannot_open(&error))?;
        return wanted.log_to(stdout, tell);
    }
    let file = LineFile::open(&wanted.path, wanted.mode).map_err(|error| wanted.cannot_open(&error))?;
    wanted.log_to(file, tell)
}

/// The same without opening the file; `tell` is told what that leaves open.
pub fn check(config: &str, tell: Tell) -> Result<Logger, String> {
    let wanted = Wanted::read(config)?;
    if !wanted.is_stdout()
        && let Some(unknown) = check_append(&wanted.path).map_err(|error| wanted.cannot_open(&error))?
    {
        tell(Level::Warning, &unknown);
    }
    let file = LineFile::unopened(&wanted.path, wanted.mode);
    wanted.log_to(file, tell)
}

telex_log::export!(start, check);
