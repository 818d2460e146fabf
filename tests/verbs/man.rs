//! The manual pages, as the programs that show them read them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use super::*;

/// All pages, by their files.
fn pages() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("UTF-8");
    let told = start_with(&mut telex(&["man", "--dir", dir]), "").finish();
    assert_eq!((told.code, &*told.out, &*told.err), (Some(0), "", ""));
    let mut pages = BTreeMap::new();
    for section in fs::read_dir(folder.path()).expect("a folder") {
        for page in fs::read_dir(section.expect("an entry").path()).expect("a folder") {
            let path = page.expect("an entry").path();
            let name = path.strip_prefix(&folder).expect("within").to_str().expect("UTF-8").to_owned();
            pages.insert(name, fs::read_to_string(path).expect("a page"));
        }
    }
    pages
}

/// What a program says to a page.
fn shown(page: &str, program: &str, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page");
    fs::write(&path, page).expect("a file");
    let mut command = Command::new(program);
    command.args(args).arg(path).env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").env("MANPAGER", "cat");
    command.output().expect(program)
}

#[test]
fn there_is_a_page_for_each_program_verb_and_text() {
    let pages = pages();
    for name in ["man1/telex.1", "man5/telexd.toml.5", "man7/telex-protocol.7", "man8/telexd.8"] {
        assert!(pages.contains_key(name), "{name}");
    }
    let help = start_with(&mut telex(&["--help"]), "").finish().out;
    let verbs =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs = verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs = verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help");
    let verbs: Vec<&str> = verbs.collect();
    assert!(verbs.len() > 30, "{verbs:?}");
    for verb in &verbs {
        let page = &pages[&format!("man1/telex-{verb}.1")];
        assert!(page.contains("\n.SH EXAMPLES\n"), "{page}");
    }
    assert_eq!(pages.len(), verbs.len() + 4);
}

#[test]
fn pages_say_nothing_of_the_machine_that_made_them() {
    for (name, page) in pages() {
        let head = page.lines().find(|line| line.starts_with(".TH ")).expect("a head");
        assert!(head.contains(" 2026-11-30 "), "{name}: {head}");
        for place in [env!("CARGO_MANIFEST_DIR"), "/target/", "/root/"] {
            assert!(!page.contains(place), "{name} has {place}");
        }
    }
}

#[test]
fn mandoc_finds_no_fault_in_them() {
    if !support::needs::programs(&["mandoc"]) {
        return;
    }
    for (name, page) in pages() {
        let told = shown(&page, "mandoc", &["-Tlint", "-Wwarning"]);
        assert!(
            told.status.success() && told.stdout.is_empty(),
            "{name}: {}",
            String::from_utf8_lossy(&told.stdout)
        );
    }
    let told = shown(".PP\n.SH A\n.PP\n.nonsense\n", "mandoc", &["-Tlint", "-Wwarning"]);
    assert!(!told.status.success(), "it finds none at all");
}

#[test]
fn man_shows_them() {
    if !support::needs::programs(&["man"]) {
        return;
    }
    let pages = pages();
    for (name, page) in &pages {
        let told = shown(page, "man", &["--warnings=w", "-l"]);
        let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(told.status.success() && err.is_empty(), "{name}: {err}");
        assert!(out.contains("NAME") && out.contains("SEE ALSO"), "{name}: {out}");
    }
    // Lines are filled, some more than others.
    let shown = |name: &str| -> String {
        let told = shown(&pages[name], "man", &["-l"]);
        String::from_utf8_lossy(&told.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let has = |text: &str, words: &str| assert!(text.contains(words), "{words} is not in:\n{text}");
    has(&shown("man5/telexd.toml.5"), "no_such_node an address that nobody holds");
    has(&shown("man5/telexd.toml.5"), "max_names = 64 Node IDs that");
    has(&shown("man8/telexd.8"), "--check Say whether the configuration is right");
    has(&shown("man1/telex.1"), " 5 timeout");
    has(
        &shown("man1/telex-call.1"),
        "SYNOPSIS telex call [OPTIONS] NODE TYPE [BODY] telex call [OPTIONS] --topic TOPIC TYPE",
    );
    has(&shown("man1/telex-resolve.1"), "SYNOPSIS telex resolve [OPTIONS] <NODE> DESCRIPTION");
    has(&shown("man1/telex-call.1"), "telex call heating set '{\"c\":21}'");
    has(&shown("man7/telex-protocol.7"), "timeout_ms an integer from");
}

#[test]
fn one_page_is_printed() {
    let page = |args: &[&str]| start_with(&mut telex(args), "").finish();
    for (args, head) in [
        (&["man"][..], ".TH TELEX 1 "),
        (&["man", "call"], ".TH TELEX\\-CALL 1 "),
        (&["man", "telex-call", "--json"], ".TH TELEX\\-CALL 1 "),
        (&["man", "telexd.toml"], ".TH TELEXD.TOML 5 "),
    ] {
        let Outcome { code, out, err } = page(args);
        assert_eq!((code, &*err), (Some(0), ""), "{args:?}");
        assert!(
            out.lines().any(|line| line.replace("\\-", "-").starts_with(&head.replace("\\-", "-"))),
            "{out}"
        );
    }
    let none = page(&["man", "nothing"]);
    assert_eq!(none.code, Some(2));
    assert!(none.err.starts_with("telex: there is no page \"nothing\"; there are telex, "), "{}", none.err);
    // Without man(1).
    for (name, words) in [
        ("call", "\nExamples:\n  telex call "),
        ("telexd", "telexd: a message switch"),
        ("telexd.toml", "\nmax_names = 64\n"),
        ("telex-protocol", "# The telex line protocol"),
    ] {
        let Outcome { code, out, err } =
            start_with(telex(&["man", name, "--table"]).env("PATH", "/nonexistent"), "").finish();
        assert!(code == Some(0) && err.is_empty() && out.contains(words), "{name}: {out}{err}");
        assert!(!out.contains("\n.SH "), "{out}");
    }
    // As people see it.
    if support::needs::programs(&["man"]) {
        let told =
            start_with(telex(&["man", "call", "--table"]).env("MANPAGER", "cat").env("MANWIDTH", "80"), "")
                .finish();
        assert!(told.out.contains("\nEXAMPLES\n"), "{told:?}");
    }
}
