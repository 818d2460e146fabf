//! What shells complete, with the shells themselves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// What a shell offers for a line that is being typed. The script is run by it with the scripts of completion as
/// `$SCRIPT`, the command in its path, and this daemon.
fn offered(shell: &str, script: &str, address: &str, line: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("_telex");
    let words = start_with(&mut telex(&["completions", shell]), "").finish();
    assert_eq!((words.code, &*words.err), (Some(0), ""));
    fs::write(&own, words.out).expect("a file");
    let mut command = Command::new(shell);
    // None but zsh reads files of the user's for a script.
    command.args((shell == "zsh").then_some("-f")).args(["-c", script]);
    let bin = Path::new(env!("CARGO_BIN_EXE_telex")).parent().expect("a folder").display();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).env("TELEX_ADDRESS", address).env("SCRIPT", &own).env("LINE", line);
    command.env("HOME", folder.path()).env("XDG_RUNTIME_DIR", "/nonexistent").current_dir(&folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Outcome { code, out, err } = start_with(&mut command, "").finish();
    assert_eq!((code, &*err), (Some(0), ""), "{shell}: {line}: {out}");
    out.lines().map(str::to_owned).collect()
}

const BASH: &str = r#"
source "$SCRIPT"
COMP_LINE=$LINE COMP_POINT=${#LINE}
read -ra COMP_WORDS <<<"$LINE"
[[ $LINE == *' ' ]] && COMP_WORDS+=('')
# As COMP_WORDBREAKS has it.
last=${COMP_WORDS[-1]}
if [[ $last == *:* ]]; then
    unset 'COMP_WORDS[-1]'
    COMP_WORDS+=("${last%:*}" : "${last##*:}")
fi
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
_telex telex "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_verbs_options_and_nodes() {
    let telexd = Telexd::start();
    let _nodes = ["web-1", "web 2", "db", "$(touch pwned)", "x:y"].map(|name| telexd.node(name));
    let address = &telexd.addresses[0];
    let offered = |line: &str| offered("bash", BASH, address, line);
    assert_eq!(offered("telex resol"), ["resolve"]);
    assert_eq!(offered("telex compl"), ["completions"]);
    assert_eq!(offered("telex --vers"), ["--version"]);
    assert_eq!(offered("telex call --gath"), ["--gather"]);
    assert_eq!(offered("telex call web"), ["web\\ 2", "web-1"]);
    assert_eq!(offered("telex wait-for db web-"), ["web-1"]);
    assert_eq!(offered("telex --quiet kill "), ["\\$\\(touch\\ pwned\\)", "db", "web\\ 2", "web-1", "x:y"]);
    assert_eq!(offered("telex send x:"), ["y"]);
    assert_eq!(offered("telex completions b"), ["bash"]);
}

#[test]
fn zsh_completes_nodes() {
    if !support::needs::programs(&["zsh"]) {
        return;
    }
    let telexd = Telexd::start();
    let _nodes = ["web-1", "web 2", "$(touch pwned)"].map(|name| telexd.node(name));
    // Without a terminal nothing is completed: what would be offered is listened for.
    const ZSH: &str = r#"
autoload -Uz compinit && compinit -D
compdef() { :; }
source "$SCRIPT"
compadd() { [[ $1 == -a ]] && print -rl -- "${(@P)2}"; return 0; }
_telex_words() { :; }
words=(${(s: :)LINE}) CURRENT=$#words
[[ $LINE == *' ' ]] && { words+=(''); ((++CURRENT)) }
_telex
"#;
    let offered = |line: &str| offered("zsh", ZSH, &telexd.addresses[0], line);
    assert_eq!(offered("telex call "), ["$(touch pwned)", "web 2", "web-1"]);
    assert_eq!(offered("telex call web-1 "), Vec::<String>::new());
}

