//! The plugins that judge messages, between clients and the daemon.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use serde_json::{Value, json};

use crate::readme::{block, block_with, folder, readme};
use crate::support::{Client, Starter, Telexd, wait_for, wait_until};
use crate::{configure, starter};

/// The error of an answer that a filter has refused.
fn refusal(answer: &Value, filter: &str) -> String {
    assert_eq!((&answer["code"], &answer["filter"]), (&json!("denied"), &json!(filter)), "{answer}");
    answer["error"].as_str().expect("a reason").to_owned()
}

/// Asks a node something and gives the answer's body, which is the daemon's where the node does not answer.
fn call(client: &mut Client, message_type: &str, to: &str, body: Value) -> Value {
    client.send(&json!({"message_id": "call", "message_type": message_type, "to": to, "body": body}));
    client.message()["body"].take()
}

/// The user whose these tests are.
fn me() -> String {
    User::from_uid(Uid::effective()).expect("the users").expect("a name").name
}

fn acl(rules: &[String]) -> String {
    let rules: String = rules.iter().map(|rule| format!("    {rule}\n")).collect();
    format!("[[plugin]]\npath = \"filter-acl\"\n[plugin.config]\ndefault = \"deny\"\nrule = [\n{rules}]\n")
}

/// The first rule that the log says would allow what was denied.
fn offered(log: &str) -> Option<String> {
    Some(log.lines().find_map(|line| line.split_once("this rule would allow it: "))?.1.to_owned())
}

#[test]
fn acl_denies_and_logs_the_rule_that_allows_it_which_does() {
    let telexd = starter(&["filter-acl"], |_| acl(&[])).start();
    let mut rules = Vec::new();
    let mut client = telexd.client();
    let mut other = telexd.client();
    let attempts = [
        ("register", json!({"node_id": "web-1"}), "own \"web-1\""),
        ("subscribe", json!({"topic": "news.>"}), "subscribe to \"news.>\""),
        ("monitor", json!({"node_id": "db"}), "monitor \"db\""),
        ("list", json!({}), "ask the daemon for \"list\""),
    ];
    let mut learn = |attempt: &mut dyn FnMut() -> Value, what: &str| {
        let told = refusal(&attempt(), "filter-acl");
        assert_eq!(told, format!("{what} is denied by the default"));
        let before = format!("filter-acl: user \"{}\": {told}; this rule would allow it: ", me());
        telexd.wait_for_log(&before);
        let log = telexd.log();
        rules.push(offered(&log[log.find(&before).expect("the line")..]).expect("a rule"));
        configure(telexd.dir(), &acl(&rules));
        telexd.reload();
        attempt()
    };
    for (message_type, body, what) in attempts {
        let answer = learn(&mut || client.ask(message_type, body.clone()), what);
        assert_eq!(answer["error"], Value::Null, "{what}: {answer}");
    }
    let answer = learn(&mut || call(&mut other, "drop", "db", json!(1)), "send \"drop\" to \"db\"");
    assert_eq!(answer["code"], json!("no_such_node"), "it was let through: {answer}");
}

#[test]
fn acl_lets_only_whom_the_readme_allows() {
    // Users of this machine in place of those that it may not have.
    let changes = [
        ("\"db\", allow", &*format!("\"{}\", allow", me())),
        ("user = \"web\"", "user = \"nobody\""),
        ("[\"web\", \"backup\"]", "[\"nobody\", \"daemon\"]"),
    ];
    let telexd = starter(&["filter-acl"], |_| block_with("filter-acl", "toml services", &changes)).start();
    let mut client = telexd.node("db");
    let told = refusal(&client.ask("register", json!({"node_id": "web-7"})), "filter-acl");
    assert!(told.starts_with("own \"web-7\" is denied by rule 3"), "{told}");
    let told = refusal(&call(&mut client, "query", "db", json!(1)), "filter-acl");
    assert!(told.starts_with("send \"query\" to \"db\" is denied by rule 5"), "{told}");
    client.ask_well("register", json!({"node_id": "other"}));
}

