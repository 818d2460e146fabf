//! Commands that are nodes.

use nix::sys::signal::Signal;
use serde_json::json;

use super::*;
use crate::lasting::{Place, signal};

#[test]
fn a_command_is_a_node() {
    let telexd = Telexd::start();
    let _upper = start(&telexd, &["serve", "upper", "--", "tr", "a-z", "A-Z"]);
    assert_eq!(out(&telexd, &["call", "upper", "shout", r#""hello""#]), "\"HELLO\"\n");
    assert_eq!(line(&telexd, &["call", "upper", "shout", r#"{"a":"b"}"#]), json!({"A": "B"}));
    assert_eq!(out(&telexd, &["call", "upper", "shout"]), "null\n");
    // It is the only one, unless it is to be one of several.
    assert_eq!(run(&telexd, &["serve", "upper", "--", "true"]).code, Some(4));
}

#[test]
fn the_environment_says_who_asks() {
    let telexd = Telexd::start();
    let script = r#"echo "$TELEX_TYPE|$TELEX_FROM|$TELEX_TO|$TELEX_KEY|$TELEX_UID|$TELEX_USER|${TELEX_MESSAGE_ID:+id}""#;
    let _node = start(&telexd, &["serve", "env", "--", "sh", "-c", script]);
    let answer = line(&telexd, &["call", "--from", "me", "env", "$(touch pwned); who"]);
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).expect("users").expect("a user");
    assert_eq!(answer, format!("$(touch pwned); who|me|env||{}|{}|id", user.uid, user.name));
}

#[test]
fn failures_are_errors() {
    let telexd = Telexd::start();
    let script = r#"case $TELEX_TYPE in
        fail) echo 'it is broken' >&2; exit 3 ;;
        status) exit 4 ;;
        own) echo '{"error":"by itself"}' ;;
        slow) sleep 1000 ;;
    esac"#;
    let args = [
        "serve",
        "n",
        "--timeout",
        "1s",
        "--type",
        "fail",
        "--type",
        "status",
        "--type",
        "own",
        "--type",
        "slow",
    ];
    let _node = start(&telexd, &[&args[..], &["--", "sh", "-c", script]].concat());
    for (message_type, told) in [
        ("fail", "it is broken"),
        ("status", "sh: exit status 4"),
        ("own", "by itself"),
        ("slow", "sh: killed after 1s"),
        ("other", "\"other\" is not answered here; known are: fail, status, own, slow"),
    ] {
        let failed = run(&telexd, &["call", "n", message_type]);
        assert_eq!((failed.code, failed.err), (Some(1), format!("telex: {told}\n")));
    }
}

#[test]
fn several_run_at_a_time_and_instances_share() {
    let telexd = Telexd::start();
    let args = ["serve", "w", "--delivery", "one", "--jobs", "2", "--text", "--", "sh", "-c"];
    // Each waits for the other: one after the other they would never end.
    let script = "touch \"$0/$TELEX_TYPE\"; while [ \"$(ls \"$0\" | grep -c ^job)\" -lt 2 ]; do sleep 0.01; done; echo 7";
    let dir = telexd.dir().join("jobs");
    std::fs::create_dir(&dir).expect("a directory");
    let dir = dir.to_str().expect("a path");
    let _worker = start(&telexd, &[&args[..], &[script, dir]].concat());
    let calls = ["job-a", "job-b"].map(|job| {
        start_with(
            telex(&["call", "w", job, "--timeout", "30s"]).env("TELEX_ADDRESS", &telexd.addresses[0]),
            "",
        )
    });
    for mut call in calls {
        assert_eq!(call.finish().out, "\"7\"\n");
    }
    let _second = start(&telexd, &["serve", "w", "--delivery", "one", "--join", "--", "true"]);
}

#[test]
fn a_command_is_run_for_each_message_to_a_topic_in_their_order() {
    let telexd = Telexd::start();
    let file = telexd.dir().join("heard");
    let path = file.to_str().expect("a path");
    let script = "cat >> \"$0\"; echo \"$TELEX_TO\" >> \"$0\"";
    let args =
        ["on", "t.*", "--group", "g", "--jobs", "1", "--timeout", "20s", "--", "sh", "-c", script, path];
    let _on = start(&telexd, &args);
    let sent = run_with(&telexd, &["publish", "t.1"], "1\n2\n3\n");
    assert_eq!(sent.code, Some(0));
    support::wait_until("all have been heard", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text == "1\nt.1\n2\nt.1\n3\nt.1\n")
    });
}

