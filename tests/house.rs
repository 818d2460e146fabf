//! The rules that the code keeps, looked up in its sources: which room may know of which, which room
//! holds the key to which foreign crate, and what is never done where. Each rule is shown to find a
//! planted fault, too.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors, from the ground up. A room imports only from floors below its own. `limits` stands
/// below the other words, which are told there how long they may be.
const FLOORS: &[&[&str]] = &[
    &["limits"],
    &["name", "topic", "address", "clock", "duration", "plugin_settings", "protocol"],
    &["wire"],
    &["core", "client"],
    &["net", "store", "plugin", "sys", "config"],
    &["daemon"],
];

/// The rooms of the library that the command `telex` is built from; the rest is the daemon's.
const CLIENT_ROOMS: &[&str] = &["address", "client", "clock", "duration", "limits", "name", "topic", "wire"];

/// Which rooms may use which foreign crate. `bin` is the command line of both programs.
const KEYS: &[(&str, &[&str])] = &[
    ("clap", &["bin"]),
    ("hashbrown", &["core"]),
    ("itoa", &["wire", "core"]),
    ("lexopt", &["config"]),
    ("libloading", &["plugin"]),
    ("memchr", &["name", "wire", "core"]),
    ("mio", &["net"]),
    ("nix", &["net", "plugin", "sys"]),
    ("sd_notify", &["sys"]),
    ("serde", &["config"]),
    ("serde_json", &["wire", "client", "config", "bin"]),
    ("signal_hook", &["sys"]),
    ("signal_hook_mio", &["sys"]),
    ("simdutf8", &["wire"]),
    ("slotmap", &["core", "daemon"]),
    ("telex_plugin", &["plugin"]),
    ("toml", &["config"]),
    ("wide", &["wire"]),
];

/// Crates whose rooms are not built yet: nobody has their keys.
const NO_KEYS: &[&str] = &["rusqlite", "syslog"];

/// The only files with `unsafe` in them.
const UNSAFE_FILES: &[&str] = &[
    "src/plugin/ffi/call.rs",
    "src/plugin/ffi/host.rs",
    "src/plugin/ffi/mod.rs",
    "src/plugin/ffi/text.rs",
    "src/sys/descriptors.rs",
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

/// The rooms that have threads of their own: plugins are made, and say things, on others than the loop's.
const THREADED_ROOMS: &[&str] = &["client", "plugin"];

/// What a daemon of one thread has no use for.
const NEVER_IN_THE_DAEMON: &[&str] = &["RefCell", "Mutex", "RwLock", "async", "await", "mpsc"];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["manager", "handler", "helper", "helpers", "util", "utils", "common", "types"];

/// Lines of a file, without its tests.
const FILE_LINES_MAX: usize = 500;

struct File {
    /// From the root of the repository on.
    path: String,
    text: String,
    /// The text without comments, literals and tests.
    code: String,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        let product = &text[..start_of_tests(text)];
        File { path: path.to_owned(), text: text.to_owned(), code: blank(product) }
    }

    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = inside.split('/').next().unwrap_or(inside);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn floor(&self) -> Option<usize> {
        floor_of(self.room())
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
    }

    fn fault(&self, text: impl std::fmt::Display) -> String {
        format!("{}: {text}", self.path)
    }
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// Where the tests at the end of a file begin.
fn start_of_tests(text: &str) -> usize {
    let begins = |mark: &str| text.find(mark);
    begins("\n#[cfg(test)]\nmod ").or_else(|| begins("\n#[cfg(test)]\npub(super) mod ")).unwrap_or(text.len())
}

/// The source with comments and literals blanked out, so that words in them are no words of code.
fn blank(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped =
            comment(rest).or_else(|| raw_string(rest)).or_else(|| string(rest)).or_else(|| char(rest));
        match skipped {
            Some(length) => {
                out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |end| end + 2));
    }
    text.starts_with("//").then(|| text.find('\n').unwrap_or(text.len()))
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.chars().take_while(|&c| c == '#').count();
    let open = text[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let length = open.find(&close)? + close.len();
    Some(2 + hashes + length)
}

fn string(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.find(|c| {
        let is_end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end
    });
    Some(end.map_or(text.len(), |end| end + 2))
}

/// A character, which a lifetime (`'a`) is not.
fn char(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let escaped = inside.starts_with('\\');
    let first = inside.chars().next()?.len_utf8();
    let end = if escaped { 2 + inside[2..].find('\'')? } else { first };
    inside[end..].starts_with('\'').then_some(end + 2)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands by itself, not as a part of another one or of a longer path.
fn finds<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        before.is_none_or(|c| !is_word(c) && c != '$')
            && (word.ends_with("::") || after.is_none_or(|c| !is_word(c)))
    })
}