#[test]
fn acl_learns_rules_that_allow_what_was_done() {
    let file = |dir: &Path| format!("\"{}\"", dir.join("learned.toml").display());
    let telexd = starter(&["filter-acl"], |dir| {
        block_with("filter-acl", "toml learn", &[("\"/var/lib/telexd/learned.toml\"", &file(dir))])
    });
    let telexd = telexd.start();
    let mut web = telexd.node("web");
    web.ask_well("subscribe", json!({"topic": "news.>"}));
    let learned = telexd.dir().join("learned.toml");
    let rules = wait_for("both are learned", || {
        let text = fs::read_to_string(&learned).ok()?;
        let rules: Vec<String> =
            text.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect();
        (rules.len() == 2).then_some(rules)
    });
    configure(telexd.dir(), &acl(&rules));
    telexd.reload();
    web.ask_well("unregister", json!({"node_id": "web"}));
    web.ask_well("register", json!({"node_id": "web"}));
    web.ask_well("subscribe", json!({"topic": "news.>"}));
    refusal(&web.ask("subscribe", json!({"topic": ">"})), "filter-acl");
}

/// Users and groups come and go, and are no reason not to start.
#[test]
fn acl_starts_with_a_rule_for_a_user_that_is_gone() {
    let rules = [
        "{ user = \"no-such-user\", allow = \"*\" },".to_owned(),
        "{ group = \"no-such-group\", deny = \"*\" },".to_owned(),
        "{ allow = \"*\" },".to_owned(),
    ];
    let told = |level: &str, rest: &str| {
        format!(
            "telexd: {level}: plugin filter-acl: rule {rest} is not on this machine, and matches no connection\n"
        )
    };
    let expected = [told("warning", "1: user \"no-such-user\""), told("error", "2: group \"no-such-group\"")];
    let checked = starter(&["filter-acl"], |_| acl(&rules)).argument("--check").run();
    assert_eq!((checked.code, checked.err), (Some(0), expected.concat()));
    let telexd = starter(&["filter-acl"], |_| acl(&rules)).start();
    telexd.node("a");
    telexd.reload();
    for line in &expected {
        wait_until(line, || telexd.log().matches(line.as_str()).count() == 2);
    }
}

