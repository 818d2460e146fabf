//! Holds the simulation to its word: faults are planted into copies of the core, one each, and it
//! has to find every one of them. A few minutes on two cores, most of it for compiling.

#[path = "support/needs.rs"]
mod needs;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

const FAULTS: [&str; 6] = [
    "fate_told_twice",
    "line_lost_at_a_pause",
    "order_swapped_at_a_resume",
    "queue_over_its_bound",
    "request_leaked_at_a_leave",
    "end_told_before_fates",
];

#[test]
fn the_simulation_finds_planted_faults() {
    if !needs::programs(&["git"]) {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let mut unnoticed = Vec::new();
    for fault in FAULTS {
        let started = Instant::now();
        let copy = copy_sources(root, &place);
        plant(&root.join("tests/faults").join(fault).with_extension("patch"), fault, &copy);
        let built = simulation(&copy, &place, &["--no-run"]);
        assert!(built.status.success(), "{fault} does not compile any more:\n{}", text_of(&built));
        let ran = simulation(&copy, &place, &["--", "promises"]);
        let text = text_of(&ran);
        let divergence = text.lines().find(|line| line.starts_with("DIVERGENCE: "));
        match (divergence, ran.status.success()) {
            (Some(divergence), false) => println!("{fault}: {divergence} ({:.0?})", started.elapsed()),
            (_, true) => unnoticed.push(fault),
            (None, false) => panic!("{fault}: the simulation failed, but not by a divergence:\n{text}"),
        }
    }
    assert!(unnoticed.is_empty(), "the simulation does not notice {unnoticed:?}");
}

/// A fresh copy of all that the simulation is built from. Its place is the same for every fault, so
/// that what does not depend on the fault is compiled once.
fn copy_sources(root: &Path, place: &Path) -> PathBuf {
    let copy = place.join("copy");
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("the copy of the last fault can be removed");
    }
    for part in ["src", "plugins", "tests/simulation", "tests/fuzz/targets"] {
        copy_tree(&root.join(part), &copy.join(part));
    }
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).expect("Cargo.lock can be copied");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml can be read");
    // The simulation needs no development dependencies, and they take long to compile.
    let (before, from) = manifest.split_once("[dev-dependencies]").expect("the section is there");
    let after = from.find("\n[").map_or("", |at| &from[at..]);
    fs::write(copy.join("Cargo.toml"), format!("{before}{after}")).expect("Cargo.toml can be written");
    copy
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("a source directory can be read") {
        let entry = entry.expect("a directory entry can be read").path();
        let name = entry.file_name().expect("an entry has a name");
        match entry.is_dir() {
            // Of plugins that are built in their own places.
            true if name == OsStr::new("target") => {}
            true => copy_tree(&entry, &to.join(name)),
            false => drop(fs::copy(&entry, to.join(name)).expect("a source can be copied")),
        }
    }
}

fn plant(patch: &Path, fault: &str, copy: &Path) {
    let applied = Command::new("git")
        .args(["apply", "--verbose"])
        .arg(patch)
        .current_dir(copy)
        // The copy stands in a directory that the repository ignores: git must not look for that, or
        // it leaves out the patch without a word.
        .env("GIT_CEILING_DIRECTORIES", copy.parent().expect("the copy has a place"))
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .output()
        .expect("git can be started");
    let text = text_of(&applied);
    assert!(
        applied.status.success() && text.contains("cleanly"),
        "tests/faults/{fault}.patch no longer applies to src/core; plant the fault anew:\n{text}"
    );
}

fn simulation(copy: &Path, place: &Path, arguments: &[&str]) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--offline", "--no-default-features", "--test", "simulation"])
        .args(arguments)
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", place.join("target"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TELEX_SIM_")) {
        cargo.env_remove(name);
    }
    cargo.output().expect("cargo can be started")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
