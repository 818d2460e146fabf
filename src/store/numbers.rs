//! Knows which connection numbers were given out, so that none is ever given out again.
//! Never: to which connection.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys::make_directory;

/// Numbers are reserved on disk in blocks of this many, so that a crash loses at most that many.
const BLOCK: u64 = 1 << 20;
/// Who may open the file may lock it, and so keep the daemon from starting.
const MODE: u32 = 0o600;

/// The next unused connection numbers of a state directory.
#[derive(Debug)]
pub struct Numbers {
    /// Locked while the daemon runs: two daemons on one state directory would share numbers.
    file: File,
    path: PathBuf,
    next: u64,
    /// The first number that is not reserved on disk.
    reserved: u64,
}

impl Numbers {
    /// Opens the state directory (which is made if it is not there) and locks it. Numbers begin
    /// at 1. Errors say what was tried, on which path.
    pub fn open(state_dir: &Path) -> io::Result<Numbers> {
        let said =
            |what: String| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        make_directory(state_dir, 0o700)
            .map_err(said(format!("cannot make the state directory {}", state_dir.display())))?;
        let path = state_dir.join("connections");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(&path)
            .map_err(said(format!("cannot open {}", path.display())))?;
        // The umask may have taken from it, or an earlier version made it for all to read.
        file.set_permissions(Permissions::from_mode(MODE))
            .map_err(said(format!("cannot close {} to others", path.display())))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "another telexd uses the state directory {}; give this one another with --state-dir",
                    state_dir.display()
                );
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Err(TryLockError::Error(error)) => {
                return Err(said(format!("cannot lock {}", path.display()))(error));
            }
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(said(format!("cannot read {}", path.display())))?;
        let next = match text.trim() {
            "" => 1,
            number => number.parse().map_err(|_| {
                let text = format!("{} should hold one number, and holds {number:?}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?,
        };
        let mut numbers = Numbers { file, path, next, reserved: next };
        numbers.reserve(next + BLOCK)?;
        Ok(numbers)
    }

    /// A number that was never given out before.
    pub fn take(&mut self) -> io::Result<u64> {
        if self.next == self.reserved {
            self.reserve(self.next + BLOCK)?;
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    /// Gives the rest of the block back, at an orderly end: nothing is to be taken behind that.
    pub fn close(&mut self) -> io::Result<()> {
        self.reserve(self.next)
    }

    /// Writes in place: twenty digits and a line end are one sector, which the disk writes whole.
    fn reserve(&mut self, until: u64) -> io::Result<()> {
        let text = format!("{until:020}\n");
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", self.path.display()))
        })?;
        self.reserved = until;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_twice() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let mut numbers = Numbers::open(&state).unwrap();
        assert_eq!((numbers.take().unwrap(), numbers.take().unwrap()), (1, 2));
        let error = Numbers::open(&state).unwrap_err().to_string();
        assert!(error.contains("another telexd") && error.contains("--state-dir"), "{error}");
        numbers.close().unwrap();
        drop(numbers);
        let mut numbers = Numbers::open(&state).unwrap();
        assert_eq!(numbers.take().unwrap(), 3, "an orderly end wastes none");
        drop(numbers);
        let mut numbers = Numbers::open(&state).unwrap();
        assert_eq!(numbers.take().unwrap(), 3 + BLOCK, "a crash uses none again");
        for n in 1..=BLOCK {
            assert_eq!(numbers.take().unwrap(), 3 + BLOCK + n);
        }
        drop(numbers);
        assert!(Numbers::open(&state).unwrap().take().unwrap() > 3 + 2 * BLOCK);
    }

    #[test]
    fn says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("connections"), "nonsense").unwrap();
        let error = Numbers::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("connections") && error.contains("nonsense"), "{error}");
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = Numbers::open(&dir.path().join("file/x")).unwrap_err().to_string();
        assert!(error.contains("state directory"), "{error}");
    }
}