#[test]
fn the_file_of_learned_rules_is_not_made_by_a_check() {
    let outside = tempfile::tempdir().expect("a directory");
    let file = outside.path().join("learned.toml");
    let quoted = format!("\"{}\"", file.display());
    let learn =
        |_: &Path| block_with("filter-acl", "toml learn", &[("\"/var/lib/telexd/learned.toml\"", &quoted)]);
    let checked = starter(&["filter-acl"], learn).argument("--check").run();
    assert_eq!((checked.code, file.exists()), (Some(0), false), "{}", checked.err);
    assert!(checked.err.contains("everything is let through while rules are learned"), "{}", checked.err);
    let _telexd = starter(&["filter-acl"], learn).before("umask 0").start();
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A full disk, in whose place a file may be no larger (RLIMIT_FSIZE): no line is torn, and learning goes on
/// when there is room.
#[test]
fn acl_learns_on_when_there_is_room_again() {
    const BLOCK: u64 = 512;
    const BLOCKS: u64 = 1 << 16;
    let file = |dir: &Path| format!("\"{}\"", dir.join("learned.toml").display());
    let starter = starter(&["filter-acl"], |dir| {
        block_with("filter-acl", "toml learn", &[("\"/var/lib/telexd/learned.toml\"", &file(dir))])
    });
    let learned = starter.dir().join("learned.toml");
    let before = vec![b'\n'; (BLOCK * BLOCKS) as usize - 20];
    fs::write(&learned, &before).expect("a file");
    let telexd = starter.before(&format!("ulimit -f {BLOCKS}")).start();
    let mut web = telexd.node("web");
    web.ask_well("subscribe", json!({"topic": "news.>"}));
    let told = format!("cannot write to {}: File too large", learned.display());
    wait_until(&told, || {
        web.ping();
        telexd.log().contains(&told)
    });
    assert!(fs::read(&learned).expect("the file") == before, "no line is torn");
    // It is opened for appending.
    File::options().write(true).truncate(true).open(&learned).expect("made empty");
    web.ask_well("register", json!({"node_id": "web-2"}));
    wait_until("all is learned", || {
        let text = fs::read_to_string(&learned).expect("text");
        text.lines().filter(|line| line.starts_with('{') && line.ends_with("},")).count() == 3
    });
    assert_eq!(web.stats()["plugins"][0]["strikes"], json!(0));
}

#[test]
fn rate_lets_a_burst_pass_then_nothing_then_more() {
    let telexd = starter(&["filter-rate"], |_| block("filter-rate", "toml")).start();
    let mut client = telexd.node("a");
    let mut report = || {
        client.send(&json!({"message_type": "report", "to": "a"}));
        client.message()
    };
    let began = Instant::now();
    (0..3).for_each(|_| assert_eq!(report()["message_type"], json!("report")));
    let told = refusal(&report()["body"], "filter-rate");
    let limit = "limit \"reports\" is reached (0.2 messages per second for each connection): try again in ";
    assert!(told.starts_with(limit), "{told}");
    wait_until("one more in five seconds", || report()["message_type"] == "report");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(4900), "after {waited:?}");
    // Another connection has a burst of its own.
    assert_ne!(call(&mut telexd.client(), "report", "nobody", json!(1))["code"], json!("denied"));
}

/// The first limit with a user that matches counts, and a name that is gone is no reason not to start.
#[test]
fn rate_has_limits_for_some_users() {
    let limit = |of: &str, burst: usize| {
        format!("  {{ per = \"user\", messages_per_second = 0.001, burst_messages = {burst}{of} }},\n")
    };
    let uid = Uid::effective();
    let all = [
        limit(", user = \"no-such-user\"", 1),
        limit(", group = \"no-such-group\"", 1),
        limit(&format!(", user = [{:?}, 4000000]", me()), 5),
        limit(&format!(", user = {uid}"), 2),
        limit("", 1),
    ];
    let config =
        format!("[[plugin]]\npath = \"filter-rate\"\nconfig = {{ limits = [\n{}] }}\n", all.concat());
    let telexd = starter(&["filter-rate"], |_| config.clone()).start();
    let mut client = telexd.node("a");
    let mut passed = || {
        (0..10).filter(|_| call(&mut client, "report", "nobody", json!(1))["code"] != json!("denied")).count()
    };
    assert_eq!(passed(), 5);
    assert_eq!(passed(), 0);
    let expected = ["1: user \"no-such-user\"", "2: group \"no-such-group\""].map(|what| {
        format!(
            "telexd: warning: plugin filter-rate: limit {what} is not on this machine, and matches no connection\n"
        )
    });
    // They are looked up again.
    telexd.reload();
    for line in &expected {
        wait_until(line, || telexd.log().matches(line.as_str()).count() == 2);
    }
    let checked = starter(&["filter-rate"], |_| config).argument("--check").run();
    assert_eq!((checked.code, checked.err), (Some(0), expected.concat()));
}

#[test]
fn rate_drops_in_silence_where_that_is_wanted() {
    const SENT: usize = 200;
    let telexd = starter(&["filter-rate"], |_| block("filter-rate", "toml")).start();
    let mut client = telexd.node("a");
    client.ask_well("subscribe", json!({"topic": "debug.>"}));
    client.write("{\"message_type\":\"signal\",\"topic\":\"debug.x\"}\n".repeat(SENT).as_bytes());
    client.send(&json!({"message_id": "end", "message_type": "ping"}));
    let mut arrived = 0;
    while client.message()["topic"] == "debug.x" {
        arrived += 1;
    }
    let dropped = client.stats()["plugins"][0]["drop"].as_u64().expect("a number") as usize;
    assert!(arrived >= 50 && dropped > 0, "{arrived} arrived, {dropped} dropped");
    assert_eq!(arrived + dropped, SENT);
}

