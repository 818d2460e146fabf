//! Knows how lines get to the daemon's stdout, whatever that is.
//! Never: what they say.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use telex_log::{Batch, STEP, Sink};

/// So many bytes a pipe that is ready for some takes at once (PIPE_BUF of pipe(7)).
const PIPE_BYTES: usize = 4096;

/// The daemon's stdout. It belongs to other processes too, so nothing is set on it, O_NONBLOCK least of all.
#[derive(Debug)]
pub(crate) struct Stdout(Way);

#[derive(Debug)]
enum Way {
    /// A file; or a pipe or a device that could be opened once more, and does not wait.
    File(File),
    /// A socket cannot be opened.
    Socket(OwnedFd),
    /// Nor can the pipe or the terminal of another user.
    Foreign(File),
}

impl Stdout {
    pub(crate) fn open() -> io::Result<Stdout> {
        Stdout::of(io::stdout().as_fd())
    }

    fn of(stdout: BorrowedFd<'_>) -> io::Result<Stdout> {
        let own = stdout.try_clone_to_owned()?;
        let kind = SFlag::from_bits_truncate(fstat(&own)?.st_mode) & SFlag::S_IFMT;
        Ok(Stdout(match kind {
            SFlag::S_IFSOCK => Way::Socket(own),
            SFlag::S_IFREG => Way::File(own.into()),
            _ => match open_again(&own) {
                Ok(file) => Way::File(file),
                Err(_) => Way::Foreign(own.into()),
            },
        }))
    }
}

impl Way {
    /// Writes some of it without waiting for room.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Way::File(file) => file.write(bytes),
            Way::Socket(socket) => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(socket.as_raw_fd(), bytes, flags)?)
            }
            Way::Foreign(file) if has_room(file.as_fd())? => {
                file.write(&bytes[..bytes.len().min(PIPE_BYTES)])
            }
            Way::Foreign(_) => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Way::File(file) | Way::Foreign(file) => file.as_fd(),
            Way::Socket(socket) => socket.as_fd(),
        }
    }
}

fn open_again(file: &OwnedFd) -> io::Result<File> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().append(true).custom_flags(flags).open(path)
}

impl Sink for Stdout {
    fn name(&self) -> String {
        "stdout".to_owned()
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        match self.0.write(batch.rest()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => has_room(self.0.as_fd()).map(|_| 0),
            written => written,
        }
    }

    /// It stays what it is.
    fn reopen(&mut self, _: &mut Batch) -> io::Result<()> {
        Ok(())
    }
}

/// Waits a moment for room.
fn has_room(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let timeout = PollTimeout::try_from(STEP).unwrap_or(PollTimeout::ZERO);
    Ok(poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], timeout)? > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, pipe};
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, fcntl};
    use telex_log::testing::{PATIENCE, messages, record, tell, without_waiting};
    use telex_log::{Queue, Tell};
    use telex_plugin::Record;

    use super::*;

    fn queue(stdout: Stdout, tell: Tell) -> Queue {
        let format = |record: &Record<'_>, out: &mut Vec<u8>| {
            out.extend_from_slice(record.message.as_bytes());
            out.push(b'\n');
        };
        Queue::start("test", 1 << 20, Box::new(format), stdout, tell).unwrap()
    }

    fn flags(fd: BorrowedFd<'_>) -> OFlag {
        OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap())
    }

    /// Writes what is read late, and reads it; then writes what is not read.
    fn check(stdout: Stdout, reader: impl Read + Send + 'static) {
        let (tell, told) = tell();
        let queue = queue(stdout, tell);
        let queue = without_waiting(move || {
            let mut queue = queue;
            // More than a pipe or a socket holds.
            for message in messages(0..30_000) {
                queue.add(&record(&message)).unwrap();
                queue.flush();
            }
            queue
        });
        let mut lines = BufReader::new(reader).lines();
        let read: Vec<_> = lines.by_ref().take(30_000).map(Result::unwrap).collect();
        assert!(read == messages(0..30_000), "{:?}", read.last());
        drop(lines);
        let mut queue = queue;
        queue.add(&record("more")).unwrap();
        queue.flush();
        let trouble = told.recv_timeout(PATIENCE).unwrap();
        assert!(trouble.starts_with("error: cannot write to stdout: Broken pipe"), "{trouble}");
        without_waiting(move || drop(queue));
        let end = told.iter().last().unwrap();
        assert_eq!(end, "error: 1 records lost, which stdout has not taken at the end");
    }

    #[test]
    fn a_pipe_is_written_to_and_does_not_become_non_blocking_for_others() {
        let (reader, writer) = pipe().unwrap();
        let stdout = Stdout::of(writer.as_fd()).unwrap();
        assert!(matches!(stdout.0, Way::File(_)));
        assert!(!flags(writer.as_fd()).contains(OFlag::O_NONBLOCK));
        drop(writer);
        check(stdout, reader);
    }

    #[test]
    fn a_pipe_of_another_user_is_written_to_piece_by_piece() {
        let (reader, writer) = pipe().unwrap();
        assert!(!flags(writer.as_fd()).contains(OFlag::O_NONBLOCK));
        check(Stdout(Way::Foreign(OwnedFd::from(writer).into())), reader);
    }

    #[test]
    fn a_socket_is_written_to() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let stdout = Stdout::of(writer.as_fd()).unwrap();
        assert!(matches!(stdout.0, Way::Socket(_)));
        drop(writer);
        check(stdout, reader);
    }

    #[test]
    fn a_reader_who_does_not_read_holds_up_neither_the_loop_nor_the_end() {
        let (reader, writer) = pipe().unwrap();
        let (socket_reader, socket) = UnixStream::pair().unwrap();
        let ways = [
            Stdout::of(writer.as_fd()).unwrap(),
            Stdout(Way::Foreign(OwnedFd::from(writer).into())),
            Stdout::of(socket.as_fd()).unwrap(),
        ];
        for stdout in ways {
            let (tell, told) = tell();
            let mut queue = queue(stdout, tell);
            without_waiting(move || {
                for message in messages(0..60_000) {
                    queue.add(&record(&message)).unwrap();
                    queue.flush();
                }
                drop(queue);
            });
            let end = told.iter().last().unwrap();
            assert!(end.ends_with("records lost, which stdout has not taken at the end"), "{end}");
        }
        drop((reader, socket_reader));
    }

    #[test]
    fn a_file_goes_on_where_others_have_left_it() {
        let (_dir, path) = telex_log::testing::path();
        let mut file = File::create(&path).unwrap();
        file.write_all(b"before\n").unwrap();
        let (tell, _told) = tell();
        let mut queue = queue(Stdout::of(file.as_fd()).unwrap(), tell);
        queue.add(&record("a record")).unwrap();
        queue.reopen();
        drop(queue);
        file.write_all(b"behind\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\na record\nbehind\n");
    }
}
