//! Knows which file a plugin is, and whether it is safe to run what is in it.
//! Never: loads it.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::elf;

/// A plugin's file, opened and found safe.
#[derive(Debug)]
pub(super) struct PluginFile {
    /// Where it was found.
    pub(super) path: PathBuf,
    /// Equal only for the same contents of the same file.
    pub(super) version: Version,
    file: File,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    device: u64,
    inode: u64,
    size: i64,
    /// Of the contents and of the inode, seconds and nanoseconds each. The second one changes with every
    /// write, whatever the first is set to.
    times: [i64; 4],
}

/// Why a file is not loaded.
#[derive(Debug)]
pub(super) enum Unsafe {
    /// There is none of these.
    NotFound(Vec<PathBuf>),
    /// It could not be opened or looked at.
    Failed(PathBuf, io::Error),
    /// It, or a folder on the way to it, is not what it has to be.
    Wrong(PathBuf, &'static str),
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsafe::NotFound(tried) => {
                let tried: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
                write!(f, "there is no such file: {}", tried.join(", "))
            }
            Unsafe::Failed(path, error) => write!(f, "{}: {error}", path.display()),
            Unsafe::Wrong(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

/// Where the plugin of this `path` may be: itself if it is absolute, else in `dir` under the names that
/// a library of that name has.
pub(super) fn candidates(path: &str, dir: &Path) -> Vec<PathBuf> {
    if path.starts_with('/') {
        return vec![path.into()];
    }
    let library = format!("lib{}.so", path.replace('-', "_"));
    [path.to_owned(), format!("{path}.so"), library].iter().map(|name| dir.join(name)).collect()
}

impl PluginFile {
    /// Opens the first of `candidates` that is there. The file and all folders on the way to it must
    /// belong to root or to `uid` and be writable by its owner alone. The folders are opened one in
    /// another, so that what is looked at is what is opened.
    pub(super) fn open(candidates: Vec<PathBuf>, uid: u32) -> Result<PluginFile, Unsafe> {
        let Some(path) = candidates.iter().find(|path| path.symlink_metadata().is_ok()) else {
            return Err(Unsafe::NotFound(candidates));
        };
        let failed = |error: io::Error| Unsafe::Failed(path.clone(), error);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Unsafe::Wrong(path.clone(), "is no file"));
        };
        // Folders may be links, as /lib is; what they lead to is what counts.
        let folder = folder.canonicalize().map_err(failed)?;
        let fd = open_in(open_folder(&folder, uid)?, name).map_err(|error| match error {
            Errno::ELOOP => Unsafe::Wrong(path.clone(), "is a symbolic link; name the file that it leads to"),
            error => failed(error.into()),
        })?;
        let stat = fstat(&fd).map_err(|error| failed(error.into()))?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(Unsafe::Wrong(path.clone(), "is no regular file"));
        }
        check_owner(&stat, uid)
            .and_then(|()| check_writers(&stat))
            .map_err(|why| Unsafe::Wrong(path.clone(), why))?;
        Ok(PluginFile { path: path.clone(), version: Version::of(&stat), file: fd.into() })
    }

    /// A private copy of the contents that cannot be changed any more, and is all there. What is loaded from
    /// a file that is then truncated kills the process (SIGBUS, mmap(2)). The error is for people.
    pub(super) fn copy(&mut self) -> Result<OwnedFd, String> {
        let failed = |error: io::Error| format!("it cannot be copied into memory: {error}");
        let copy = self.copy_and_seal().map_err(failed)?;
        let stat = fstat(&self.file).map_err(|error| failed(error.into()))?;
        if Version::of(&stat) != self.version {
            return Err("it was changed while it was read; try again when it is all there".to_owned());
        }
        let size = copy.metadata().map_err(failed)?.len();
        match elf::size_needed(&copy) {
            Ok(needed) if needed > size => {
                Err(format!("it is cut short: it has {size} bytes, and should have {needed} at least"))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(format!("it is cut short: it has {size} bytes, which end within its headers"))
            }
            Err(error) => Err(failed(error)),
            Ok(_) => Ok(copy.into()),
        }
    }

    fn copy_and_seal(&mut self) -> io::Result<File> {
        let name = self.path.file_name().unwrap_or_else(|| OsStr::new("plugin"));
        let copy = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let mut copy = File::from(copy);
        io::copy(&mut self.file, &mut copy)?;
        let seals =
            SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(copy)
    }
}

