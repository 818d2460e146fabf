//! Knows how lines are written to a file that may take none for long: by a thread, from a bounded queue.
//! Never: what a line says.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Bytes that wait to be written. One line may be longer, if it is the only one.
const QUEUE_BYTES: usize = 1 << 20;
/// Bytes of room that are kept when a flood of lines is over.
const SPARE_BYTES: usize = 64 * 1024;

/// Writes lines to a file on a thread of its own, so that a pipe that is not read or a terminal that is stopped
/// (Ctrl-S) delays nothing but these lines. The file stays blocking: O_NONBLOCK would belong to every process that
/// has it open. Lines that find the queue full are dropped and counted, and so are all that follow until the
/// thread takes from the queue again.
#[derive(Debug)]
pub struct BackgroundWriter {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, in their order.
    lines: String,
    /// Lines behind these that found no room.
    dropped: u64,
    /// The thread has taken lines that it has not written yet.
    is_writing: bool,
    /// No more lines will come.
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BackgroundWriter {
    /// Starts the thread. It writes `dropped(count)`, a line, behind the last line that was not dropped. Fails if
    /// the process may have no more threads.
    pub fn start(
        file: impl Write + AsFd + Send + 'static,
        dropped: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<BackgroundWriter> {
        let queue = Arc::new(Queue::default());
        let taken_from = queue.clone();
        thread::Builder::new().name("writer".to_owned()).spawn(move || run(&taken_from, file, dropped))?;
        Ok(BackgroundWriter { queue })
    }

    /// Has a line written, or some, each with its line end. Never waits for the file.
    pub fn write(&self, lines: &str) {
        let mut state = self.queue.lock();
        let is_full = state.lines.len() + lines.len() > QUEUE_BYTES && !state.lines.is_empty();
        if state.dropped > 0 || is_full {
            state.dropped += 1;
            return;
        }
        // The thread sleeps only while there are none.
        let wakes = state.lines.is_empty();
        state.lines += lines;
        drop(state);
        if wakes {
            self.queue.changed.notify_all();
        }
    }

    /// Waits until all lines are written, at most for so long; what is left then may never be written.
    pub fn drain(&self, patience: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        let state = self.queue.lock();
        drop(self.queue.changed.wait_timeout_while(state, patience, is_busy));
    }
}

impl Drop for BackgroundWriter {
    /// The thread ends when it has written what there is.
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.changed.notify_all();
    }
}

/// The thread.
fn run(queue: &Queue, mut file: impl Write + AsFd, dropped: impl Fn(u64) -> String) {
    let mut lines = String::new();
    while let Some(count) = take(queue, &mut lines) {
        if count > 0 {
            lines += &dropped(count);
        }
        // Each by itself: a short write is not torn by other writers to the same pipe (pipe(7)).
        for line in lines.split_inclusive('\n') {
            // If a file cannot be written to there is nowhere to say so.
            let _ = write_all(&mut file, line.as_bytes());
        }
        lines.clear();
        lines.shrink_to(SPARE_BYTES);
    }
}

/// Waits for lines and takes them all, with the number of those that were dropped behind them. None at the end.
fn take(queue: &Queue, lines: &mut String) -> Option<u64> {
    let mut state = queue.lock();
    state.is_writing = false;
    queue.changed.notify_all();
    let is_idle = |state: &mut State| state.lines.is_empty() && !state.is_closed;
    let waited = queue.changed.wait_while(state, is_idle);
    let mut state = waited.unwrap_or_else(PoisonError::into_inner);
    if state.lines.is_empty() {
        return None;
    }
    std::mem::swap(&mut state.lines, lines);
    state.is_writing = true;
    Some(std::mem::take(&mut state.dropped))
}

fn write_all(file: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that has it open has set O_NONBLOCK on it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(error) => return Err(error),
        }
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, pipe};
    use std::time::Instant;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn dropped(count: u64) -> String {
        format!("{count} dropped\n")
    }

    /// Lines of a hundred bytes each: their number, and spaces.
    fn line(number: usize) -> String {
        format!("{number:<99}\n")
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_told_of_in_their_place() {
        const LINES: usize = 3 * QUEUE_BYTES / 100;
        let (reader, file) = pipe().unwrap();
        let writer = BackgroundWriter::start(file, dropped).unwrap();
        (0..LINES).for_each(|number| writer.write(&line(number)));
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let (mut next, mut told) = (0, 0);
        while next < LINES {
            let found = lines.next().expect("a line or a word on it");
            match found.strip_suffix(" dropped") {
                Some(count) => (next, told) = (next + count.parse::<usize>().unwrap(), told + 1),
                None => {
                    assert_eq!(found.trim_end(), next.to_string());
                    next += 1;
                }
            }
        }
        assert!(told > 0, "all of it has found room");
        writer.write("last\n");
        assert_eq!(lines.next().as_deref(), Some("last"));
        drop(writer);
        assert_eq!(lines.next(), None, "the thread has ended, and has closed the file");
    }

    #[test]
    fn a_drain_waits_for_the_file_but_not_for_ever() {
        let (mut reader, file) = pipe().unwrap();
        let writer = BackgroundWriter::start(file, dropped).unwrap();
        writer.write("a\nb\n");
        writer.drain(PATIENCE);
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut text = [0; 100];
        let count = reader.read(&mut text).expect("it is written");
        assert_eq!(&text[..count], b"a\nb\n");

        let (reader, file) = pipe().unwrap();
        let writer = BackgroundWriter::start(file, dropped).unwrap();
        // More than a pipe holds.
        (0..5_000).for_each(|number| writer.write(&line(number)));
        let began = Instant::now();
        writer.drain(Duration::from_millis(50));
        let took = began.elapsed();
        assert!((Duration::from_millis(50)..PATIENCE).contains(&took), "{took:?}");
        drop(writer);
        assert_eq!(BufReader::new(reader).lines().count(), 5_000, "the thread goes on by itself");
    }

    #[test]
    fn a_file_that_others_have_made_non_blocking_loses_nothing() {
        let (reader, file) = pipe().unwrap();
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let writer = BackgroundWriter::start(file, dropped).unwrap();
        (0..5_000).for_each(|number| writer.write(&line(number)));
        drop(writer);
        assert_eq!(BufReader::new(reader).lines().count(), 5_000);
    }
}