#[test]
fn zsh_completes_verbs_and_options_at_a_terminal() {
    if !support::needs::programs(&["zsh"]) {
        return;
    }
    let telexd = Telexd::start();
    let _node = telexd.node("web-1");
    // What has been typed is there at once, and the rest when it is completed.
    const ZSH: &str = r#"
zmodload zsh/zpty
zpty terminal zsh -f -i
zpty -w terminal 'PS1=; autoload -Uz compinit; compinit -u -D; source "$SCRIPT"; print is-$((1 + 1))'
zpty -r terminal out '*is-2*'
zpty -w -n terminal "${LINE% *}"$'\t'
zpty -r terminal out "*${LINE##* }*"
zpty -d terminal
print found
"#;
    for line in ["telex resol ve", "telex call --gath er", "telex call we b-1"] {
        assert_eq!(offered("zsh", ZSH, &telexd.addresses[0], line), ["found"]);
    }
}

#[test]
fn fish_completes_verbs_options_and_nodes() {
    if !support::needs::programs(&["fish"]) {
        return;
    }
    let telexd = Telexd::start();
    let _nodes = ["web-1", "web 2", "$(touch pwned)"].map(|name| telexd.node(name));
    const FISH: &str = "source $SCRIPT; touch web.html; complete --do-complete $LINE";
    let offered = |line: &str| offered("fish", FISH, &telexd.addresses[0], line);
    let names = |line: &str| -> Vec<String> {
        offered(line).iter().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names("telex resol"), ["resolve"]);
    assert_eq!(names("telex call --gath"), ["--gather"]);
    assert_eq!(names("telex call web"), ["web 2", "web-1"]);
    assert_eq!(names("telex send '$"), ["$(touch pwned)"]);
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for() {
    let stopped = command::scripted(|_| Some(String::new()));
    let began = Instant::now();
    let told = start_with(telex(&["complete", "--", "call", ""]).env("TELEX_ADDRESS", &stopped.address), "")
        .finish();
    assert_eq!((told.code, &*told.out, &*told.err), (Some(0), "", ""));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let none =
        start_with(telex(&["complete", "--", "call", ""]).env("TELEX_ADDRESS", "unix:/no"), "").finish();
    assert_eq!((none.code, &*none.out, &*none.err), (Some(0), "", ""));
    let telexd = Telexd::start();
    let _node = telexd.node("a");
    assert_eq!(out(&telexd, &["complete", "--", "call", "--timeout", "2s", ""]), "a\n");
    let elsewhere =
        telex(&["complete", "--", "--address", &telexd.addresses[0], "call", ""]).output().expect("telex");
    assert_eq!(elsewhere.stdout, b"a\n");
}

#[test]
fn a_script_is_the_same_in_both_forms() {
    let script = |args: &[&str]| start_with(&mut telex(args), "").finish().out;
    for shell in ["bash", "zsh", "fish"] {
        let plain = script(&["completions", shell]);
        assert!(plain.contains("telex complete -- "), "{plain}");
        assert_eq!(plain, script(&["completions", shell, "--json"]));
    }
    assert_eq!(start_with(&mut telex(&["completions", "tcsh"]), "").finish().code, Some(2));
}

#[test]
fn the_daemon_that_is_named_is_asked_and_no_name_drives_a_terminal() {
    let telexd = Telexd::start();
    let _nodes = ["plain", "pl\u{202e}il"].map(|name| telexd.node(name));
    let address = &telexd.addresses[0];
    for named in [vec![format!("--address={address}")], vec!["--address".to_owned(), address.clone()]] {
        let words =
            ["complete", "--"].into_iter().chain(named.iter().map(String::as_str)).chain(["send", ""]);
        let words: Vec<_> = words.collect();
        let offered = start_with(telex(&words).env("TELEX_ADDRESS", "unix:/no"), "").finish();
        assert_eq!((offered.code, &*offered.out), (Some(0), "plain\n"), "{named:?}");
    }
}