/// The first names behind `root::`, also of `root::{a, b::c}`.
fn imports<'a>(code: &'a str, root: &'a str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for at in finds(code, root) {
        if code[..at].ends_with("::") {
            continue;
        }
        let Some(path) = code[at + root.len()..].strip_prefix("::") else { continue };
        match path.strip_prefix('{') {
            None => found.push(first_name(path)),
            Some(group) => found.extend(members(group)),
        }
    }
    found
}

fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    &path[..path.find(|c| !is_word(c)).unwrap_or(path.len())]
}

/// The first names of the members of a group, up to its closing brace.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.push(first_name(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn floors(file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    if file.room() == "lib" || file.is_test() {
        return faults;
    }
    if file.path.starts_with("src/bin/telex/") {
        let strange = |room: &&str| !CLIENT_ROOMS.contains(room);
        let rooms = imports(&file.code, "telex").into_iter().filter(strange);
        return rooms
            .map(|room| file.fault(format!("the command imports {room}, which is the daemon's")))
            .collect();
    }
    if file.room() == "bin" {
        return faults;
    }
    let Some(floor) = file.floor() else {
        return vec![file.fault(format!("the room {} stands on no floor", file.room()))];
    };
    for room in imports(&file.code, "crate") {
        match floor_of(room) {
            _ if room == file.room() => {}
            Some(below) if below < floor => {}
            Some(_) => faults.push(file.fault(format!("imports {room}, which is on no floor below its own"))),
            None => faults.push(file.fault(format!("imports crate::{room}, which is no room"))),
        }
    }
    faults
}

/// A room is left by `crate::` alone, where the floors are looked at.
fn back_doors(file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    let inside = file.path.trim_start_matches("src/");
    let is_door = !inside.contains('/') || inside.ends_with("/mod.rs") && inside.matches('/').count() == 1;
    if is_door && file.room() != "lib" && finds(&file.code, "super::").next().is_some() {
        faults.push(file.fault("leaves its room by super::"));
    }
    if file.code.contains("super::super") {
        faults.push(file.fault("climbs by super::super; rooms are reached by crate::"));
    }
    faults
}

fn keys(file: &File) -> Vec<String> {
    if file.is_test() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let none: &[&str] = &[];
    for (name, rooms) in KEYS.iter().copied().chain(NO_KEYS.iter().map(|&name| (name, none))) {
        let mut uses = finds(&file.code, name).filter(|&at| {
            let (before, after) = (&file.code[..at], &file.code[at + name.len()..]);
            !before.ends_with("::") && (after.starts_with("::") || before.trim_end().ends_with("use"))
        });
        if uses.next().is_some() && !rooms.contains(&file.room()) {
            faults.push(file.fault(format!("uses {name}, which belongs to: {}", rooms.join(", "))));
        }
    }
    faults
}

