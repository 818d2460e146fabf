//! Commands that are nodes.

use serde_json::json;

use super::*;

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
    telexd.signal(nix::sys::signal::Signal::SIGKILL);
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
    telexd.signal(nix::sys::signal::Signal::SIGKILL);
    let heard = || std::fs::read_to_string(&file).expect("what was heard");
    support::wait_until("three are done", || heard().len() >= 6);
    let cpu = support::Process(on.child.id()).cpu();
    assert!(cpu < std::time::Duration::from_millis(300), "{cpu:?}");
    assert_eq!(on.finish().code, Some(8));
    assert_eq!(heard(), "1\n2\n3\n4\n");
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
