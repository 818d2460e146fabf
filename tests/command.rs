//! The command `telex` from outside: what it prints where, and how it ends.

#![cfg(feature = "cli")]

#[path = "command/run.rs"]
mod run;
#[path = "command/switch.rs"]
mod switch;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::sync::mpsc::channel;
use std::thread::spawn;
use std::time::Duration;

use serde_json::{Value, json};
use telex::address::Address;
use telex::client::Client;

use run::{closing, listen, listen_with, reply, run, run_with, scripted, start_with, telex};
use switch::Switch;

fn json(line: &str) -> Value {
    serde_json::from_str(line).expect(line)
}

/// A node that does `each` with every request, until that says stop.
fn node(
    switch: &Switch,
    name: &str,
    each: impl Fn(&mut Client, telex::client::Message) -> bool + Send + 'static,
) {
    let address = Address::parse(&switch.address).expect("an address");
    let mut client = Client::connect(&address).expect("a connection");
    client.register(name).expect("registered");
    spawn(move || {
        while let Ok(Some(message)) = client.next(Some(Duration::from_secs(30))) {
            if !each(&mut client, message) {
                break;
            }
        }
    });
}

#[test]
fn a_signal_is_sent_and_printed() {
    let switch = Switch::start();
    let mut kitchen = listen(&switch.address, &["listen", "kitchen", "-n", "1"]);
    let sent = run(&switch.address, &["send", "--from", "hall", "kitchen", r#"{"lamp":"on"}"#]);
    assert_eq!((sent.code, &*sent.out, &*sent.err), (Some(0), "", ""));
    let heard = kitchen.finish();
    assert_eq!((heard.code, &*heard.err), (Some(0), "telex: listening as kitchen\n"));
    let message = json(&heard.out);
    assert_eq!(
        (&message["message_type"], &message["from"], &message["to"], &message["body"]),
        (&json!("signal"), &json!("hall"), &json!("kitchen"), &json!({"lamp": "on"}))
    );
}

#[test]
fn each_line_of_stdin_is_a_message() {
    let switch = Switch::start();
    let mut logger = listen(&switch.address, &["listen", "logger", "-n", "4", "--body"]);
    let sent = run_with(&switch.address, &["send", "logger"], "{\"a\":1}\n\n2\r\n");
    assert_eq!((sent.code, &*sent.err), (Some(0), ""));
    let sent = run_with(&switch.address, &["send", "logger", "-", "--text"], "say \"hi\"\n\n");
    assert_eq!((sent.code, &*sent.err), (Some(0), ""));
    assert_eq!(logger.finish().out, "{\"a\":1}\n2\n\"say \\\"hi\\\"\"\n\"\"\n");
}

#[test]
fn topics() {
    let switch = Switch::start();
    let args = ["subscribe", "sensor.*.temp", "job.>", "-n", "2", "--body"];
    let mut listening = listen(&switch.address, &args);
    for (topic, body) in [("sensor.kitchen.humidity", "1"), ("sensor.kitchen.temp", "2"), ("job.a.b", "3")] {
        let sent = run(&switch.address, &["publish", topic, body]);
        assert_eq!((sent.code, &*sent.err), (Some(0), ""));
    }
    let heard = listening.finish();
    assert_eq!((heard.code, &*heard.out), (Some(0), "2\n3\n"));
    let asked = run(&switch.address, &["call", "--topic", "nobody.here", "ask"]);
    assert_eq!(asked.code, Some(3), "{asked:?}");
}

#[test]
fn what_was_not_delivered_is_told() {
    let switch = Switch::start();
    let sent = run(&switch.address, &["send", "nobody", "1"]);
    assert_eq!((sent.code, &*sent.out), (Some(3), ""));
    assert!(sent.err.contains("(no_such_node)"), "{}", sent.err);
    let sent = run_with(&switch.address, &["send", "nobody"], "1\n\n3\n");
    assert_eq!(sent.code, Some(3));
    assert!(sent.err.contains("line 1: ") && sent.err.contains("line 3: "), "{}", sent.err);
    let sent = run_with(&switch.address, &["send", "nobody"], &"0\n".repeat(20_000));
    assert_eq!((sent.code, sent.err.lines().count()), (Some(3), 11));
    assert!(sent.err.ends_with("19990 more errors\n"), "{}", sent.err);
    let quiet = run(&switch.address, &["send", "-q", "nobody", "1"]);
    assert_eq!((quiet.code, &*quiet.err), (Some(3), ""));
}

#[test]
fn bodies_that_are_no_json() {
    let switch = Switch::start();
    for args in [["send", "a", "hello"].as_slice(), &["call", "a", "ask", "{\"a\":}"]] {
        let refused = run(&switch.address, args);
        assert_eq!((refused.code, &*refused.out), (Some(2), ""));
        assert!(refused.err.contains("column") && refused.err.contains("--text"), "{}", refused.err);
    }
    let mut logger = listen(&switch.address, &["listen", "logger", "-n", "1", "--body"]);
    let refused = run_with(&switch.address, &["send", "logger"], "1\nno\n3\n");
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("line 2 of stdin"), "{}", refused.err);
    assert_eq!(logger.finish().out, "1\n");
}

#[test]
fn an_empty_argument_is_an_empty_string() {
    let switch = Switch::start();
    let mut logger = listen(&switch.address, &["listen", "logger", "-n", "3", "--body"]);
    for args in
        [["send", "logger", ""].as_slice(), &["send", "logger", " "], &["send", "--text", "logger", ""]]
    {
        let sent = run(&switch.address, args);
        assert_eq!((sent.code, &*sent.err), (Some(0), ""), "{args:?}");
    }
    assert_eq!(logger.finish().out, "\"\"\n".repeat(3));
    for (args, body) in [
        (["call", "--daemon", "ping", ""].as_slice(), json!("")),
        (&["call", "--daemon", "ping", "", "--text"], json!("")),
        (&["call", "--daemon", "ping"], Value::Null),
        (&["call", "--daemon", "ping", "-"], Value::Null),
    ] {
        let called = run(&switch.address, args);
        assert_eq!(json(&called.out)["body"], body, "{args:?}: {}", called.err);
    }
}

#[test]
fn calls() {
    let switch = Switch::start();
    node(&switch, "heating", |client, message| {
        match message.message_type() {
            "set" => client.reply(&message, &format!(r#"{{"was":{}}}"#, message.body().unwrap_or("0"))),
            "break" => client.reply_error(&message, "it is\u{1b} broken"),
            "die" => return false,
            _ => Ok(()),
        }
        .is_ok()
    });
    let call = |args: &[&str], stdin: &str| run_with(&switch.address, &[&["call"], args].concat(), stdin);
    let done = call(&["heating", "set", r#"{"c":21}"#], "");
    assert_eq!((done.code, &*done.err), (Some(0), ""));
    assert_eq!(json(&done.out)["was"], json!({"c": 21}));
    assert_eq!(json(&call(&["heating", "set", "-"], "{\n\"c\":\n3}\n").out)["was"], json!({"c": 3}));
    assert_eq!(json(&call(&["heating", "set", "-", "--text"], "two\nlines\n").out)["was"], "two\nlines");
    assert_eq!(json(&call(&["heating", "set", "warm", "--text"], "").out)["was"], "warm");

    let failed = call(&["heating", "break"], "");
    assert_eq!((failed.code, &*failed.out), (Some(1), ""));
    assert_eq!(failed.err, "telex: it is\\u{1b} broken\n");
    let failed = call(&["--timeout", "50ms", "heating", "ignore"], "");
    assert_eq!((failed.code, failed.err.contains("(timeout)")), (Some(5), true), "{}", failed.err);
    assert_eq!(call(&["nobody", "set"], "").code, Some(3));
    assert_eq!(call(&["--from", "telex.x", "heating", "set"], "").code, Some(4));
    assert_eq!(call(&["heating", "signal"], "").code, Some(2));
    assert_eq!(call(&["--daemon", "nonsense"], "").code, Some(1));
    let failed = call(&["heating", "die"], "");
    assert_eq!((failed.code, failed.err.contains("(node_gone)")), (Some(6), true), "{}", failed.err);

    let whoami = call(&["--from", "me", "--daemon", "whoami"], "");
    assert_eq!(json(&whoami.out)["node_ids"], json!(["me"]));
}

#[test]
fn listening_ends_in_time() {
    let switch = Switch::start();
    let mut listening = listen(&switch.address, &["listen", "a", "-W", "50ms", "-n", "1"]);
    let ended = listening.finish();
    assert_eq!((ended.code, &*ended.out), (Some(5), ""));
    let quiet = run(&switch.address, &["listen", "-q", "a", "-W", "0"]);
    assert_eq!((quiet.code, &*quiet.err), (Some(5), ""));
}

#[test]
fn lists() {
    let switch = Switch::start();
    for name in ["web-1", "web-2", "db"] {
        node(&switch, name, |_, _| true);
    }
    node(&switch, "web-2", |_, _| true);
    let lines = run(&switch.address, &["list", "web-*"]).out;
    let nodes: Vec<Value> = lines.lines().map(json).collect();
    assert_eq!(nodes.iter().map(|node| &node["node_id"]).collect::<Vec<_>>(), ["web-1", "web-2"]);
    assert_eq!(nodes[1]["instances"].as_array().map(Vec::len), Some(2));
    assert_eq!(run(&switch.address, &["list", "web-*", "--json"]).out, lines);
    assert_eq!(run(&switch.address, &["list", "--all", "--names"]).out, "db\nweb-1\nweb-2\n");
}

#[test]
fn pages_are_followed() {
    let daemon = scripted(|ask| {
        assert_eq!(ask["body"]["match"], "n*");
        let (name, more) = match ask["body"]["after"].as_str() {
            None => ("n1", true),
            Some("n1") => ("n2", true),
            _ => ("n3", false),
        };
        Some(reply(ask, json!({"error": null, "nodes": [{"node_id": name}], "more": more})))
    });
    assert_eq!(run(&daemon.address, &["list", "n*", "--names"]).out, "n1\nn2\nn3\n");
}

#[test]
fn every_code_has_its_exit() {
    for (code, exit) in [
        ("bad_field", 2),
        ("missing_field", 2),
        ("line_too_long", 2),
        ("no_such_node", 3),
        ("no_subscribers", 3),
        ("denied", 4),
        ("not_yours", 4),
        ("name_taken", 4),
        ("auth_required", 4),
        ("timeout", 5),
        ("node_gone", 6),
        ("overloaded", 7),
        ("too_many_requests", 7),
        ("spool_full", 7),
        ("delivery_mismatch", 1),
        ("internal", 1),
    ] {
        let daemon = scripted(move |ask| Some(reply(ask, json!({"error": "no", "code": code}))));
        let ended = run(&daemon.address, &["call", "a", "ask"]);
        assert_eq!((ended.code, ended.err), (Some(exit), format!("telex: no ({code})\n")));
    }
}

#[test]
fn what_the_daemon_finds_wrong_is_the_fault_of_the_command_line() {
    let refuse = |ask: &Value| Some(reply(ask, json!({"error": "no", "code": "bad_field"})));
    for args in [
        ["subscribe", "a..b"].as_slice(),
        &["listen", "a#b"],
        &["list", "*"],
        &["send", "--from", ":x", "a", "1"],
    ] {
        let ended = run(&scripted(refuse).address, args);
        assert_eq!((ended.code, &*ended.err), (Some(2), "telex: no (bad_field)\n"), "{args:?}");
    }
    // It is the node's own word where a node says so.
    let by_node = |ask: &Value| {
        let said = reply(ask, json!({"error": "no", "code": "bad_field"}));
        Some(said.replace("\"from\":null", "\"from\":\"a\""))
    };
    assert_eq!(run(&scripted(by_node).address, &["call", "a", "ask"]).code, Some(1));
}

#[test]
fn groups_are_asked_for_and_lines_printed_as_they_came() {
    const LINE: &str = r#"{ "message_type":"signal", "from" : "x","extra":"\u00e4", "topic":"a.b"}"#;
    let daemon = scripted(|ask| {
        let right = ask["body"] == json!({"topic": "a.b", "group": "g"});
        let body = if right { json!({"error": null}) } else { json!({"error": "wrong"}) };
        Some(format!("{}{LINE}\r\n", reply(ask, body)))
    });
    let args = ["subscribe", "a.b", "--group", "g", "-n", "1"];
    assert_eq!(listen(&daemon.address, &args).finish().out, format!("{LINE}\n"));
}

#[test]
fn what_the_daemon_says_is_words() {
    let daemon = scripted(|ask| {
        let lagged = r#"{"message_type":"signal","from":null,"body":{"event":"lagged","count":7}}"#;
        let killed = r#"{"message_type":"error","from":null,"body":{"error":"go","code":"denied","in_reply_to":null}}"#;
        match ask["message_type"].as_str() {
            Some("register") => Some(reply(ask, json!({"error": null})) + lagged + "\n"),
            Some("ask") => Some(format!("{killed}\n{{\"message_ty")),
            _ => None,
        }
    });
    let mut listening = listen(&daemon.address, &["listen", "a", "-W", "100ms"]);
    let ended = listening.finish();
    assert_eq!((ended.code, &*ended.out), (Some(5), ""));
    assert!(ended.err.contains("7 messages were missed"), "{}", ended.err);
}

#[test]
fn a_connection_that_ends_says_why() {
    let daemon = scripted(|ask| {
        let killed = r#"{"message_type":"error","from":null,"body":{"error":"go","code":"denied","in_reply_to":null}}"#;
        (ask["message_type"] == "register").then(|| reply(ask, json!({"error": null})) + killed + "\n")
    });
    let ended = run(&daemon.address, &["call", "--from", "me", "a", "ask"]);
    assert_eq!(
        (ended.code, &*ended.err),
        (Some(4), "telex: go (denied)\ntelex: the daemon ended the connection\n")
    );
    let daemon = scripted(|_| None);
    let ended = run(&daemon.address, &["call", "a", "ask"]);
    assert_eq!((ended.code, &*ended.err), (Some(8), "telex: the daemon ended the connection\n"));
}

#[test]
fn a_connection_that_is_refused_says_why() {
    for (code, exit) in [("overloaded", 7), ("denied", 4)] {
        let error = serde_json::json!({"error": "no", "code": code, "in_reply_to": null});
        let line = format!("{}\n", json!({"message_type": "error", "from": null, "body": error}));
        let daemon = closing(line.leak());
        for args in [
            ["list"].as_slice(),
            &["call", "a", "ask"],
            &["call", "--from", "me", "a", "ask"],
            &["send", "a", "1"],
            &["send", "--from", "me", "a"],
            &["listen", "a"],
            &["subscribe", "a.b"],
        ] {
            let ended = run_with(&daemon.address, args, "1\n2\n");
            let words = format!("telex: no ({code})\ntelex: the daemon ended the connection\n");
            assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(exit), "", &*words), "{args:?}");
        }
    }
}

#[test]
fn listening_ends_with_the_reader_also_while_nothing_comes() {
    let switch = Switch::start();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = telex(&["listen", "a"]);
    let mut listening = listen_with(command.env("TELEX_ADDRESS", &switch.address).stdout(writer));
    drop((command, reader));
    let ended = listening.finish();
    assert_eq!((ended.code, &*ended.err), (Some(0), "telex: listening as a\n"));
}

#[test]
fn what_the_daemon_does_is_noticed_also_while_no_line_comes() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let error = json!({"error": "no", "code": "no_such_node"});
    // The end comes when the error has been told.
    let daemon = scripted(move |signal| match signal["body"].as_u64() {
        Some(1) => Some(reply(signal, error.clone()).replace("signal_reply", "error")),
        _ => wait.recv().ok().map(|()| String::new()),
    });
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let mut command = telex(&["send", "a"]);
    let mut sending = start_with(command.env("TELEX_ADDRESS", &daemon.address).stdin(reader), "");
    writeln!(writer, "1\n2").expect("lines");
    assert_eq!(sending.next_word(), "telex: line 1: no (no_such_node)\n");
    drop(go);
    let ended = sending.finish();
    assert_eq!((ended.code, &*ended.err), (Some(8), "telex: the daemon ended the connection\n"));
}

#[test]
fn nobody_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let address = format!("unix:{}/s", dir.path().display());
    let ended = run("unix:/elsewhere", &["--address", &address, "list"]);
    assert_eq!((ended.code, &*ended.out), (Some(8), ""));
    for words in [&*address, "Is telexd running", "telexd --listen", "--address"] {
        assert!(ended.err.contains(words), "{}", ended.err);
    }
    let other = scripted(|_| Some("HTTP/1.1 400 Bad Request\r\n".to_owned()));
    let ended = run(&other.address, &["list"]);
    assert_eq!((ended.code, ended.err.contains("no telex message: HTTP")), (Some(8), true), "{}", ended.err);
}

#[test]
fn faults_of_the_command_line() {
    for args in [
        ["list", "--nonsense"].as_slice(),
        &["nonsense"],
        &[],
        &["send"],
        &["call", "a"],
        &["listen"],
        &["--address", "nowhere", "list"],
        &["call", "--timeout", "soon", "a", "ask"],
        &["call", "--daemon", "tap"],
        &["listen", "a", "-n", "0"],
        &["listen", "a", "--format", "{nonsense}"],
        &["list", "--json", "--table"],
        &["send", "--topic", "a.b", "1"],
        &["listen", "--topic", "a.b", "x"],
        &["send", "a", "1", "2"],
        &["call", "a", "ask", "--timeout", "2h"],
        &["serve", "a"],
    ] {
        let ended = run("unix:/nowhere", args);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{args:?}: {}", ended.err);
        assert!(!ended.err.is_empty());
    }
    assert_eq!(run("nowhere", &["list"]).code, Some(2));
}

#[test]
fn a_closed_stdout_is_no_failure() {
    let switch = Switch::start();
    node(&switch, "a", |_, _| true);
    for args in [["list", "--names"].as_slice(), &["call", "--daemon", "whoami"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = telex(args);
        let ended = start_with(command.env("TELEX_ADDRESS", &switch.address).stdout(writer), "").finish();
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn help_has_codes_and_examples() {
    let help = run("", &["--help"]);
    assert_eq!(help.code, Some(0));
    for word in
        ["Exit codes:", "  5  timeout", "  8  the daemon cannot be reached", "send", "call", "listen", "list"]
    {
        assert!(help.out.contains(word), "{word}: {}", help.out);
    }
    for (command, example) in [
        ("send", r#"telex send kitchen '{"lamp":"on"}'"#),
        ("publish", r#"telex publish sensor.kitchen.temp '{"c":21}'"#),
        ("call", r#"telex call heating set '{"c":21}'"#),
        ("call", "telex call --timeout 2m --text backup run nightly"),
        ("listen", "telex listen kitchen"),
        ("subscribe", "telex subscribe 'sensor.*.temp' --body"),
        ("serve", "telex serve upper -- tr a-z A-Z"),
        ("list", "telex list 'web-*' --json"),
    ] {
        let help = run("", &[command, "--help"]);
        assert_eq!(help.code, Some(0));
        assert!(help.out.lines().any(|line| line.trim() == example), "{example}: {}", help.out);
    }
}

#[test]
fn a_daemon_that_takes_no_connections_is_not_waited_for() {
    use nix::sys::socket::{Backlog, listen};

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("telex.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a listener");
    listen(&listener, Backlog::new(0).expect("a number")).expect("no queue");
    let _waiting = std::os::unix::net::UnixStream::connect(&path).expect("the one that it has room for");
    let address = format!("unix:{}", path.display());
    let began = std::time::Instant::now();
    let told = run(&address, &["call", "--timeout", "1s", "a", "ask"]);
    assert_eq!(told.code, Some(8), "{}", told.err);
    assert!(told.err.contains("it took no connection within 1 s"), "{}", told.err);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn the_users_own_daemon_is_found_with_one_connection() {
    use std::fs::{Permissions, set_permissions};

    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("telex.sock");
    let listener = UnixListener::bind(&path).expect("a listener");
    for open in [dir.path(), &path] {
        set_permissions(open, Permissions::from_mode(0o777)).expect("a mode");
    }
    let (accepted, connections) = channel();
    spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = accepted.send(());
            let lines = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
            for line in lines.map_while(Result::ok) {
                let answer = reply(&json(&line), json!({"error": null, "daemon": {}, "nodes": []}));
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    let run = |args: &[&str]| {
        let mut command = telex(args);
        command.env("XDG_RUNTIME_DIR", dir.path());
        if nix::unistd::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        start_with(&mut command, "1\n").finish()
    };
    for args in [
        &["call", "a", "ask", "1"][..],
        &["call", "-l", "a", "ask"],
        &["call", "-l", "--unordered", "a", "ask"],
    ] {
        let ended = run(args);
        assert_eq!((ended.code, connections.try_iter().count()), (Some(0), 1), "{args:?}: {}", ended.err);
    }
}
