//! Knows how a directory is made whose mode is set, whatever the umask is.
//! Never: what is kept in it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes a directory of this mode, and those above it that are missing. One that is there already stays as it is,
/// unless every user may write in it: that is ended, if it is the daemon's to say.
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    if let Ok(found) = fs::metadata(path)
        && found.is_dir()
    {
        // In a sticky one, such as /tmp, files are their owners' alone.
        if found.mode() & 0o1002 != 0o002 {
            return Ok(());
        }
        return match set_mode(path, found.mode() & 0o7775) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            closed => closed,
        };
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent, mode)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => set_mode(path, mode),
        // Another process has made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (above, path) = (dir.path().join("a"), dir.path().join("a/b"));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        make_directory(&path, 0o755).unwrap();
        assert_eq!((mode(&above), mode(&path)), (0o755, 0o755));
        for (before, after) in [(0o750, 0o750), (0o777, 0o775), (0o1777, 0o1777), (0o770, 0o770)] {
            set_mode(&path, before).unwrap();
            make_directory(&path, 0o700).unwrap();
            assert_eq!(mode(&path), after, "{before:o}");
        }
        fs::write(dir.path().join("file"), "").unwrap();
        make_directory(&dir.path().join("file"), 0o700).expect_err("a file");
    }
}
