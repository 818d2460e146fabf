//! What a filter costs for each message in the daemon that calls it: `cargo bench --bench plugins`.
//!
//! A core and its plugins, as the daemon has them, are handed lines; what is timed is the core alone, with no
//! socket about it. All arrangements of plugins take their turns in every round, and what is told is the
//! median of the rounds, so whatever else the machine does falls on all of them alike.
#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::fs::{self, Permissions};
use std::io::IoSlice;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use telex::clock::Now;
use telex::core::{About, Core, Gate, Identity, Input, Peer, SessionKey, Transport};
use telex::limits::Limits;
use telex::plugin::Plugins;
use telex::plugin_settings::{OnFault, PluginSettings};
use tempfile::TempDir;

const ROUNDS: usize = 2001;
const LINES: usize = 286;
const BODY_BYTES: usize = 128;
/// What one filter may cost, in nanoseconds.
const FILTER_NS_MAX: f64 = 60.0;

/// The same moment for ever, for nothing here waits.
const NOW: Now = Now { mono: Duration::ZERO, wall: Duration::ZERO };

/// How the lines come out of the socket.
#[derive(Clone, Copy)]
enum Reads {
    /// All in one, as of a sender that hurries.
    Together,
    /// Each by itself.
    OneByOne,
}

/// A core with its plugins, a sender and a receiver.
struct Arrangement {
    name: &'static str,
    filters: usize,
    /// Of those, how many are called.
    called: usize,
    core: Core,
    plugins: Plugins,
    sender: SessionKey,
    receiver: SessionKey,
    lines: u64,
    /// Nanoseconds for each message, one of every round.
    together: Vec<f64>,
    one_by_one: Vec<f64>,
}

impl Arrangement {
    fn new(name: &'static str, dir: &Path, filters: &[&str]) -> Arrangement {
        let limits = Limits::default();
        let settings = filters.iter().enumerate().map(|(nth, path)| settings(path, nth)).collect();
        let uid = nix::unistd::getuid().as_raw();
        let mut plugins =
            Plugins::start(settings, dir, "telexd bench", uid, limits.max_line_bytes, false, || {})
                .expect("plugins");
        let about = About { version: "0", host: "host".to_owned(), drain_timeout: Duration::ZERO };
        let mut core = Core::new(about, limits, NOW);
        let [sender, receiver] = [("a", 1), ("b", 2)].map(|(node_id, number)| {
            let session = core.open(number, peer(uid), NOW).expect("room");
            let register = format!("{{\"message_type\":\"register\",\"from\":\"{node_id}\"}}\n");
            core.handle(Input::Received { session, bytes: register.as_bytes() }, NOW, &mut plugins);
            session
        });
        let called = filters.iter().filter(|filter| **filter != "never_called").count();
        let mut made = Arrangement {
            name,
            filters: filters.len(),
            called,
            core,
            plugins,
            sender,
            receiver,
            lines: 2,
            together: Vec::new(),
            one_by_one: Vec::new(),
        };
        made.receive();
        made
    }

    /// Handles the lines, and keeps how long that took.
    fn handle(&mut self, reads: Reads, bytes: &[u8]) {
        let session = self.sender;
        let began = Instant::now();
        match reads {
            Reads::Together => {
                self.core.handle(Input::Received { session, bytes }, NOW, &mut self.plugins);
            }
            Reads::OneByOne => {
                for bytes in bytes.split_inclusive(|byte| *byte == b'\n') {
                    self.core.handle(Input::Received { session, bytes }, NOW, &mut self.plugins);
                }
            }
        }
        let took = began.elapsed().as_nanos() as f64 / LINES as f64;
        match reads {
            Reads::Together => self.together.push(took),
            Reads::OneByOne => self.one_by_one.push(took),
        }
        assert_eq!(self.receive(), bytes.len(), "{}: all lines have arrived as they were", self.name);
        self.lines += LINES as u64;
    }

    /// Takes what is there for the receiver; gives how many bytes that was.
    fn receive(&mut self) -> usize {
        let mut received = 0;
        loop {
            let mut slices = [IoSlice::new(b""); 64];
            let filled = self.core.transmit(self.receiver, &mut slices);
            let count: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            if count == 0 {
                return received;
            }
            self.core.wrote(self.receiver, count, NOW);
            received += count;
        }
    }

