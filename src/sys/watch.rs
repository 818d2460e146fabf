//! Knows when a file may have been removed or renamed, or a directory above it (inotify(7)).
//! Never: what the file is for, or whether it is still there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags as On, InitFlags, Inotify};

/// Files that are watched. What goes on beside them in their directories wakes nothing.
#[derive(Debug)]
pub struct Watch(Inotify);

impl Watch {
    /// Without files. Fails if the user has no more of these to have (fs.inotify.max_user_instances).
    pub fn new() -> io::Result<Watch> {
        Ok(Watch(Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?))
    }

    /// Watches a file and the directories above it; a second time is the same as once.
    pub fn add(&self, path: &Path) -> io::Result<()> {
        // A socket that is removed lives on as long as it is bound: only its link count (IN_ATTRIB) tells.
        let gone = On::IN_MOVE_SELF | On::IN_DELETE_SELF;
        self.0.add_watch(path, gone | On::IN_ATTRIB | On::IN_DONT_FOLLOW)?;
        for directory in path.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty()) {
            match self.0.add_watch(directory, gone | On::IN_ONLYDIR) {
                // One that may not be read is hardly the daemon's user's to rename.
                Ok(_) | Err(Errno::EACCES) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Forgets what has been told so far.
    pub fn clear(&self) {
        // Its error is that there is no more.
        while self.0.read_events().is_ok() {}
    }
}

impl AsFd for Watch {
    /// What can be read when there is something to be told.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Whether anything has been told since it was asked last.
    fn is_told(watch: &Watch) -> bool {
        let told = watch.0.read_events().is_ok();
        watch.clear();
        told
    }

    #[test]
    fn what_goes_missing_is_told_and_what_goes_on_beside_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (above, folder) = (dir.path().join("above"), dir.path().join("above/folder"));
        let (path, beside) = (folder.join("socket"), folder.join("beside"));
        fs::create_dir_all(&folder).unwrap();
        let watch = Watch::new().unwrap();
        let missing: [&dyn Fn(); 4] = [
            &|| fs::remove_file(&path).unwrap(),
            &|| fs::rename(&path, folder.join("elsewhere")).unwrap(),
            &|| fs::rename(&folder, above.join("other")).unwrap(),
            &|| fs::rename(&above, dir.path().join("other")).unwrap(),
        ];
        for goes_missing in missing {
            fs::create_dir_all(&folder).unwrap();
            let _listener = UnixListener::bind(&path).unwrap();
            watch.add(&path).unwrap();
            watch.clear();
            fs::write(&beside, "").unwrap();
            fs::remove_file(&beside).unwrap();
            assert!(!is_told(&watch));
            goes_missing();
            assert!(is_told(&watch));
        }
    }
}
