//! Knows whether lines could be appended to a file, without opening it.
//! Never: what they say.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use nix::unistd::{AccessFlags, access, geteuid};

/// Whether lines can be appended to the file at `path`, which need not be there. Nothing is opened or made. Gives a
/// sentence on what that leaves open, if anything: root may do what the daemon's user may not.
pub fn check_append(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(_) => access(path, AccessFlags::W_OK)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            access(path.parent().unwrap_or(path), AccessFlags::W_OK | AccessFlags::X_OK)?;
        }
        Err(error) => return Err(error),
    }
    Ok(geteuid().is_root().then(|| {
        let path = path.display();
        format!("this check is root's: it does not tell whether the daemon's user may write to {path}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_neither_made_nor_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let open = check_append(&path).unwrap();
        assert_eq!(open.is_some(), geteuid().is_root());
        assert!(!path.exists());
        fs::write(&path, "x").unwrap();
        check_append(&path).unwrap();
        let gone = dir.path().join("gone/file");
        let wrong = [(dir.path(), ErrorKind::IsADirectory), (&gone, ErrorKind::NotFound)];
        for (path, kind) in wrong {
            assert_eq!(check_append(path).unwrap_err().kind(), kind, "{}", path.display());
        }
    }
}