    /// Makes sure that the filters were called as often as they should have been.
    fn check(&self) {
        let counters = self.plugins.counters();
        let called: Vec<_> = counters.iter().map(|plugin| plugin.calls).filter(|calls| *calls > 0).collect();
        assert_eq!((counters.len(), called.len()), (self.filters, self.called), "{}", self.name);
        assert!(called.iter().all(|calls| *calls == self.lines), "{}: {called:?}", self.name);
    }
}

fn peer(uid: u32) -> Peer {
    let identity = Identity::Kernel { uid: Some(uid), gid: Some(uid), pid: 1 };
    Peer { transport: Transport::Unix, identity, administrator: false }
}

fn settings(path: &str, nth: usize) -> PluginSettings {
    PluginSettings {
        path: path.to_owned(),
        name: format!("{path}-{nth}"),
        config: "{}".to_owned(),
        required: true,
        on_fault: OnFault::Deny,
        // A machine that does something else meanwhile is no fault of theirs.
        budget: Duration::from_secs(10),
        strikes: u32::MAX,
    }
}

/// Builds `passes.c` as this file of a folder.
fn build_c(to: &Path, arguments: &[&str]) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    run(Command::new("cc")
        .args(["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"])
        .args(arguments)
        .arg("-I")
        .arg(here.join("plugins/abi/include"))
        .arg(here.join("tests/bench/filter/passes.c"))
        .arg("-o")
        .arg(to));
}

/// Builds `passes.rs` as this file.
fn build_rust(to: &Path) {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("passes");
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--offline", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/filter/Cargo.toml"))
        .arg("--target-dir")
        .arg(&built));
    fs::copy(built.join("release/libpasses.so"), to).expect("a copy");
}

fn run(command: &mut Command) {
    let status = command.status().expect("a compiler");
    assert!(status.success(), "{command:?}");
}

/// A folder with all filters in it. Nobody else may write there, or they would not be loaded.
fn filters() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    build_c(&dir.path().join("c.so"), &[]);
    build_c(&dir.path().join("never_called.so"), &["-DONLY=\"never\""]);
    build_rust(&dir.path().join("rust.so"));
    for file in fs::read_dir(dir.path()).expect("the directory") {
        let path = file.expect("a file").path();
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("chmod");
    }
    dir
}

/// Lines of a sender that does all it can for speed: nothing has to be added to them.
fn lines() -> Vec<u8> {
    let body = "x".repeat(BODY_BYTES);
    let line = |id| {
        format!(
            "{{\"message_id\":\"{id:09}\",\"message_type\":\"signal\",\
             \"from\":\"a\",\"to\":\"b\",\"body\":\"{body}\"}}\n"
        )
    };
    (0..LINES).map(line).collect::<String>().into_bytes()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let (dir, lines) = (filters(), lines());
    let mut arrangements = [
        ("no plugin", &[][..]),
        ("the same again", &[]),
        ("C, wants what never comes", &["never_called"]),
        ("C, passes everything", &["c"]),
        ("Rust, passes everything", &["rust"]),
        ("four of them, C and Rust", &["c", "rust", "c", "rust"]),
        ("eight that want nothing", &["never_called"; 8]),
    ]
    .map(|(name, filters)| Arrangement::new(name, dir.path(), filters));
    for round in 0..ROUNDS {
        for reads in [Reads::Together, Reads::OneByOne] {
            for nth in 0..arrangements.len() {
                let at = (nth + round) % arrangements.len();
                arrangements[at].handle(reads, &lines);
            }
        }
    }
    println!("ns for each line of {} bytes, median of {ROUNDS} rounds\n", lines.len() / LINES);
    println!("{:28}{:>24}{:>24}   {:>10}", "", format!("{LINES} lines a read"), "a line a read", "target");
    let mut bases = None;
    for arrangement in arrangements {
        arrangement.check();
        let Arrangement { name, called, together, one_by_one, .. } = arrangement;
        let medians = [median(together), median(one_by_one)];
        let bases = *bases.get_or_insert(medians);
        let [together, one_by_one] =
            [0, 1].map(|at| format!("{:.0} ({:+.1})", medians[at], medians[at] - bases[at]));
        let target = match called {
            0 => "+0".to_owned(),
            called => format!("< {:+.0}", FILTER_NS_MAX * called as f64),
        };
        println!("{name:28}{together:>24}{one_by_one:>24}   {target:>10}");
    }
}