/// The README's rules, the second of which has its schema in a file of this directory.
fn schema(dir: &Path, maximum_length: usize) -> String {
    let file = dir.join("news.json");
    fs::write(&file, json!({"type": "string", "maxLength": maximum_length}).to_string()).expect("a schema");
    block_with("filter-schema", "toml", &[("/etc/telexd/news.json", file.to_str().expect("UTF-8"))])
}

#[test]
fn schema_refuses_with_the_place_of_what_is_wrong() {
    let telexd = starter(&["filter-schema"], |dir| schema(dir, 5)).start();
    let mut client = telexd.node("kitchen");
    let readme = readme("filter-schema");
    for (body, told) in [
        (
            json!({"celsius": 26}),
            "does not fit rule 1 at \"/celsius\": the value is greater than the maximum of 25",
        ),
        (json!({}), "the body does not fit rule 1: \"celsius\" is a required property"),
    ] {
        let refused = refusal(&call(&mut client, "heat", "kitchen", body), "filter-schema");
        assert!(refused.ends_with(told) && readme.contains(&refused), "{refused}");
    }
    assert_eq!(call(&mut client, "heat", "kitchen", json!({"celsius": 21})), json!({"celsius": 21}));

    // A signal has no answer but where it is refused.
    let mut publish = |body: &str| {
        client.send(&json!({"message_type": "signal", "topic": "news.today", "body": body}));
        client.send(&json!({"message_id": "end", "message_type": "ping"}));
        let answers: Vec<Value> = std::iter::from_fn(|| Some(client.message()))
            .take_while(|message| message["message_type"] != "ping_reply")
            .collect();
        answers.iter().map(|answer| refusal(&answer["body"], "filter-schema")).collect::<Vec<_>>()
    };
    assert_eq!(publish("short"), [""; 0]);
    assert!(publish("longer")[0].starts_with("the body does not fit rule 2: "));
    schema(telexd.dir(), 6);
    telexd.reload();
    assert_eq!(publish("longer"), [""; 0], "a reload reads the file again");
}

/// Large messages take it longer, and are no reason to give it up.
#[test]
fn schema_judges_large_messages_with_its_defaults() {
    const RULE: &str = r#"{ message_type = "rows", schema = { type = "array", items = { type = "array", items = { type = "string" } } } }"#;
    let rule = format!("[[plugin]]\npath = \"filter-schema\"\nconfig = {{ rules = [{RULE}] }}\n");
    let telexd = starter(&["filter-schema"], |_| rule).start();
    let mut a = telexd.node("a");
    let row = vec!["x".repeat(30); 10];
    let rows = vec![row; 1400];
    for _ in 0..12 {
        a.send(&json!({"message_type": "rows", "to": "a", "body": rows}));
        assert_eq!(a.message()["message_type"], json!("rows"), "{}", telexd.log());
    }
    assert_eq!(a.stats()["plugins"][0]["strikes"], json!(0), "{}", telexd.log());
    assert_eq!(call(&mut a, "rows", "a", json!([["small"]])), json!([["small"]]));
}

/// Builds the library by the command of its README.
fn build_example(dir: &Path) {
    let readme = readme("filter-example");
    let command = readme.lines().find(|line| line.starts_with("cc ")).expect("the command");
    let library = dir.join("libfilter_example.so");
    let command = command.replace("-o libfilter_example.so", &format!("-o '{}'", library.display()));
    assert!(command.contains(" '/"), "{command}");
    let built = Command::new("sh").args(["-c", &command]).current_dir(folder("filter-example")).status();
    assert!(built.expect("sh").success(), "{command}");
}

