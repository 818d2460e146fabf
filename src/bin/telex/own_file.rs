//! Knows the user's file of profiles: where it is, and how it is replaced so that nothing is lost.
//! Never: what a profile sets.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use telex::profile::{self, Profiles};

use crate::caret;
use crate::document::Document;
use crate::exit::{Exit, Failure};

/// How long another one that changes the file is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The user's file of profiles, which need not be there.
pub(crate) struct OwnFile {
    path: PathBuf,
}

impl OwnFile {
    pub(crate) fn find() -> Result<OwnFile, Failure> {
        let home = profile::config_home();
        let home = home.ok_or_else(|| {
            Failure::usage(
                "there is no folder for profiles.toml: neither XDG_CONFIG_HOME nor HOME is an absolute path",
            )
        })?;
        Ok(OwnFile { path: home.join("telex/profiles.toml") })
    }

    /// What the file sets, which is checked.
    pub(crate) fn profiles(&self) -> Result<Profiles, Failure> {
        self.check(&self.text(&self.path)?)
    }

    pub(crate) fn document(&self) -> Result<Document, Failure> {
        let text = self.text(&self.path)?;
        self.check(&text)?;
        Document::read(&text).map_err(|why| Failure::new(Exit::Refused, why))
    }

    /// Changes the file, unless what comes out is at fault, for which `given` on the command line is to blame; it is empty if
    /// something is only taken away, which is also how a file is mended that is at fault. Others
    /// that change it with this are waited for; if another program has changed it meanwhile, that is the failure.
    pub(crate) fn edit(
        &self,
        given: &str,
        change: impl FnOnce(&mut Document) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| self.failed(&error))?;
        let target = self.target()?;
        let folder = target.parent().unwrap_or(Path::new("/"));
        let _lock = lock(folder)?;
        let text = self.text(&target)?;
        if !given.is_empty() {
            self.check(&text)?;
        }
        let mut document = Document::read(&text).map_err(|why| Failure::new(Exit::Refused, why))?;
        change(&mut document)?;
        let new = document.text();
        if new == text {
            return Ok(());
        }
        if let Err(error) = Profiles::read(&self.path, &new) {
            // A fault that was there before has its place in the file.
            self.check(&text)?;
            return Err(self.at_fault(&error, given));
        }
        let old = match std::fs::metadata(&target) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(self.failed(&error)),
        };
        let beside = folder.join(".profiles.toml.new");
        let is_same = || Ok(self.text(&target)? == text);
        let replaced = replace(&beside, &new, old.as_ref(), is_same, &target, self);
        if replaced.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        replaced
    }

    /// The file that a symbolic link leads to.
    fn target(&self) -> Result<PathBuf, Failure> {
        match self.path.canonicalize() {
            Ok(target) => Ok(target),
            Err(error) if error.kind() == ErrorKind::NotFound && !self.path.is_symlink() => {
                Ok(self.path.clone())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// What stands in the file; nothing if it is not there.
    fn text(&self, path: &Path) -> Result<String, Failure> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
                return Ok(String::new());
            }
            Err(error) => return Err(self.failed(&error)),
            Ok(about) if !about.is_file() => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("{}: is no regular file", self.path.display()),
                ));
            }
            Ok(_) => {}
        }
        std::fs::read_to_string(path).map_err(|error| self.failed(&error))
    }

    fn check(&self, text: &str) -> Result<Profiles, Failure> {
        Profiles::read(&self.path, text).map_err(|error| Failure::new(Exit::Refused, error.to_string()))
    }

    /// A fault of a text that is not in the file: without its place.
    fn at_fault(&self, error: &profile::Error, given: &str) -> Failure {
        let (error, place) = (error.to_string(), format!("{}:", self.path.display()));
        let line = error.lines().next().unwrap_or_default();
        let line =
            line.strip_prefix(&place).and_then(|rest| rest.split_once(": ")).map_or(line, |(_, why)| why);
        if given.is_empty() { Failure::usage(line) } else { caret::fault(given, 0..given.len(), line) }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::file(&self.path.display().to_string(), error)
    }
}

/// Only one at a time changes the files of a folder. The lock ends with the value.
fn lock(folder: &Path) -> Result<File, Failure> {
    let failed = |error: &io::Error| Failure::file(&folder.display().to_string(), error);
    let lock = File::open(folder).map_err(|error| failed(&error))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                let words = format!("{}: another program holds its lock", folder.display());
                return Err(Failure::new(Exit::Timeout, words));
            }
        }
    }
}

/// Puts a text in place of the file `target`, at once, by way of the file `beside`. It is of the same owner and mode
/// as `old`.
fn replace(
    beside: &Path,
    text: &str,
    old: Option<&Metadata>,
    is_same: impl FnOnce() -> Result<bool, Failure>,
    target: &Path,
    of: &OwnFile,
) -> Result<(), Failure> {
    let failed = |error: io::Error| of.failed(&error);
    // Left by one that was killed: this one has the lock.
    let _ = std::fs::remove_file(beside);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    if let Some(old) = old {
        let new = file.metadata().map_err(failed)?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid())).map_err(failed)?;
        }
        let mode = std::fs::Permissions::from_mode(old.permissions().mode() & 0o7777);
        file.set_permissions(mode).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    if !is_same()? {
        let words = format!("{}: another program has just changed it; try again", of.path.display());
        return Err(Failure::new(Exit::Refused, words));
    }
    std::fs::rename(beside, target).map_err(failed)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_another_program_has_changed_meanwhile_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, beside] = ["profiles.toml", "new"].map(|name| folder.path().join(name));
        let file = OwnFile { path: path.clone() };
        fs::write(&path, "theirs").expect("a file");
        // Left by one that was killed.
        fs::write(&beside, "half").expect("a file");
        let refused = replace(&beside, "ours", None, || Ok(false), &path, &file).expect_err("it has changed");
        assert!(
            refused.words.ends_with("another program has just changed it; try again"),
            "{}",
            refused.words
        );
        assert_eq!(fs::read_to_string(&path).expect("the file"), "theirs");
        replace(&beside, "ours", None, || Ok(true), &path, &file).expect("it is the same");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "ours");
        assert!(!beside.exists());
    }
}