fn plaques(file: &File) -> Vec<String> {
    if file.room() == "lib" || file.room() == "bin" || file.is_test() {
        return Vec::new();
    }
    let mut lines = file.text.lines().take_while(|line| line.starts_with("//!"));
    let mut faults = Vec::new();
    if !lines.next().is_some_and(|line| line.starts_with("//! Knows ")) {
        faults.push(file.fault("its first line is not \"//! Knows …\""));
    }
    if !lines.any(|line| line.starts_with("//! Never: ")) {
        faults.push(file.fault("its head has no line \"//! Never: …\""));
    }
    faults
}

fn unsafety(file: &File) -> Vec<String> {
    let may = UNSAFE_FILES.contains(&file.path.as_str());
    let does = finds(&blank(&file.text), "unsafe").next().is_some();
    if does && !may { vec![file.fault("has unsafe code in it")] } else { Vec::new() }
}

fn banned(file: &File) -> Vec<String> {
    let Some(floor) = file.floor().filter(|_| !file.is_test()) else { return Vec::new() };
    let is_pure = Some(floor) <= floor_of("core") && file.room() != "client";
    let below: &[&str] = if is_pure { NEVER_BELOW_THE_EDGES } else { &[] };
    let daemon: &[&str] = if THREADED_ROOMS.contains(&file.room()) { &[] } else { NEVER_IN_THE_DAEMON };
    let words = below.iter().chain(daemon);
    let found = words.filter(|word| finds(&file.code, word).any(|at| !is_path_tail(&file.code, at)));
    found.map(|word| file.fault(format!("has {word} in it"))).collect()
}

/// Whether what stands at `at` is the end of a path that begins elsewhere (`x.log::`), not a name of
/// its own: `std::time::Instant` is to be found, a method `.print` is not.
fn is_path_tail(code: &str, at: usize) -> bool {
    code[..at].ends_with('.')
}

fn lengths(file: &File) -> Vec<String> {
    let lines = file.text[..start_of_tests(&file.text)].lines().count();
    match lines > FILE_LINES_MAX && !file.is_test() {
        true => {
            vec![file.fault(format!("has {lines} lines without its tests; {FILE_LINES_MAX} is the most"))]
        }
        false => Vec::new(),
    }
}

