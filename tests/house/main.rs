//! The rules that the code keeps, looked up in its sources: which room may know of which, which room
//! holds the key to which foreign crate, what calls what, and what is never done where. Each rule is shown
//! to find a planted fault, too.
//!
//! This file has the rules as tables, and the tests. `source` takes a file apart; `rules` are those that one
//! file keeps or breaks by itself. `examples` are those of the
//! documentation. `index`, `types`, `values` and `calls` find out what uses what, `circles`
//! and `inside` what is wrong with it; `planted` tries all of that on small sources.
//!
//! `TELEX_HOUSE_VERBOSE=1 cargo test --test house -- --nocapture` prints what the exceptions below let pass.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod calls;
mod circles;
mod examples;
mod index;
mod inside;
mod planted;
mod rules;
mod source;
mod types;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use circles::{Use, circles};
use index::Index;
use rules::{RULES, RULES_OF_ALL};
use source::Source;

/// The floors, from the ground up. A room imports only from floors below its own. `limits` stands
/// below the other words, which are told there how long they may be.
const FLOORS: &[&[&str]] = &[
    &["limits"],
    &[
        "name",
        "topic",
        "address",
        "clock",
        "duration",
        "panics",
        "plugin_settings",
        "protocol",
        "coming_from",
    ],
    &["wire"],
    &["cluster"],
    &["core", "client"],
    &["node", "listen", "toml_file"],
    &["net", "store", "plugin", "sys", "config", "hub", "profile", "service"],
    &["daemon"],
];

/// The rooms of the library that the command `telex` is built from; the rest is the daemon's.
const CLIENT_ROOMS: &[&str] = &[
    "address", "client", "clock", "cluster", "duration", "limits", "name", "node", "panics", "profile",
    "topic", "wire",
];

/// Those of them that are a feature of their own.
const FEATURE_ROOMS: &[&str] = &["profile"];

/// Which rooms may use which foreign crate. `bin` is the command line of both programs.
const KEYS: &[(&str, &[&str])] = &[
    ("clap", &["bin"]),
    ("clap_complete", &["bin"]),
    ("clap_mangen", &["bin"]),
    ("crc32fast", &["sys"]),
    ("hashbrown", &["core"]),
    ("hdrhistogram", &["bin"]),
    ("itoa", &["wire", "core"]),
    ("lexopt", &["config"]),
    ("libloading", &["plugin"]),
    ("memchr", &["name", "wire", "core"]),
    ("mio", &["net"]),
    ("nix", &["listen", "net", "plugin", "service", "sys", "bin"]),
    ("postcard", &["core", "daemon"]),
    ("pulldown_cmark", &["bin"]),
    ("ratatui", &["bin"]),
    ("rustyline", &["bin"]),
    ("sd_notify", &["listen", "service", "sys"]),
    ("serde", &["address", "clock", "wire", "core", "listen", "config", "daemon", "bin"]),
    ("serde_bytes", &["wire", "core"]),
    ("serde_json", &["wire", "client", "node", "config", "bin"]),
    ("shell_words", &["bin"]),
    ("signal_hook", &["service", "sys", "bin"]),
    ("signal_hook_mio", &["sys"]),
    ("simdutf8", &["wire"]),
    ("slotmap", &["core", "net"]),
    ("telex_plugin", &["plugin"]),
    ("terminal_size", &["bin"]),
    ("toml", &["config", "profile", "toml_file"]),
    ("toml_edit", &["bin"]),
    ("unicode_width", &["bin"]),
    ("wide", &["wire"]),
];

/// What the state of the core is carried to another process with, which the daemon alone does.
const CARRIES: &[&str] = &["postcard", "serde", "serde_bytes"];

/// All that a program brings in which wants the client alone.
const CRATES_OF_THE_CLIENT: &[&str] = &[
    "bytemuck",
    "hashbrown",
    "itoa",
    "memchr",
    "safe_arch",
    "serde_core",
    "serde_json",
    "simdutf8",
    "slotmap",
    "telexd",
    "wide",
    "zmij",
];

/// Crates whose rooms are not built yet: nobody has their keys.
const NO_KEYS: &[&str] = &["rusqlite", "syslog"];

/// The only files with `unsafe` in them.
const UNSAFE_FILES: &[&str] = &[
    "src/plugin/ffi/call.rs",
    "src/plugin/ffi/host.rs",
    "src/plugin/ffi/mod.rs",
    "src/plugin/ffi/text.rs",
    "src/listen/inherited.rs",
    "src/sys/descriptors.rs",
    "src/sys/handover.rs",
];

