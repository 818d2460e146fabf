//! Knows which connection numbers were given out, so that none is ever given out again.
//! Never: to which connection.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::directory::make_directory;

/// Numbers are reserved on disk in blocks of this many, so that a crash loses at most that many.
const BLOCK: u64 = 1 << 20;
/// Who may open the file may lock it, and so keep the daemon from starting.
const MODE: u32 = 0o600;
/// Bytes of a number in the file, with its line end.
const NUMBER_BYTES: u64 = 21;

/// The next unused connection numbers of a state directory.
#[derive(Debug)]
pub struct Numbers {
    /// Locked while the daemon runs: two daemons on one state directory would share numbers.
    file: File,
    path: PathBuf,
    next: u64,
    /// The first number that is not reserved on disk.
    reserved: u64,
    /// The holder of the lock, for processes that do not get it: what stands in the file behind the number.
    holder: String,
}

impl Numbers {
    /// Opens the state directory (which is made if it is not there) and locks it. Numbers begin
    /// at 1. Errors say what was tried, on which path.
    pub fn open(state_dir: &Path) -> io::Result<Numbers> {
        Numbers::open_from(state_dir, 1)
    }

    /// The same with numbers from `least` on, though the file may say less.
    pub fn open_from(state_dir: &Path, least: u64) -> io::Result<Numbers> {
        make_directory(state_dir, 0o700)
            .map_err(said(|| format!("cannot make the state directory {}", state_dir.display())))?;
        let path = state_dir.join("connections");
        if !path.try_exists().unwrap_or(true) {
            create(&path, least).map_err(said(|| format!("cannot make {}", path.display())))?;
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .open(&path)
            .map_err(said(|| format!("cannot open {}", path.display())))?;
        // An earlier version made it for all to read.
        file.set_permissions(Permissions::from_mode(MODE))
            .map_err(said(|| format!("cannot close {} to others", path.display())))?;
        let locked = file.try_lock();
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(said(|| format!("cannot read {}", path.display())))?;
        let (number, holder) = text.split_once('\n').unwrap_or((&text, ""));
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(is_held(state_dir, holder.trim())),
            Err(TryLockError::Error(error)) => {
                return Err(said(|| format!("cannot lock {}", path.display()))(error));
            }
        }
        let next = read(&path, number)?.max(least);
        let mut numbers = Numbers { file, path, next, reserved: next, holder: String::new() };
        numbers.reserve(next + BLOCK)?;
        numbers.name_holder("")?;
        Ok(numbers)
    }

    /// Where the next number is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is still there, and no other has been put in its place.
    pub fn has_file(&self) -> bool {
        let identity = |found: Metadata| (found.dev(), found.ino());
        let own = self.file.metadata().map(identity).ok();
        own.is_some() && own == fs::metadata(&self.path).map(identity).ok()
    }

    /// Makes the file again, and its directory, that are gone, with the lock and all that stood there.
    pub fn make_again(&mut self) -> io::Result<()> {
        let state_dir = self.path.parent().unwrap_or(Path::new("/"));
        let mut fresh = Numbers::open_from(state_dir, self.reserved)?;
        fresh.name_holder(&self.holder)?;
        *self = fresh;
        Ok(())
    }

    /// Says in the file what has the lock, for processes that do not get it.
    pub fn name_holder(&mut self, holder: &str) -> io::Result<()> {
        let text = if holder.is_empty() { String::new() } else { format!("{holder}\n") };
        self.file
            .set_len(NUMBER_BYTES)
            .and_then(|()| self.file.write_all_at(text.as_bytes(), NUMBER_BYTES))
            .map_err(said(|| format!("cannot write {}", self.path.display())))?;
        holder.clone_into(&mut self.holder);
        Ok(())
    }

    /// A number that was never given out before.
    pub fn take(&mut self) -> io::Result<u64> {
        if self.next == self.reserved {
            self.reserve(self.next + BLOCK)?;
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    /// The number that is given out next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Gives the rest of the block back, at an orderly end: nothing is to be taken behind that.
    pub fn close(&mut self) -> io::Result<()> {
        self.name_holder("")?;
        self.reserve(self.next)
    }

    /// Writes in place: twenty digits and a line end are one sector, which the disk writes whole.
    fn reserve(&mut self, until: u64) -> io::Result<()> {
        self.file
            .write_all_at(line(until).as_bytes(), 0)
            .and_then(|()| self.file.sync_data())
            .map_err(said(|| format!("cannot write {}", self.path.display())))?;
        self.reserved = until;
        Ok(())
    }
}

/// A number as the file has it.
fn line(number: u64) -> String {
    format!("{number:020}\n")
}

/// For `map_err`: what was tried.
fn said(what: impl Fn() -> String) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", what()))
}

/// Makes the file with its first number in it: one that is there is never empty, whatever happens to the machine.
fn create(path: &Path, number: u64) -> io::Result<()> {
    let fresh = path.with_extension(std::process::id().to_string());
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(MODE).open(&fresh)?;
    let written = file.write_all(line(number).as_bytes()).and_then(|()| file.sync_data());
    // Not in the place of one that another process has made meanwhile.
    let made = written.and_then(|()| match fs::hard_link(&fresh, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A file system without links.
        Err(_) => fs::rename(&fresh, path),
        Ok(()) => Ok(()),
    });
    // It is gone if it was renamed.
    let _ = fs::remove_file(&fresh);
    made
}

fn read(path: &Path, number: &str) -> io::Result<u64> {
    let path = path.display();
    let why = match number.trim().parse() {
        Ok(number) => return Ok(number),
        Err(_) if number.trim().is_empty() => format!(
            "{path} is empty, so it is not known which numbers of connections were given out; write one there that \
             is larger than all of them (echo 1000000000 >{path}), or remove the file to begin at 1 again"
        ),
        Err(_) => format!("{path} should hold one number, and holds {number:?}"),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

fn is_held(state_dir: &Path, holder: &str) -> io::Error {
    let who = if holder.is_empty() { String::new() } else { format!(" ({holder})") };
    let text = format!(
        "another telexd{who} uses the state directory {}; give this one another with --state-dir",
        state_dir.display()
    );
    io::Error::new(io::ErrorKind::ResourceBusy, text)
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
    fn what_is_removed_is_made_again_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let mut numbers = Numbers::open(&state).unwrap();
        numbers.name_holder("process 7, at unix:/x").unwrap();
        assert_eq!((numbers.take().unwrap(), numbers.has_file()), (1, true));
        fs::remove_dir_all(&state).unwrap();
        assert!(!numbers.has_file());
        numbers.make_again().unwrap();
        assert!(numbers.has_file());
        assert_eq!(numbers.take().unwrap(), 1 + BLOCK);
        let error = Numbers::open(&state).unwrap_err().to_string();
        assert!(error.contains("another telexd (process 7, at unix:/x) uses the state directory"), "{error}");
        drop(numbers);
        assert!(Numbers::open(&state).unwrap().take().unwrap() > 1 + BLOCK);
    }

    #[test]
    fn an_empty_file_is_no_first_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("connections");
        for empty in ["", "\n"] {
            fs::write(&path, empty).unwrap();
            let error = Numbers::open(dir.path()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} is empty", path.display())), "{error}");
        }
        fs::write(&path, "1000\n").unwrap();
        assert_eq!(Numbers::open(dir.path()).unwrap().take().unwrap(), 1000);
        fs::remove_file(&path).unwrap();
        assert_eq!(Numbers::open(dir.path()).unwrap().take().unwrap(), 1);
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
