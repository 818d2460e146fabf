//! Knows how the text of a file is read, and what no such text can be.
//! Never: what the text says.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::toml_file::fault::Problem;
use crate::toml_file::place::line;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The text of the file at `path`.
pub(crate) fn load(path: &Path) -> Result<String, Problem> {
    let wrong = |why: String| Problem::outside(format!("{}: {why}", path.display()));
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("is no configuration: it is longer than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good =
            String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let line = line(&good, good.len());
        Problem { line, text: format!("{}:{line}: is no UTF-8 text, as TOML must be", path.display()) }
    })
}