/// The path under which the dynamic loader finds an open file.
pub(super) fn path_of(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

fn open_folder(folder: &Path, uid: u32) -> Result<OwnedFd, Unsafe> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_PATH;
    let mut at = PathBuf::from("/");
    let failed = |at: &Path, error: Errno| Unsafe::Failed(at.to_owned(), error.into());
    let mut fd = open(&at, flags, Mode::empty()).map_err(|error| failed(&at, error))?;
    loop {
        let stat = fstat(&fd).map_err(|error| failed(&at, error))?;
        // In a sticky folder that others may write in, only the owners of the folder and of an entry can put
        // another one in the entry's place; the entry's is looked at next.
        let is_sticky = stat.st_mode & Mode::S_ISVTX.bits() != 0;
        let unwritten = if is_sticky { Ok(()) } else { check_writers(&stat) };
        check_owner(&stat, uid).and(unwritten).map_err(|why| Unsafe::Wrong(at.clone(), why))?;
        let Some(next) = folder.components().nth(at.components().count()) else { return Ok(fd) };
        let Component::Normal(name) = next else { return Ok(fd) };
        at.push(name);
        fd = openat(&fd, name, flags, Mode::empty()).map_err(|error| failed(&at, error))?;
    }
}

fn open_in(folder: OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    // Not blocked by a FIFO, whose kind is looked at next.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    openat(&folder, name.as_c_str(), flags, Mode::empty())
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn check_owner(stat: &FileStat, uid: u32) -> Result<(), &'static str> {
    match stat.st_uid == 0 || stat.st_uid == uid {
        true => Ok(()),
        false => Err("belongs to another user; it must belong to root or to the daemon's own user"),
    }
}

fn check_writers(stat: &FileStat) -> Result<(), &'static str> {
    match stat.st_mode & (Mode::S_IWGRP | Mode::S_IWOTH).bits() {
        0 => Ok(()),
        _ => Err("can be written by others; it must be writable by its owner alone (chmod go-w)"),
    }
}

impl Version {
    fn of(stat: &FileStat) -> Version {
        Version {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            times: [stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec],
        }
    }
}

#[cfg(test)]
#[path = "../../tests/support/needs.rs"]
mod needs;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn own_uid() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    fn write(path: &Path, mode: u32) -> PathBuf {
        fs::write(path, "library").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_owned()
    }

    fn told(path: &Path) -> String {
        PluginFile::open(vec![path.to_owned()], own_uid()).expect_err("unsafe").to_string()
    }

    #[test]
    fn a_name_is_looked_for_as_libraries_are_called() {
        let dir = dir();
        let found =
            |name: &str| PluginFile::open(candidates(name, dir.path()), own_uid()).map(|file| file.path);
        let library = write(&dir.path().join("libfilter_rate.so"), 0o644);
        assert_eq!(found("filter-rate").unwrap(), library);
        let plain = write(&dir.path().join("filter-rate.so"), 0o644);
        assert_eq!(found("filter-rate").unwrap(), plain);
        assert_eq!(candidates("/x/y.so", dir.path()), [PathBuf::from("/x/y.so")]);
        let told = found("other").unwrap_err().to_string();
        assert!(told.starts_with("there is no such file: /") && told.ends_with("/libother.so"), "{told}");
    }

    #[test]
    fn what_others_could_change_is_refused() {
        let dir = dir();
        let path = write(&dir.path().join("x.so"), 0o664);
        assert!(told(&path).ends_with(
            "x.so: can be written by others; it must be writable by its owner alone (chmod go-w)"
        ));
        write(&path, 0o644);
        assert!(PluginFile::open(vec![path.clone()], own_uid()).is_ok());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(told(&path).contains("can be written by others"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let link = dir.path().join("link.so");
        symlink(&path, &link).unwrap();
        assert!(told(&link).ends_with("link.so: is a symbolic link; name the file that it leads to"));
        assert!(told(dir.path()).ends_with("is no regular file"));
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert!(told(&fifo).ends_with("is no regular file"));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if !needs::root() {
            return;
        }
        let dir = dir();
        let path = write(&dir.path().join("x.so"), 0o644);
        chown(&path, Some(1234), None).unwrap();
        assert!(told(&path).contains("belongs to another user"));
        assert!(PluginFile::open(vec![path.clone()], 1234).is_ok());
        // The owner of a sticky folder may put another file in the place of anybody's.
        chown(&path, Some(0), None).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(PluginFile::open(vec![path.clone()], 0).is_ok());
        chown(dir.path(), Some(1234), None).unwrap();
        assert!(told(&path).contains("belongs to another user"));
    }

    #[test]
    fn a_copy_does_not_change_with_the_file() {
        let dir = dir();
        let path = write(&dir.path().join("x.so"), 0o644);
        let mut file = PluginFile::open(vec![path.clone()], own_uid()).unwrap();
        let copy = file.copy().unwrap();
        fs::write(&path, "").unwrap();
        assert!(file.copy().unwrap_err().starts_with("it was changed while it was read"));
        let mut text = String::new();
        File::open(path_of(&copy)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "library");
        let changed = PluginFile::open(vec![path], own_uid()).unwrap();
        assert_ne!(changed.version, file.version);
        assert!(
            fs::OpenOptions::new()
                .write(true)
                .open(path_of(&copy))
                .and_then(|mut file| io::Write::write_all(&mut file, b"x"))
                .is_err()
        );
    }
}