fn names(file: &File) -> Vec<String> {
    let stem = Path::new(&file.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    match EMPTY_NAMES.contains(&stem) || EMPTY_NAMES.contains(&file.room()) {
        true => vec![file.fault("its name says nothing")],
        false => Vec::new(),
    }
}

type Rule = fn(&File) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("floors", floors),
    ("back doors", back_doors),
    ("keys", keys),
    ("plaques", plaques),
    ("unsafe", unsafety),
    ("banned", banned),
    ("lengths", lengths),
    ("names", names),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources in these folders of the repository and below.
fn sources(folders: &[&str]) -> Vec<File> {
    let mut folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(root().join(&path)).unwrap();
                files.push(File::new(path.to_str().unwrap(), &text));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
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

/// A test that is ignored is run by nobody; what is run by hand is an example or a program.
fn ignored(file: &File) -> Vec<String> {
    let is_there = blank(&file.text).contains("#[ignore");
    is_there.then(|| file.fault("has a test that is ignored")).into_iter().collect()
}

#[test]
fn no_test_is_ignored() {
    let files = sources(&["src", "tests", "plugins"]);
    assert!(files.len() > 150, "only {} sources were found", files.len());
    let faults: Vec<String> = files.iter().flat_map(ignored).collect();
    assert!(faults.is_empty(), "{faults:?}");
    let plant = "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n";
    assert_eq!(ignored(&File::new("tests/x.rs", plant)).len(), 1);
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
        let of_client = rooms.iter().any(|room| CLIENT_ROOMS.contains(room) || *room == "core");
        assert_ne!(
            of_client, is_optional,
            "{name}: what core and client need is there without features, the rest is not"
        );
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

#[test]
fn every_rule_finds_a_planted_fault() {
    let head = "//! Knows a thing.\n//! Never: another.\n";
    let long = format!("{head}{}", "// a line\n".repeat(500));
    let plants: &[(&str, &str, &str, &str)] = &[
        ("floors", "src/core/x.rs", "use crate::net::Stream;\n", "net"),
        ("floors", "src/core/x.rs", "fn f() { crate::sys::now(); }\n", "sys"),
        ("floors", "src/net/x.rs", "use crate::{address, config::Config};\n", "config"),
        ("floors", "src/client/x.rs", "use crate::core::Core;\n", "core"),
        ("floors", "src/wire/x.rs", "use crate::client;\n", "client"),
        ("floors", "src/limits.rs", "use crate::name::BadName;\n", "name"),
        ("floors", "src/core/x.rs", "use crate::SessionKey;\n", "no room"),
        ("floors", "src/attic/x.rs", "fn f() {}\n", "no floor"),
        ("floors", "src/bin/telex/x.rs", "use telex::core::Core;\n", "daemon's"),
        ("back doors", "src/core/mod.rs", "use super::net;\n", "super"),
        ("back doors", "src/name.rs", "use super::net;\n", "super"),
        ("back doors", "src/core/x.rs", "use super::super::net;\n", "super"),
        ("keys", "src/daemon/x.rs", "use mio::Poll;\n", "mio"),
        ("keys", "src/daemon/x.rs", "fn f() { nix::unistd::getuid(); }\n", "nix"),
        ("keys", "src/core/x.rs", "use serde_json::Value;\n", "serde_json"),
        ("keys", "src/core/x.rs", "use signal_hook_mio as hook;\n", "signal_hook_mio"),
        ("keys", "src/store/x.rs", "use rusqlite::Connection;\n", "rusqlite"),
        ("unsafe", "src/sys/x.rs", "fn f() { unsafe { g() } }\n", "unsafe"),
        ("banned", "src/core/x.rs", "use std::time::Instant;\n", "Instant"),
        ("banned", "src/core/x.rs", "fn f() { std::fs::read(p); }\n", "std::fs"),
        ("banned", "src/core/x.rs", "fn f() { eprintln!(); }\n", "eprintln"),
        ("banned", "src/core/x.rs", "fn f() { log::info!(); }\n", "log::"),
        ("banned", "src/wire/x.rs", "use std::net::TcpStream;\n", "TcpStream"),
        ("banned", "src/daemon/x.rs", "use std::cell::RefCell;\n", "RefCell"),
        ("names", "src/core/helpers.rs", "", "says nothing"),
        ("names", "src/utils/mod.rs", "", "says nothing"),
    ];
    let rule = |wanted: &str| RULES.iter().find(|(name, _)| *name == wanted).unwrap().1;
    for (name, path, text, told) in plants {
        let faults = rule(name)(&File::new(path, &format!("{head}{text}")));
        assert_eq!(faults.len(), 1, "{name}: {path}: {text}: {faults:?}");
        assert!(faults[0].contains(told), "{faults:?}");
    }
    for (name, text) in
        [("plaques", "//! Never: x\n"), ("plaques", "//! Knows x\nfn f() {}\n"), ("lengths", &long)]
    {
        let faults = rule(name)(&File::new("src/core/x.rs", text));
        assert_eq!(faults.len(), if text.starts_with("//! Never") { 2 } else { 1 }, "{name}: {faults:?}");
    }
    let innocent = File::new(
        "src/core/x.rs",
        "//! Knows x.\n//! Never: y.\n// crate::net, unsafe\nconst A: &str = \"use mio::Poll; \\\" std::fs\";\nconst B: &str = r#\"\"unsafe\"\"#;\n\
         fn f<'a>(x: &'a str) -> char { x.print(); '\"' }\nuse crate::{core, wire::{frame, json}};\n\n#[cfg(test)]\nmod tests {\n    use super::super::x;\n    use crate::net;\n}\n",
    );
    for (name, rule) in RULES {
        assert_eq!(rule(&innocent), Vec::<String>::new(), "{name}");
    }
}