#[test]
fn it_ends_with_the_switch_also_while_all_its_places_are_taken() {
    let telexd = Telexd::start();
    let mut serving = start(&telexd, &["serve", "slow", "--", "sleep", "1000"]);
    let _call = start_with(telex(&["call", "slow", "x"]).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    support::wait_until("the command runs", || {
        line(&telexd, &["resolve", "slow"])["instances"][0]["open_requests"] == 1
    });
    telexd.signal(Signal::SIGKILL);
    assert_eq!(serving.finish().code, Some(8));
}

#[test]
fn behind_the_end_of_the_switch_signals_that_had_come_are_done_without_spinning() {
    let telexd = Telexd::start();
    let file = telexd.dir().join("heard");
    let path = file.to_str().expect("a path");
    let on = ["on", "t", "--", "sh", "-c", "sleep 0.4; cat >> \"$0\"", path];
    let mut on = start(&telexd, &on);
    run_with(&telexd, &["publish", "t"], "1\n2\n3\n4\n");
    support::wait_until("the first is done", || file.exists());
    telexd.signal(Signal::SIGKILL);
    let heard = || std::fs::read_to_string(&file).expect("what was heard");
    support::wait_until("three are done", || heard().len() >= 6);
    let cpu = support::Process(on.child.id()).cpu();
    assert!(cpu < std::time::Duration::from_millis(300), "{cpu:?}");
    assert_eq!(on.finish().code, Some(8));
    assert_eq!(heard(), "1\n2\n3\n4\n");
}

/// How many shells have this word among their arguments.
fn shells(word: &str) -> usize {
    let all = std::fs::read_dir("/proc").expect("processes").map_while(Result::ok);
    let lines = all.filter_map(|dir| String::from_utf8(std::fs::read(dir.path().join("cmdline")).ok()?).ok());
    lines.filter(|line| line.starts_with("sh\0") && line.split('\0').any(|one| one == word)).count()
}

/// A command that goes on for long in two shells, if it is for a request or a publication; else its stdin goes to the
/// file that is its last word.
const LONG: [&str; 4] = [
    "--",
    "sh",
    "-c",
    r#"if [ "$TELEX_TYPE" = ask ] || [ "$TELEX_TO" = t ]; then
        sh -c 'sleep 1000; :' "$0" & sleep 1000; :
    else
        cat >> "$0"
    fi"#,
];

#[test]
fn commands_end_with_the_verb() {
    let telexd = Telexd::start();
    let file = telexd.dir().join("heard").display().to_string();
    let mut on = start(&telexd, &[&["on", "t"], &LONG[..], &[&file]].concat());
    out(&telexd, &["publish", "t", "1"]);
    support::wait_until("it runs", || shells(&file) == 2);
    signal(&on, Signal::SIGTERM);
    assert_eq!(on.finish().code, Some(0));
    support::wait_until("none is left", || shells(&file) == 0);
    let mut serve = start(&telexd, &[&["serve", "s"], &LONG[..], &[&file]].concat());
    let _call = start_with(telex(&["call", "s", "ask"]).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    support::wait_until("it runs", || shells(&file) == 2);
    signal(&serve, Signal::SIGINT);
    assert_eq!(serve.finish().code, Some(0));
    support::wait_until("none is left", || shells(&file) == 0);
}

#[test]
fn behind_the_end_of_the_switch_requests_make_room_for_signals() {
    let telexd = Telexd::start();
    let file = telexd.dir().join("heard").display().to_string();
    let mut serve = start(&telexd, &[&["serve", "s"], &LONG[..], &[&file]].concat());
    let _call = start_with(telex(&["call", "s", "ask"]).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    support::wait_until("it runs", || shells(&file) == 2);
    out(&telexd, &["send", "s", "1"]);
    telexd.signal(Signal::SIGKILL);
    assert_eq!(serve.finish().code, Some(8));
    assert_eq!(std::fs::read_to_string(&file).expect("what was heard"), "1\n");
    support::wait_until("none is left", || shells(&file) == 0);
}

#[test]
fn a_command_that_has_lost_its_connection_keeps_its_place() {
    let place = Place::new();
    let mut telexd = place.daemon();
    let dir = place.dir().display().to_string();
    let script = r#"echo >> "$0/began"; while [ ! -e "$0/go" ]; do sleep 0.01; done; echo done"#;
    let mut serve = place.start(&["serve", "s", "--reconnect", "--", "sh", "-c", script, &dir]);
    serve.next_word();
    let began = || std::fs::read_to_string(place.dir().join("began")).unwrap_or_default().len();
    let _lost = place.start(&["call", "s", "ask"]);
    support::wait_until("it runs", || began() == 1);
    telexd.stop();
    let telexd = place.daemon();
    let mut call = start_when_there(&telexd, &["call", "s", "ask"]);
    support::wait_until("it is asked", || {
        line(&telexd, &["resolve", "s"])["instances"][0]["open_requests"] == 1
    });
    // It would begin at once.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(began(), 1);
    std::fs::write(place.dir().join("go"), "").expect("a file");
    assert_eq!(call.finish().out, "\"done\"\n");
    assert_eq!(began(), 2);
}

/// Starts a call once its node is there.
fn start_when_there(telexd: &Telexd, args: &[&str]) -> Running {
    out(telexd, &["wait-for", args[1], "-W", "30s", "--quiet"]);
    start_with(telex(args).env("TELEX_ADDRESS", &telexd.addresses[0]), "")
}

#[test]
fn what_a_command_says_is_passed_on_unless_that_is_not_wanted() {
    let telexd = Telexd::start();
    let command = ["--", "sh", "-c", "printf 'a\\033b\\n' >&2; echo 1"];
    for (flag, told) in [("--json", "telex: serving s\na\u{1b}b\n"), ("--quiet", "")] {
        let args = [&["serve", "s", flag], &command[..]].concat();
        let mut serve = start_with(telex(&args).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
        assert_eq!(start_when_there(&telexd, &["call", "s", "ask"]).finish().out, "1\n");
        signal(&serve, Signal::SIGINT);
        assert_eq!(&*serve.finish().err, told);
    }
}

#[test]
fn no_asker_can_end_a_node() {
    let telexd = Telexd::start();
    let _reply = start(&telexd, &["reply", "echo", r#"{"said":{{body}}}"#]);
    let deep = format!("{}1{}", "[".repeat(127), "]".repeat(127));
    let failed = run(&telexd, &["call", "echo", "ask", &deep]);
    assert!(failed.code == Some(1) && failed.err.contains("the answer cannot be sent"), "{failed:?}");
    assert_eq!(line(&telexd, &["call", "echo", "ask", "1"])["said"], 1);
    let wrong = run(&telexd, &["reply", "r", r#""{{body}}""#]);
    assert!(wrong.code == Some(2) && wrong.err.contains("to the body \"b\""), "{wrong:?}");
}
