//! Knows how the text of a file is read, and what no such text can be.
//! Never: what the text says.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::toml_file::fault::Problem;
use crate::toml_file::place::{File, line};

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl File {
    /// Reads the file at `path`; `nth` is its place in the order of all.
    pub(crate) fn load(nth: usize, path: &Path) -> Result<File, Problem> {
        let wrong = |why: String| Problem::of_file(nth, path, &why);
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong(format!("is no configuration: it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = line(&String::from_utf8_lossy(good), good.len());
            let text = format!("{}:{line}: is no UTF-8 text, as TOML must be", path.display());
            Problem { file: nth, line, text }
        })?;
        Ok(File { nth, path: path.to_owned(), text })
    }
}
