//! Knows how lines get to the end of a file, a FIFO or a device.
//! Never: what they say.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use telex_log::{Batch, STEP, Sink};

/// How long ago a rename is that is told of. Where a file is rotated, the reload has come by then.
const LONG_AGO: Duration = Duration::from_secs(60);

/// A file that lines are appended to.
#[derive(Debug)]
pub(crate) struct LineFile {
    path: PathBuf,
    /// Of a file that is not there yet.
    mode: u32,
    open: Option<Open>,
    /// When the open file lost its path.
    lost_path: Option<SystemTime>,
    /// The log has been told of that.
    has_told: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// A descriptor that is good for nothing but being given up, for when the process can get no other one to open
    /// the file anew.
    spare: Option<File>,
}

impl Open {
    fn new(file: File) -> Open {
        let spare = file.try_clone().ok();
        Open { file, spare }
    }
}

impl LineFile {
    /// Fails where the file cannot be opened. A FIFO that nobody reads is opened when somebody does.
    pub(crate) fn open(path: &Path, mode: u32) -> io::Result<LineFile> {
        let open = match open(path, mode) {
            Err(error) if error.kind() == ErrorKind::NotConnected => None,
            file => Some(Open::new(file?)),
        };
        Ok(LineFile { open, ..LineFile::unopened(path, mode) })
    }

    /// The same, opened when there is something to write.
    pub(crate) fn unopened(path: &Path, mode: u32) -> LineFile {
        LineFile { path: path.to_owned(), mode, open: None, lost_path: None, has_told: false }
    }

    /// Opens the file that is at the path now, and gives up the old one. The loop may take each descriptor that is
    /// free as soon as it is: so none is freed before it is needed.
    fn open_anew(&mut self) -> io::Result<Open> {
        let Some(mut old) = self.open.take() else { return open(&self.path, self.mode).map(Open::new) };
        let open = || open(&self.path, self.mode);
        let mut file = open();
        if is_shortage(&file) && old.spare.take().is_some() {
            file = open();
        }
        // Not to go on in the old file if the new one cannot be opened: a program may be about to
        // compress and remove that.
        drop(old);
        if is_shortage(&file) {
            file = open();
        }
        file.map(Open::new)
    }

    /// When the open file has last been changed, if another one is at the path, or none.
    fn changed_elsewhere(&self) -> io::Result<Option<SystemTime>> {
        let Some(open) = &self.open else { return Ok(None) };
        let own = open.file.metadata()?;
        let is_there = match fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let since = Duration::new(own.ctime().try_into().unwrap_or(0), own.ctime_nsec() as u32);
        Ok((!is_there).then(|| UNIX_EPOCH + since))
    }
}

/// Whether no more files can be open.
fn is_shortage(opened: &io::Result<File>) -> bool {
    let shortages = [Errno::EMFILE as i32, Errno::ENFILE as i32];
    opened.as_ref().is_err_and(|error| error.raw_os_error().is_some_and(|number| shortages.contains(&number)))
}

impl Sink for LineFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                batch.restart_record();
                none.insert(Open::new(open(&self.path, self.mode)?))
            }
        };
        match open.file.write(batch.rest()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let timeout = PollTimeout::try_from(STEP).unwrap_or(PollTimeout::ZERO);
                poll(&mut [PollFd::new(open.file.as_fd(), PollFlags::POLLOUT)], timeout)?;
                Ok(0)
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.open = None;
                Err(error)
            }
            // Of a disk that is full or fails: the next try goes on where this one ended.
            written => written,
        }
    }

    fn reopen(&mut self, batch: &mut Batch) -> io::Result<()> {
        batch.restart_record();
        (self.lost_path, self.has_told) = (None, false);
        self.open = Some(self.open_anew()?);
        Ok(())
    }

    /// Looks whether the file is still at its path. If it is not, its last change was its being renamed: it is looked
    /// before anything is written.
    fn look(&mut self, now: SystemTime) -> Option<String> {
        self.lost_path = match self.changed_elsewhere() {
            Ok(Some(changed)) => self.lost_path.or(Some(changed)),
            Ok(None) => {
                self.has_told = false;
                None
            }
            Err(_) => self.lost_path,
        };
        let is_long_ago = |then| now.duration_since(then).is_ok_and(|age| age >= LONG_AGO);
        if self.has_told || !self.lost_path.is_some_and(is_long_ago) {
            return None;
        }
        self.has_told = true;
        let path = self.path.display();
        Some(format!(
            "{path} has been renamed or removed, and what is written still goes to the old file; a reload opens the \
             new one"
        ))
    }
}