fn with_example(configuration: &str) -> Telexd {
    let telexd: Starter = starter(&[], |dir| {
        build_example(dir);
        configuration.to_owned()
    });
    telexd.start()
}

#[test]
fn example_refuses_or_replaces_as_its_readme_says() {
    let strict = block("filter-example", "toml");
    let telexd = with_example(&strict);
    let mut alice = telexd.node("alice");
    let readme = readme("filter-example");
    for body in [json!("warm"), json!({"celsius": "21"}), json!({"celsius": 30})] {
        let told = refusal(&call(&mut alice, "heat", "alice", body), "filter-example");
        assert!(readme.contains(&format!("\n    {told}\n")), "{told}");
    }
    // It does not know that it may only be asked.
    let message = json!({"message_type": "heat", "to": "alice", "body": "warm"});
    let told = alice.ask_well("explain", json!({"message": message}));
    let ruling = json!({"filter": "filter-example", "verdict": null, "reason": "not asked"});
    assert_eq!((&told["verdicts"], &told["refusal"]), (&json!([ruling]), &Value::Null));
    let lenient = strict.replace("config = { strict = true }\n", "");
    assert_ne!(lenient, strict);
    configure(telexd.dir(), &lenient);
    telexd.signal(Signal::SIGHUP);
    let is_lenient = || call(&mut alice, "heat", "alice", json!({"celsius": 30})) == json!({"celsius": 25});
    wait_until("who asks for more gets 25", is_lenient);
}

#[test]
fn explain_asks_the_filters_and_nothing_comes_of_it() {
    let configuration = |_: &Path| {
        "[[plugin]]\npath = \"filter-acl\"\n[plugin.config]\ndefault = \"allow\"\n\
         rule = [{ deny.send = \"secret\" }]\n\
         [[plugin]]\npath = \"filter-rate\"\n[plugin.config]\n\
         limits = [{ per = \"connection\", messages_per_second = 0.001 }]\n"
            .to_owned()
    };
    let telexd = starter(&["filter-acl", "filter-rate"], configuration).start();
    let mut worker = telexd.client();
    worker.register("worker");
    let mut client = telexd.client();
    let explain = |client: &mut Client, to: &str| {
        let message = json!({"message_type": "ask", "to": to});
        client.ask_well("explain", json!({"message": message}))
    };
    let pass = |filter: &str| json!({"filter": filter, "verdict": "pass", "reason": null});
    for _ in 0..3 {
        let told = explain(&mut client, "worker");
        assert_eq!(told["verdicts"], json!([pass("filter-acl"), pass("filter-rate")]));
        assert_eq!((&told["refusal"], &told["receivers"][0]["has_room"]), (&Value::Null, &json!(true)));
    }
    let told = explain(&mut client, "secret");
    let reason = "send \"ask\" to \"secret\" is denied by rule 1";
    let reject = json!({"filter": "filter-acl", "verdict": "reject", "reason": reason});
    assert_eq!(told["verdicts"], json!([reject]));
    assert_eq!(told["refusal"], json!({"code": "denied", "error": reason, "filter": "filter-acl"}));
    assert!(!telexd.log().contains("secret"), "{}", telexd.log());
    // The bucket is as full as ever, and then empty.
    client.send(&json!({"message_id": 1, "message_type": "ask", "to": "worker"}));
    assert_eq!(worker.message()["message_id"], 1);
    let told = explain(&mut client, "worker");
    assert_eq!(told["verdicts"][1]["verdict"], "reject", "{told}");
    assert_eq!(told["refusal"]["filter"], "filter-rate");
    let counted = |stats: &Value, name: &str| {
        let plugins = stats["plugins"].as_array().expect("plugins").clone();
        plugins.iter().find(|plugin| plugin["name"] == name).expect("it is there")["reject"].clone()
    };
    let stats = client.stats();
    assert_eq!((counted(&stats, "filter-acl"), counted(&stats, "filter-rate")), (json!(0), json!(0)));
}