/// What the floors up to the core never do, by the words that do it.
const NEVER_BELOW_THE_EDGES: &[&str] = &[
    "Instant",
    "SystemTime",
    "std::env",
    "std::fs",
    "std::os",
    "std::process",
    "std::thread",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "thread_local",
    "println",
    "eprintln",
    "print",
    "eprint",
    "dbg",
    "log::",
    "rand::",
    "serde_json::Value",
];

/// The rooms that have threads of their own: plugins are made, and say things, on others than the loop's; `sys` writes
/// to files, and reads them, that may make it wait.
const THREADED_ROOMS: &[&str] = &["client", "node", "plugin", "service", "sys"];

/// What a daemon of one thread has no use for.
const NEVER_IN_THE_DAEMON: &[&str] = &["RefCell", "Mutex", "RwLock", "async", "await", "mpsc"];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["manager", "handler", "helper", "helpers", "util", "utils", "common", "types"];

/// Lines of a file, without its tests.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function, its signature and its braces included, in tests, too.
const FUNCTION_LINES_MAX: usize = 70;

/// Functions that are still longer than that.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    ("plugins/abi/tests/header.rs", "facts"),
    ("tests/process/bad_peers.rs", "lines_of_every_wrong_kind"),
    ("tests/simulation/control.rs", "register"),
    ("tests/simulation/handling.rs", "read"),
    ("tests/simulation/peers.rs", "control_line"),
    ("tests/simulation/routing.rs", "publish"),
    ("tests/simulation/shell.rs", "after"),
];

/// Rooms whose files still use each other in a circle, by calls or by names. For `core` see below.
const ROOMS_WITH_CIRCLES: &[&str] = &["daemon"];

/// Whether `core` has the shape that the next tables are about: until then its floors and the places of
/// `impl Core` are not looked at.
const CORE_HAS_FLOORS: bool = true;

/// The floors inside `core`, from the ground up, by its files and folders (`table/`). What stands on one
/// calls only what stands on it or below, and no files call each other in a circle. To import a type, or to
/// make a value by naming its fields, is no call.
const CORE_FLOORS: &[&[&str]] = &[
    // Words.
    &[
        "emission",
        "event",
        "happening",
        "order",
        "own_line",
        "parcel",
        "peer",
        "phase",
        "refusals",
        "repeats",
        "stats",
        "tuning",
    ],
    // Tables.
    &["table/"],
    // Nouns.
    &[
        "after",
        "blocks",
        "budget",
        "desk",
        "gate",
        "kept_back",
        "outbox",
        "post",
        "row",
        "rows",
        "session",
        "sessions",
        "stalls",
        "traffic",
    ],
    &["acts/", "check"],
    &["mod"],
];

/// Where `impl Core` may stand.
const CORE_IMPLS: &[&str] = &["mod", "acts/"];

