//! Every input that fuzzing has kept, run once more on a stable compiler.

use std::path::Path;

mod oracle;

#[path = "fuzz/targets/client.rs"]
mod client;
#[path = "fuzz/targets/core.rs"]
mod core;
#[path = "fuzz/targets/envelope.rs"]
mod envelope;
#[path = "fuzz/targets/frame.rs"]
mod frame;
#[path = "fuzz/targets/session.rs"]
mod session;
#[path = "fuzz/targets/state.rs"]
mod state;

/// Runs each file of `tests/fuzz/corpus/<target>`, and names those that fail.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.retain(|file| {
        let data = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        std::panic::catch_unwind(|| run(&data)).is_err()
    });
    assert!(files.is_empty(), "these fail: {files:#?}");
}

#[test]
fn client_corpus() {
    replay("client", client::run);
}

#[test]
fn core_corpus() {
    replay("core", core::run);
}

#[test]
fn frame_corpus() {
    replay("frame", frame::run);
}

#[test]
fn state_corpus() {
    replay("state", state::run);
}

#[test]
fn envelope_corpus() {
    replay("envelope", envelope::run);
}

#[test]
fn session_corpus() {
    replay("session", session::run);
}
