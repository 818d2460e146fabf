//! Knows how lines get to the end of a file, a FIFO or a device.
//! Never: what they say.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use telex_log::{Batch, STEP, Sink};

/// A file that lines are appended to.
#[derive(Debug)]
pub(crate) struct LineFile {
    path: PathBuf,
    /// Of a file that is not there yet.
    mode: u32,
    file: Option<File>,
}

impl LineFile {
    /// Fails where the file cannot be opened. A FIFO that nobody reads is opened when somebody does.
    pub(crate) fn open(path: &Path, mode: u32) -> io::Result<LineFile> {
        let file = match open(path, mode) {
            Err(error) if error.kind() == ErrorKind::NotConnected => None,
            file => Some(file?),
        };
        Ok(LineFile { path: path.to_owned(), mode, file })
    }

    /// The same, opened when there is something to write.
    pub(crate) fn unopened(path: &Path, mode: u32) -> LineFile {
        LineFile { path: path.to_owned(), mode, file: None }
    }
}

impl Sink for LineFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                batch.restart_record();
                none.insert(open(&self.path, self.mode)?)
            }
        };
        match file.write(batch.rest()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let timeout = PollTimeout::try_from(STEP).unwrap_or(PollTimeout::ZERO);
                poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)], timeout)?;
                Ok(0)
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.file = None;
                Err(error)
            }
            // Of a disk that is full or fails: the next try goes on where this one ended.
            written => written,
        }
    }

    fn reopen(&mut self, batch: &mut Batch) -> io::Result<()> {
        // Not to go on in the old file where the new one cannot be opened: somebody may be about to
        // compress and remove that.
        self.file = None;
        batch.restart_record();
        self.file = Some(open(&self.path, self.mode)?);
        Ok(())
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
    match options.create_new(false).create(true).open(path) {
        Ok(mut file) => {
            if ends_within_a_line(path).unwrap_or(false) {
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