/// The rooms whose public functions all occur in an example.
const ROOMS_WITH_EXAMPLES: &[&str] =
    &["address", "client", "cluster", "hub", "name", "node", "profile", "service"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources in these folders of the repository and below.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.extend((entry.file_name() != "target").then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(root().join(&path)).unwrap();
                files.push(Source::new(path.to_str().unwrap(), &text));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    source::mark_tests(&mut files);
    files
}

fn is_verbose() -> bool {
    std::env::var_os("TELEX_HOUSE_VERBOSE").is_some()
}

#[test]
fn the_sources_keep_the_rules() {
    let files = sources(&["src"]);
    assert!(files.len() > 50, "only {} sources were found", files.len());
    let mut faults = Vec::new();
    for (name, rule) in RULES {
        faults.extend(files.iter().flat_map(rule).map(|fault| format!("[{name}] {fault}")));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn all_sources_keep_the_rules_of_all() {
    let files = sources(&["src", "tests", "plugins"]);
    assert!(files.len() > 150, "only {} sources were found", files.len());
    let mut faults = Vec::new();
    for (name, rule) in RULES_OF_ALL {
        faults.extend(files.iter().flat_map(rule).map(|fault| format!("[{name}] {fault}")));
    }
    for (path, name) in LONG_FUNCTIONS {
        let file = files.iter().find(|file| file.path == *path);
        if !file.is_some_and(|file| rules::long_functions(file).iter().any(|long| long.name == *name)) {
            faults.push(format!("{path}: {name} can be taken off LONG_FUNCTIONS"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn core_has_floors() {
    let files = sources(&["src"]);
    let faults = inside::core(&Index::new(&files));
    if is_verbose() {
        println!("{} faults in core:\n{}", faults.len(), faults.join("\n"));
    }
    assert!(!CORE_HAS_FLOORS || faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn no_room_has_a_circle() {
    let files = sources(&["src"]);
    let uses = inside::uses(&Index::new(&files));
    let mut faults = Vec::new();
    for room in FLOORS.iter().copied().flatten().filter(|room| **room != "core") {
        let of_room: Vec<Use> =
            uses.iter().filter(|it| it.from.starts_with(&format!("src/{room}/"))).cloned().collect();
        let found: Vec<String> = circles(&of_room).iter().map(ToString::to_string).collect();
        let is_known = ROOMS_WITH_CIRCLES.contains(room);
        if is_verbose() {
            println!("{room}: {} circles\n{}", found.len(), found.join("\n"));
        }
        match is_known {
            true if found.is_empty() => faults.push(format!("{room} can be taken off ROOMS_WITH_CIRCLES")),
            true => {}
            false => faults.extend(found),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_public_function_has_an_example_that_runs() {
    let faults = examples::faults(&sources(&["src"]), ROOMS_WITH_EXAMPLES);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_dependency_has_a_room() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let there: BTreeMap<String, bool> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.replace('-', "_"), value.get("optional").is_some()))
        .collect();
    let listed: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
    assert_eq!(there.keys().map(String::as_str).collect::<Vec<_>>(), listed);
    for (name, is_optional) in there {
        let rooms = KEYS.iter().find(|(key, _)| *key == name).map(|(_, rooms)| *rooms).unwrap();
        let is_needed =
            |room: &&str| CLIENT_ROOMS.contains(room) && !FEATURE_ROOMS.contains(room) || *room == "core";
        let of_client = rooms.iter().any(is_needed) && !CARRIES.contains(&&*name);
        assert_ne!(
            of_client, is_optional,
            "{name}: what core and client need is there without features, the rest is not"
        );
    }
}

/// What one version writes another one must not read otherwise.
#[test]
fn the_state_that_is_carried_is_of_its_version() {
    const CARRIED: [&str; 2] = [
        "#[cfg_attr(feature = \"daemon\", derive(serde::Serialize, serde::Deserialize))]\n",
        "#[derive(Debug, Serialize, Deserialize)]\npub(super) struct Passed",
    ];
    let mut types: Vec<String> = Vec::new();
    for file in sources(&["src"]) {
        let text = std::fs::read_to_string(root().join(&file.path)).unwrap();
        types.extend(CARRIED.iter().flat_map(|mark| text.split(mark).skip(1)).map(|rest| {
            let lines = rest.lines().take_while(|line| *line != "}" && !line.is_empty());
            lines.filter(|line| !line.trim_start().starts_with("///")).collect()
        }));
    }
    assert!(types.len() > 50, "{} types", types.len());
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = types.concat().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    assert_eq!(
        (telex::core::STATE_VERSION, hash),
        (1, 7_882_657_654_318_961_413),
        "something that is carried has changed: raise STATE_VERSION, and write both down here"
    );
}

#[test]
fn the_client_alone_brings_in_few_crates() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--quiet", "--package", "telexd", "--no-default-features"]);
    cargo.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]).current_dir(root());
    let told = cargo.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = String::from_utf8(told.stdout).unwrap();
    let crates: BTreeSet<&str> = told.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(crates.into_iter().collect::<Vec<_>>(), CRATES_OF_THE_CLIENT);
}

#[test]
fn the_documentation_opens_at_the_library() {
    // Cargo opens the first that it shows, by the names of packages.
    for entry in std::fs::read_dir(root().join("plugins")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join("src/lib.rs").exists() {
            let manifest: toml::Table =
                std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
            let is_shown = manifest.get("lib").and_then(|lib| lib.get("doc")?.as_bool()).unwrap_or(true);
            assert!(!is_shown, "{}: [lib] lacks doc = false", folder.display());
        }
    }
}

#[test]
fn the_top_level_is_the_one_agreed_on() {
    let agreed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "etc",
        "findings",
        "plugins",
        "src",
        "systemd",
        "target",
        "tests",
    ];
    let mut strange = Vec::new();
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && !agreed.contains(&name.as_str()) {
            strange.push(name);
        }
    }
    assert!(strange.is_empty(), "{strange:?}");
}
