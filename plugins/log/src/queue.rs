//! Knows how records wait for a thread that writes them, how many were lost, and when trouble is told.
//! Never: what they look like, and where they go.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use telex_plugin::{Fault, Level, Record};

/// The longest that [`Sink::write`] waits for somebody to read.
pub const STEP: Duration = Duration::from_millis(100);
/// How long after an error it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long after its last error a sink is well again. Over UDP every other datagram fails while nobody
/// listens; that is one trouble, and not one a second.
const CALM: Duration = Duration::from_secs(3);
/// How long somebody who does not read is only slow.
const STUCK: Duration = Duration::from_secs(5);
/// How long the end of a queue waits for somebody who is slow.
const LAST: Duration = Duration::from_secs(2);

/// Tells the daemon's log what became of a sink.
pub type Tell = Box<dyn Fn(Level, &str) + Send>;
/// Appends a record as it is to be written.
pub type Format = Box<dyn Fn(&Record<'_>, &mut Vec<u8>) + Send + Sync>;

/// Where records go, from the queue's thread.
pub trait Sink: Send + 'static {
    /// What it is called when there is something to tell of it.
    fn name(&self) -> String;

    /// Writes some of the batch, and says how many bytes of it; none where nobody takes any within
    /// [`STEP`]. Opens first what is not open. After an error it is called again, a while later.
    fn write(&mut self, batch: &mut Batch) -> io::Result<usize>;

    /// Opens anew where it writes to.
    fn reopen(&mut self, batch: &mut Batch) -> io::Result<()>;

    /// What is odd about where it writes to, for the log. Called before records are written, with the time.
    fn look(&mut self, _now: SystemTime) -> Option<String> {
        None
    }
}

/// Records in the order in which they came, of which some have been written.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
    /// So many records have been written, and so many bytes.
    records_done: usize,
    done: usize,
    /// So many were lost, of which the last record tells.
    lost: u64,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} records left)", self.records_left())
    }
}

impl Batch {
    /// All that is not written yet, which may begin within a record.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.done..]
    }

    /// What is not written yet of the first record that is not wholly written.
    pub fn record(&self) -> &[u8] {
        let end = self.ends.get(self.records_done).copied().unwrap_or(self.done);
        &self.bytes[self.done..end]
    }

    /// Goes back to the beginning of a record that was written in part, for one that is torn in two is
    /// none, where it goes on elsewhere.
    pub fn restart_record(&mut self) {
        self.done = self.records_done.checked_sub(1).map_or(0, |last| self.ends[last]);
    }

    fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        self.records_done +=
            self.ends[self.records_done..].iter().take_while(|end| **end <= self.done).count();
    }

    fn is_empty(&self) -> bool {
        self.records_left() == 0
    }

    fn records_left(&self) -> usize {
        self.ends.len() - self.records_done
    }

    /// How many are lost where nothing of it is written any more.
    fn lost_with_it(&self) -> u64 {
        match self.lost {
            _ if self.is_empty() => 0,
            0 => self.records_left() as u64,
            lost => self.records_left() as u64 - 1 + lost,
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        (self.records_done, self.done, self.lost) = (0, 0, 0);
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: Batch,
    /// So many came after the last of `waiting`, and found no room.
    lost: u64,
    /// The thread has records in hand.
    is_busy: bool,
    reopen: bool,
    /// Nothing more comes; what is not written by then is lost.
    end: Option<Instant>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// What is lost now is lost because of an error.
    is_failing: AtomicBool,
    format: Format,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an order or the end of `pause`; while `batch` is empty, also for records.
    fn next(&self, batch: &mut Batch, pause: Duration) -> (bool, Option<Instant>) {
        let is_idle = batch.is_empty();
        let has_records = |state: &State| !state.waiting.is_empty() || state.lost > 0;
        let mut state = self.lock();
        state.is_busy = !is_idle;
        let nothing =
            |state: &mut State| !state.reopen && state.end.is_none() && !(is_idle && has_records(state));
        let waited = self.changed.wait_timeout_while(state, pause, nothing);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if is_idle && has_records(&state) {
            batch.clear();
            std::mem::swap(batch, &mut state.waiting);
            state.is_busy = true;
            batch.lost = std::mem::take(&mut state.lost);
            if batch.lost > 0 {
                self.write_lost(batch.lost, &mut batch.bytes);
                batch.ends.push(batch.bytes.len());
            }
        }
        (std::mem::take(&mut state.reopen), state.end)
    }

    /// The record that stands where `count` others are missing.
    fn write_lost(&self, count: u64, out: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            level: Level::Warning,
            time: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            event: "lost",
            message: &format!("{count} records lost"),
            fields: &format!("{{\"records\":{count}}}"),
            ..Record::default()
        };
        (self.format)(&record, out);
    }
}

/// A bounded queue of records, and the thread that writes them. Adding to it never waits; what finds no room
/// is counted, and a record in its place tells how much that was. When it is dropped, what is queued is
/// written as long as that takes no longer than two seconds and meets no error.
pub struct Queue {
    shared: Arc<Shared>,
    max_bytes: usize,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({:?})", self.shared.lock())
    }
}