/// Opens a file for appending; `NotConnected` is a FIFO that nobody reads.
fn open(path: &Path, mode: u32) -> io::Result<File> {
    // Neither to wait for the reader of a FIFO nor to be given a terminal.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let mut options = OpenOptions::new();
    options.append(true).mode(mode).custom_flags(flags);
    match options.create_new(true).open(path) {
        Ok(file) => {
            // The umask of the daemon is no matter of who configured the mode.
            file.set_permissions(Permissions::from_mode(mode))?;
            return Ok(file);
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // Before it is opened for appending: the process may have but one descriptor left.
    let is_torn = ends_within_a_line(path).unwrap_or(false);
    match options.create_new(false).create(true).open(path) {
        Ok(mut file) => {
            if is_torn {
                file.write_all(b"\n")?;
            }
            Ok(file)
        }
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) && is_fifo(path) => {
            Err(io::Error::new(ErrorKind::NotConnected, "nobody reads this FIFO"))
        }
        Err(error) => Err(error),
    }
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Whether the last line of a file was torn, as by a crash.
fn ends_within_a_line(path: &Path) -> io::Result<bool> {
    if !fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last != [b'\n'])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use telex_log::testing::{path, wait_until};

    use super::*;

    #[test]
    fn a_rename_is_told_at_the_first_record_a_minute_later_and_once() {
        for looks_before in [true, false] {
            let (_dir, path) = path();
            let mut file = LineFile::open(&path, 0o600).unwrap();
            let began = SystemTime::now();
            let at = |seconds| began + Duration::from_secs(seconds);
            assert_eq!(file.look(at(1000)), None);
            fs::rename(&path, path.with_extension("1")).unwrap();
            if looks_before {
                assert_eq!(file.look(at(0)), None, "a reload may be under way");
                // What is written changes the file, too, as soon as the kernel's clock for files has ticked.
                let mut open = &file.open.as_ref().unwrap().file;
                let changed = |file: &File| file.metadata().unwrap().ctime_nsec();
                let renamed = changed(open);
                wait_until("a tick", || open.write_all(b"line\n").is_ok() && changed(open) != renamed);
                assert_eq!(file.look(at(59)), None);
            }
            // The kernel's clock for files goes by ticks.
            let told = file.look(at(60) + Duration::from_millis(15)).unwrap();
            assert!(told.starts_with(&format!("{} has been renamed or removed", path.display())), "{told}");
            assert_eq!(file.look(at(600)), None, "it is told once");
            // Another one in its place is no better.
            File::create(&path).unwrap();
            assert_eq!(file.look(at(700)), None);
            file.reopen(&mut Batch::default()).unwrap();
            assert_eq!(file.look(at(800)), None);
            fs::remove_file(&path).unwrap();
            assert!(file.look(at(900)).is_some(), "it is a new one");
        }
    }

    #[test]
    fn a_symbolic_link_is_the_file_that_it_leads_to() {
        let (_dir, path) = path();
        let link = path.with_extension("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let later = SystemTime::now() + Duration::from_secs(1000);
        for path in [&link, Path::new("/dev/null")] {
            assert_eq!(LineFile::open(path, 0o600).unwrap().look(later), None);
        }
    }
}
