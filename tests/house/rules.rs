//! Knows the rules that a file keeps or breaks by itself.
//! Never: what other files have in them.

use std::path::Path;

use crate::source::{Function, Name, Source, Stands, functions, has_attribute, names};
use crate::{
    CLIENT_ROOMS, EMPTY_NAMES, FILE_LINES_MAX, FLOORS, FUNCTION_LINES_MAX, KEYS, LONG_FUNCTIONS,
    NEVER_BELOW_THE_EDGES, NEVER_IN_THE_DAEMON, NO_KEYS, THREADED_ROOMS, UNSAFE_FILES,
};

pub(crate) type Rule = fn(&Source) -> Vec<String>;

/// The rules of `src/`.
pub(crate) const RULES: &[(&str, Rule)] = &[
    ("floors", floors),
    ("back doors", back_doors),
    ("keys", keys),
    ("plaques", plaques),
    ("unsafe", unsafety),
    ("banned", banned),
    ("lengths", lengths),
    ("names", file_names),
];

/// The rules of all sources, tests and plugins among them.
pub(crate) const RULES_OF_ALL: &[(&str, Rule)] = &[("ignored", ignored), ("functions", function_lengths)];

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// The names that begin with this one and go on.
fn names_under<'a>(file: &'a Source, root: &str) -> impl Iterator<Item = &'a Name> {
    file.names.iter().filter(move |name| name.segments.len() > 1 && name.segments[0] == root)
}

fn floors(file: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    if file.room() == "lib" || file.is_test {
        return faults;
    }
    if file.path.starts_with("src/bin/telex/") {
        for name in names_under(file, "telex").filter(|name| !CLIENT_ROOMS.contains(&&*name.segments[1])) {
            let room = &name.segments[1];
            faults.push(file.fault_at(name.line, format!("the command uses {room}, which is the daemon's")));
        }
        return faults;
    }
    if file.room() == "bin" {
        return faults;
    }
    let Some(floor) = floor_of(file.room()) else {
        return vec![file.fault(format!("the room {} stands on no floor", file.room()))];
    };
    for name in names_under(file, "crate") {
        let room = &name.segments[1];
        match floor_of(room) {
            _ if room == file.room() => {}
            Some(below) if below < floor => {}
            Some(_) => faults
                .push(file.fault_at(name.line, format!("uses {room}, which is on no floor below its own"))),
            None => faults.push(file.fault_at(name.line, format!("uses crate::{room}, which is no room"))),
        }
    }
    faults
}

/// A room is left by `crate::` alone, where the floors are looked at.
fn back_doors(file: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let is_door = file.module().len() == 1 && file.room() != "bin";
    for name in names_under(file, "super").filter(|_| !file.is_test) {
        if name.segments[1] == "super" {
            faults.push(file.fault_at(name.line, "climbs by super::super; rooms are reached by crate::"));
        } else if is_door {
            faults.push(file.fault_at(name.line, "leaves its room by super::"));
        }
    }
    faults
}

fn keys(file: &Source) -> Vec<String> {
    if file.is_test {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let none: &[&str] = &[];
    for (key, rooms) in KEYS.iter().copied().chain(NO_KEYS.iter().map(|&key| (key, none))) {
        let is_use = |name: &&Name| {
            name.segments[0] == key && (name.segments.len() > 1 || name.stands != Stands::Code)
        };
        if let Some(name) = file.names.iter().find(is_use).filter(|_| !rooms.contains(&file.room())) {
            let owners = rooms.join(", ");
            faults.push(file.fault_at(name.line, format!("uses {key}, which belongs to: {owners}")));
        }
    }
    faults
}

fn plaques(file: &Source) -> Vec<String> {
    if file.room() == "lib" || file.room() == "bin" || file.is_test {
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

fn unsafety(file: &Source) -> Vec<String> {
    let may = UNSAFE_FILES.contains(&file.path.as_str());
    let all = names(file.tokens.clone());
    let first = all.iter().find(|name| name.segments[0] == "unsafe").filter(|_| !may);
    first.map(|name| file.fault_at(name.line, "has unsafe code in it")).into_iter().collect()
}

fn banned(file: &Source) -> Vec<String> {
    let Some(floor) = floor_of(file.room()).filter(|_| !file.is_test) else { return Vec::new() };
    let is_pure = Some(floor) <= floor_of("core") && file.room() != "client";
    let below: &[&str] = if is_pure { NEVER_BELOW_THE_EDGES } else { &[] };
    let daemon: &[&str] = if THREADED_ROOMS.contains(&file.room()) { &[] } else { NEVER_IN_THE_DAEMON };
    let mut faults = Vec::new();
    for word in below.iter().chain(daemon) {
        if let Some(name) = file.names.iter().find(|name| has(name, word)) {
            faults.push(file.fault_at(name.line, format!("has {word} in it")));
        }
    }
    faults
}

/// Whether these words stand in a name, one behind the other: `Instant` and `time::` in `std::time::Instant`.
fn has(name: &Name, words: &str) -> bool {
    let words: Vec<&str> = words.split("::").collect();
    let is_same = |part: &[String]| part.iter().zip(&words).all(|(one, word)| one == word || word.is_empty());
    name.segments.windows(words.len()).any(is_same)
}

fn lengths(file: &Source) -> Vec<String> {
    let lines = file.text.lines().count() - file.test_lines;
    match lines > FILE_LINES_MAX && !file.is_test {
        true => {
            vec![file.fault(format!("has {lines} lines without its tests; {FILE_LINES_MAX} is the most"))]
        }
        false => Vec::new(),
    }
}

fn file_names(file: &Source) -> Vec<String> {
    let stem = Path::new(&file.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    match EMPTY_NAMES.contains(&stem) || EMPTY_NAMES.contains(&file.room()) {
        true => vec![file.fault("its name says nothing")],
        false => Vec::new(),
    }
}

/// A test that is ignored is run by nobody; what is run by hand is an example or a program.
fn ignored(file: &Source) -> Vec<String> {
    let is_there = has_attribute(file.tokens.clone(), "ignore");
    is_there.then(|| file.fault("has a test that is ignored")).into_iter().collect()
}

fn function_lengths(file: &Source) -> Vec<String> {
    let is_known = |name: &str| LONG_FUNCTIONS.contains(&(file.path.as_str(), name));
    let strange = long_functions(file).into_iter().filter(|function| !is_known(&function.name));
    let told = strange.map(|function| {
        let (name, lines) = (function.name, function.lines);
        file.fault_at(function.line, format!("{name} has {lines} lines; {FUNCTION_LINES_MAX} is the most"))
    });
    told.collect()
}

pub(crate) fn long_functions(file: &Source) -> Vec<Function> {
    let all = functions(file.tokens.clone()).into_iter();
    all.filter(|function| function.lines > FUNCTION_LINES_MAX).collect()
}