impl Queue {
    /// Starts the thread, under a name of at most 15 bytes.
    pub fn start(
        thread: &str,
        max_bytes: usize,
        format: Format,
        mut sink: impl Sink,
        tell: Tell,
    ) -> Result<Queue, String> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            is_failing: AtomicBool::new(false),
            format,
        });
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name(thread.to_owned())
            .spawn(move || write_all(&of_thread, &mut sink, tell))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Queue { shared, max_bytes, thread: Some(thread) })
    }

    /// Adds a record. A fault where it is lost while the sink fails, or for ever: the daemon may know a
    /// better place for it.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.add_unless(record, |_| false)
    }

    /// Adds a record unless none waits, and `send` sends it at once.
    pub fn add_unless(&mut self, record: &Record<'_>, send: impl FnOnce(&[u8]) -> bool) -> Result<(), Fault> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(Fault);
        }
        let mut state = self.shared.lock();
        let is_idle = !state.is_busy && state.waiting.is_empty() && state.lost == 0;
        // After one that is lost, all are until the thread comes: none is to stand before the record that
        // tells of it.
        if state.lost == 0 {
            let begin = state.waiting.bytes.len();
            (self.shared.format)(record, &mut state.waiting.bytes);
            let end = state.waiting.bytes.len();
            let is_sent = is_idle && send(&state.waiting.bytes);
            if !is_sent && end <= self.max_bytes {
                state.waiting.ends.push(end);
                return Ok(());
            }
            state.waiting.bytes.truncate(begin);
            if is_sent {
                return Ok(());
            }
        }
        state.lost += 1;
        if self.shared.is_failing.load(Relaxed) { Err(Fault) } else { Ok(()) }
    }

    /// Wakes the thread for what was added.
    pub fn flush(&self) {
        self.shared.changed.notify_one();
    }

    /// Has the sink opened anew, before anything else is written.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.lock().end = Some(Instant::now() + LAST);
        self.shared.changed.notify_one();
        // A panic of the thread has told of itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the daemon's log was told of a sink: each change, and not each error.
struct Health<'a> {
    name: String,
    tell: Tell,
    trouble: Option<String>,
    failed: Instant,
    is_failing: &'a AtomicBool,
}

impl Health<'_> {
    fn fails(&mut self, why: String) {
        self.failed = Instant::now();
        self.is_failing.store(true, Relaxed);
        if self.trouble.as_ref() != Some(&why) {
            (self.tell)(Level::Error, &format!("cannot write to {}: {why}; what comes waits", self.name));
        }
        self.trouble = Some(why);
    }

    fn is_well(&mut self) {
        if self.trouble.is_some() && self.failed.elapsed() >= CALM {
            self.trouble = None;
            self.is_failing.store(false, Relaxed);
            (self.tell)(Level::Notice, &format!("{} is written to again", self.name));
        }
    }
}

fn write_all(shared: &Shared, sink: &mut impl Sink, tell: Tell) {
    let (name, failed) = (sink.name(), Instant::now());
    let mut health = Health { name, tell, trouble: None, failed, is_failing: &shared.is_failing };
    let mut batch = Batch::default();
    let mut pause = Duration::ZERO;
    let mut last_progress = Instant::now();
    let mut reopens = false;
    loop {
        let is_idle = batch.is_empty();
        if is_idle && !reopens {
            health.is_well();
            pause = if health.trouble.is_some() { CALM } else { Duration::MAX };
        }
        let (is_asked, end) = shared.next(&mut batch, pause);
        if is_idle {
            last_progress = Instant::now();
            if !batch.is_empty()
                && !reopens
                && !is_asked
                && let Some(odd) = sink.look(SystemTime::now())
            {
                (health.tell)(Level::Warning, &odd);
            }
        }
        reopens |= is_asked;
        let done = match reopens {
            true => sink.reopen(&mut batch).map(|()| None),
            false if batch.is_empty() => Ok(None),
            false => sink.write(&mut batch).map(Some),
        };
        let why = match done {
            Ok(Some(0)) if last_progress.elapsed() < STUCK => None,
            Ok(Some(0)) => Some(format!("nobody has read for {} s", STUCK.as_secs())),
            Ok(Some(bytes)) => {
                batch.advance(bytes);
                last_progress = Instant::now();
                None
            }
            Ok(None) => {
                reopens = false;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        pause = if why.is_some() { RETRY } else { Duration::ZERO };
        let is_over = |end| is_idle && batch.is_empty() || why.is_some() || Instant::now() >= end;
        let is_over = end.is_some_and(is_over);
        if let Some(why) = why {
            health.fails(why);
        }
        if is_over {
            break;
        }
    }
    let state = shared.lock();
    match batch.lost_with_it() + state.waiting.lost_with_it() + state.lost {
        0 => {}
        lost => (health.tell)(
            Level::Error,
            &format!("{lost} records lost, which {} has not taken at the end", health.name),
        ),
    }
}
