//! Holds the simulation to its word: it has to find every fault of `tests/faults`. A copy of the library has all of
//! them, each behind a switch that it alone has, so that it is built once and run once for each fault. That takes
//! about two minutes of one core, half of it for compiling.
//!
//! `TELEX_SIM_FIRST` and `TELEX_SIM_SEEDS` count here too.

#[path = "support/needs.rs"]
mod needs;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::Value;

/// What the copy's `lib.rs` has more than the original.
const SWITCH: &str = r#"
pub(crate) fn planted(fault: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("TELEX_PLANTED").ok()).as_deref() == Some(fault)
}
"#;

/// Those that a fault of this name has to be found by.
fn simulations(fault: Option<&str>) -> &'static [&'static str] {
    const ALL: &[&str] =
        &["clients_keep_the_promises", "the_core_keeps_its_promises", "spread_work_keeps_the_promises"];
    match fault {
        Some(fault) if fault.starts_with("client_") => &ALL[..1],
        Some(_) => &ALL[1..],
        None => ALL,
    }
}

#[test]
fn the_simulation_finds_planted_faults() {
    if !needs::programs(&["git"]) {
        return;
    }
    let started = Instant::now();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let faults = faults();
    let copy = copy_sources(&place);
    faults.iter().for_each(|fault| plant(fault, &copy));
    let built = cargo(&place, &["test", "--test", "simulation", "--no-run"]);
    if !built.status.success() {
        let errors = String::from_utf8_lossy(&built.stderr);
        panic!("{}\n{errors}", does_not_compile(&faults, &place));
    }
    let program = executable(&built);
    println!("built ({:.0?})", started.elapsed());

    let left = Mutex::new(std::iter::once(None).chain(faults.iter().map(Some)));
    let wrong = Mutex::new(Vec::new());
    let work = || {
        let next = || left.lock().expect("the other thread does not panic").next();
        while let Some(fault) = next() {
            match try_out(&program, fault.map(String::as_str)) {
                Ok(report) => println!("{report}"),
                Err(report) => wrong.lock().expect("the other thread does not panic").push(report),
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let wrong = wrong.into_inner().expect("no thread has panicked");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names of all patches.
fn faults() -> Vec<String> {
    let entries = fs::read_dir(patches()).expect("tests/faults can be read");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut faults: Vec<String> = paths.filter_map(stem).collect();
    faults.sort();
    faults
}

fn patches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")
}

/// Runs the simulation with one fault, which it has to find, or with none. Says what it found and how soon, or
/// what is wrong.
fn try_out(program: &Path, fault: Option<&str>) -> Result<String, String> {
    let started = Instant::now();
    let name = fault.unwrap_or("no fault");
    for simulation in simulations(fault) {
        let mut run = Command::new(program);
        run.args(["--exact", simulation]).env_remove("TELEX_PLANTED");
        run.envs(fault.map(|fault| ("TELEX_PLANTED", fault)));
        for name in ["TELEX_SIM_SEED", "TELEX_SIM_ACTIONS", "TELEX_SIM_TRACE", "TELEX_SIM_GOES_ON"] {
            run.env_remove(name);
        }
        let run = run.output().expect("the simulation can be started");
        let text = text_of(&run);
        if run.status.success() {
            continue;
        }
        let Some(divergence) = text.lines().position(|line| line.starts_with("DIVERGENCE: ")) else {
            return Err(format!("{name}: the simulation failed, but not by a divergence:\n{text}"));
        };
        let told = text.lines().skip(divergence).take(2).collect::<Vec<_>>().join(": ");
        let told: String = told.chars().take(240).collect();
        return match fault {
            Some(_) => Ok(format!("{name}: {told} ({:.1?})", started.elapsed())),
            None => Err(format!("without a fault the simulation fails:\n{text}")),
        };
    }
    match fault {
        Some(_) => Err(format!("the simulation does not find {name}")),
        None => Ok(format!("{name}: nothing was found ({:.1?})", started.elapsed())),
    }
}

/// A fresh copy of all that the simulation is built from.
fn copy_sources(place: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = place.join("copy");
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("the last copy can be removed");
    }
    // The documentation includes programs of several tests.
    for part in ["src", "plugins", "tests"] {
        copy_tree(&root.join(part), &copy.join(part));
    }
    let library = copy.join("src/lib.rs");
    let text = fs::read_to_string(&library).expect("src/lib.rs can be read");
    fs::write(&library, text + SWITCH).expect("src/lib.rs of the copy can be written");
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

fn plant(fault: &str, copy: &Path) {
    let applied = Command::new("git")
        .args(["apply", "--verbose"])
        .arg(patches().join(fault).with_extension("patch"))
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
        "tests/faults/{fault}.patch no longer applies; plant the fault anew:\n{text}"
    );
}

fn cargo(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--no-default-features", "--message-format=json-render-diagnostics"])
        .current_dir(place.join("copy"))
        .env("CARGO_TARGET_DIR", place.join("target"))
        .output()
        .expect("cargo can be started")
}

/// Says which of the faults do not compile, each tried by itself.
fn does_not_compile(faults: &[String], place: &Path) -> String {
    let compiles = |fault: &&String| {
        plant(fault, &copy_sources(place));
        cargo(place, &["check", "--lib"]).status.success()
    };
    let broken: Vec<_> = faults.iter().filter(|fault| !compiles(fault)).collect();
    format!("tests/faults: {broken:?} do not compile any more; plant them anew")
}

/// The program that cargo says it has built.
fn executable(built: &Output) -> PathBuf {
    let text = String::from_utf8_lossy(&built.stdout);
    let mut told = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = told.find_map(|told| told["executable"].as_str().map(PathBuf::from));
    program.expect("cargo says what it has built")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
