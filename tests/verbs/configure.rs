//! The verbs that configure: the profiles of nodes, and how the daemon is started.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A user's folder of configuration.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().expect("a folder"))
    }

    /// One that has this file of profiles.
    fn with(text: &str) -> Home {
        let home = Home::new();
        fs::create_dir(home.0.path().join("telex")).expect("a folder");
        fs::write(home.file(), text).expect("a file");
        home
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("telex/profiles.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).expect("the file")
    }

    fn start(&self, args: &[&str]) -> Running {
        start_with(telex(args).env("XDG_CONFIG_HOME", self.0.path()), "")
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.start(args).finish()
    }

    fn out(&self, args: &[&str]) -> String {
        let Outcome { code, out, err } = self.run(args);
        assert_eq!((code, &*err), (Some(0), ""), "{args:?}: {out}");
        out
    }

    fn lines(&self, args: &[&str]) -> Vec<Value> {
        self.out(args).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// What is said where it is refused, and nothing is changed.
    fn refused(&self, args: &[&str]) -> String {
        let before = fs::read(self.file()).ok();
        let Outcome { code, out, err } = self.run(args);
        assert_eq!((code, &*out), (Some(2), ""), "{args:?}: {err}");
        assert_eq!(fs::read(self.file()).ok(), before, "{args:?}");
        err
    }
}

#[test]
fn profiles_are_made_changed_and_removed() {
    let home = Home::new();
    for args in [
        &["profile", "global", "set", "address", r#"["unix:/a", 'unix:/b']"#][..],
        &["profile", "worker", "add", "services", "images"],
        &["profile", "worker", "add", "services", "['thumbs']"],
        &["profile", "night", "set", "node_id", "night/%n"],
        &["parent", "night", "worker"],
    ] {
        assert_eq!(home.out(args), "");
    }
    let text = "[global]\naddress = [\"unix:/a\", 'unix:/b']\n\n[profile.worker]\nservices = [\"images\", 'thumbs']\n\n\
                [profile.night]\nnode_id = \"night/%n\"\nparent = \"worker\"\n";
    assert_eq!(home.text(), text);
    let mode = |path: PathBuf| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode(home.file()), mode(home.0.path().join("telex"))), (0o600, 0o700));
    assert_eq!(
        home.lines(&["profile", "night", "show"]),
        [json!({"name": "node_id", "value": "night/%n"}), json!({"name": "parent", "value": "worker"})]
    );
    let services = json!({"name": "services", "value": ["images", "thumbs"]});
    assert_eq!(home.lines(&["profile", "worker", "show", "services"]), [services]);
    let table = home.out(&["profile", "worker", "show", "--table"]);
    assert_eq!(table, "SETTING   VALUE\nservices  images thumbs\n");
    assert_eq!(home.lines(&["parent", "night"]), [json!({"name": "worker"})]);
    assert_eq!(home.out(&["parent", "night", "--table"]), "worker\n");
    home.out(&["profile", "worker", "del", "services", "images"]);
    home.out(&["profile", "night", "del", "parent"]);
    home.out(&["profile", "global", "del"]);
    assert_eq!(
        home.text(),
        "[profile.worker]\nservices = ['thumbs']\n\n[profile.night]\nnode_id = \"night/%n\"\n"
    );
    assert_eq!(home.lines(&["profile", "global", "show"]), Vec::<Value>::new());
}

#[test]
fn services_may_have_arguments() {
    let home = Home::with("[profile.worker]\nservices = ['images'] # here\n");
    home.out(&["profile", "worker", "add", "services", "[['backup', '/srv', { keep = 7 }], \"thumbs\"]"]);
    let line = "services = ['images', ['backup', '/srv', { keep = 7 }], \"thumbs\"] # here\n";
    assert_eq!(home.text(), format!("[profile.worker]\n{line}"));
    let services = json!(["images", ["backup", "/srv", {"keep": 7}], "thumbs"]);
    assert_eq!(home.lines(&["profile", "worker", "show"]), [json!({"name": "services", "value": services})]);
    assert_eq!(home.lines(&["showconfig", "worker"])[2]["value"], services);
    let table = home.out(&["profile", "worker", "show", "--table"]);
    assert_eq!(table, "SETTING   VALUE\nservices  images [\"backup\",\"/srv\",{\"keep\":7}] thumbs\n");
    let pairs =
        home.lines(&["showconfig", "worker", "services", "[['a', 1]]", "services", "[['b', 1.5, []]]"]);
    assert_eq!(pairs[2]["value"], json!([["b", 1.5, []]]));
    home.out(&["profile", "worker", "del", "services", "[\"images\", ['backup', '/srv', {keep=7}]]"]);
    assert_eq!(home.text(), "[profile.worker]\nservices = [\"thumbs\"] # here\n");
    let refused = home.refused(&["profile", "worker", "set", "services", "[['a', nan]]"]);
    assert!(refused.starts_with("telex: services: holds nan, which is no number of JSON\n"), "{refused}");
    assert!(refused.ends_with("telex:   [['a', nan]]\ntelex:          ^^^\n"), "{refused}");
}

#[test]
fn a_file_at_fault_is_mended_by_taking_the_fault_away() {
    let home = Home::with("[profile.a]\nparent = 'b'\n");
    let refused = home.run(&["profile", "a", "set", "node_id", "x"]);
    assert!(refused.code == Some(1) && refused.err.contains("profiles.toml:2"), "{refused:?}");
    home.out(&["profile", "a", "del", "parent"]);
    assert_eq!(home.text(), "[profile.a]\n");
    let home = Home::with("[profile.a]\nparent = 'b'\nnode_id = 'x'\n");
    let refused = home.run(&["profile", "a", "del", "node_id"]);
    assert!(refused.code == Some(1) && refused.err.contains("profiles.toml:2"), "{refused:?}");
}

#[test]
fn comments_at_the_end_of_the_file_stay_where_they_are() {
    let text = "[profile.worker]\nservices = [\"images\"]\n\n[global]\naddress = [\"unix:/a\"]\n# until May:\n# address = []\n";
    let home = Home::with(text);
    home.out(&["profile", "night", "set", "node_id", "n"]);
    assert_eq!(home.text(), format!("{text}\n[profile.night]\nnode_id = \"n\"\n"));
    let home = Home::with("profile = { a = {} }\n# the end\n");
    home.out(&["profile", "night", "set", "node_id", "n"]);
    let text = home.text();
    assert!(text.contains("night = { node_id = \"n\" }") && text.ends_with("}\n# the end\n"), "{text}");
}

#[test]
fn each_line_of_a_file_of_mixed_ends_keeps_its_own() {
    let home = Home::with("[global]\r\nnode_id = 'a'\n# LF\n\r\n[profile.b]\nnode_id = 'b'\r\n");
    home.out(&["profile", "global", "set", "node_id", "c"]);
    home.out(&["profile", "b", "add", "services", "images"]);
    assert_eq!(
        home.text(),
        "[global]\r\nnode_id = \"c\"\n# LF\n\r\n[profile.b]\nnode_id = 'b'\r\nservices = [\"images\"]\r\n"
    );
}

#[test]
fn what_a_node_could_not_be_configured_by_is_refused_before_it_is_written() {
    let home = Home::with("# mine\n[profile.worker]\n[profile.night]\nparent = 'worker'\n");
    for (args, told) in [
        (
            &["profile", "worker", "set", "services", "['a', 5]"][..],
            "telex: services: holds 5; it must be a list of functions, such as [\"images\", [\"backup\", \"/srv\"]]\n\
             telex:   ['a', 5]\ntelex:         ^\n",
        ),
        (
            &["parent", "worker", "night"],
            "telex: profile.worker.parent: closes a circle: night > worker > night; the last of all parents must be a \
             profile without one\ntelex:   night\ntelex:   ^^^^^\n",
        ),
        (
            &["parent", "worker", "day"],
            "telex: profile.worker.parent: there is no profile \"day\"; there are night, worker\n\
             telex:   day\ntelex:   ^^^\n",
        ),
        (
            &["profile", "worker", "del"],
            "telex: profile.night.parent: there is no profile \"worker\"; there are night\n",
        ),
        (&["profile", "worker", "set", "node_id"], "telex: a KEY and a VALUE are needed\n"),
        (&["profile", "worker", "add", "node_id", "a"], "telex: node_id is no list: use set\n"),
        (&["profile", "night", "del", "parent", "a"], "telex: parent is no list: del takes no VALUE of it\n"),
        (&["profile", "night", "show", "parent", "a"], "telex: show takes no VALUE\n"),
        (&["profile", "night", "del", "services"], "telex: \"night\" sets no services\n"),
        (&["profile", "night", "show", "services"], "telex: \"night\" sets no services\n"),
        (&["profile", "global", "show", "address"], "telex: \"global\" sets no address\n"),
        (
            &["profile", "night", "del", "services", "a"],
            "telex: \"a\" is not among the services of \"night\"\n",
        ),
        (
            &["profile", "night", "del", "services", "[['a', 5]]"],
            "telex: [\"a\",5] is not among the services of \"night\"\n",
        ),
        (&["profile", "day", "del"], "telex: there is no profile \"day\"\n"),
        (&["profile", "day", "show"], "telex: there is no profile \"day\"\n"),
        (&["parent", "day"], "telex: there is no profile \"day\"\n"),
    ] {
        assert_eq!(home.refused(args), told, "{args:?}");
    }
    let global = home.refused(&["profile", "global", "set", "parent", "worker"]);
    assert_eq!(global, "telex: global has no parent: it is the last of all\n");
    let key = home.refused(&["profile", "worker", "set", "node-id", "a"]);
    assert!(key.contains("node_id"), "{key}");
    let address = home.refused(&["profile", "worker", "set", "address", "/run/x.sock"]);
    assert!(
        address.contains("did you mean unix:/run/x.sock?\ntelex:   /run/x.sock\ntelex:   ^^^^"),
        "{address}"
    );
}

#[test]
fn a_file_that_is_at_fault_is_left_as_it_is() {
    let home = Home::with("[profile.a]\ncolour = 'red'\n");
    let told = home.run(&["profile", "b", "set", "node_id", "b"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("profiles.toml:2: profile.a.colour: is no setting"), "{}", told.err);
    assert_eq!(home.text(), "[profile.a]\ncolour = 'red'\n");
    fs::remove_file(home.file()).expect("the file");
    fs::create_dir(home.file()).expect("a folder");
    let told = home.run(&["profile", "b", "show"]);
    assert_eq!((told.code, told.err.contains("is no regular file")), (Some(1), true), "{}", told.err);
    let homeless =
        start_with(telex(&["profile", "b", "show"]).env_remove("XDG_CONFIG_HOME").env_remove("HOME"), "")
            .finish();
    assert_eq!(homeless.code, Some(2), "{}", homeless.err);
}

#[test]
fn a_symbolic_link_is_followed_and_mode_and_comments_stay() {
    let home = Home::with("");
    let kept = home.0.path().join("kept.toml");
    fs::write(&kept, "# head\n[profile.a] # beside\n# end\n").expect("a file");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o640)).expect("a mode");
    fs::remove_file(home.file()).expect("the file");
    symlink("../kept.toml", home.file()).expect("a link");
    let owner =
        if fs::metadata(&kept).expect("metadata").uid() == 0 { 1234 } else { nix::unistd::getuid().as_raw() };
    std::os::unix::fs::chown(&kept, Some(owner), Some(owner))
        .or_else(|error| match owner {
            1234 => Err(error),
            _ => Ok(()),
        })
        .expect("an owner");
    home.out(&["profile", "a", "set", "node_id", "a"]);
    assert!(home.file().is_symlink());
    let about = fs::metadata(&kept).expect("metadata");
    assert_eq!((about.permissions().mode() & 0o777, about.uid()), (0o640, owner));
    assert_eq!(home.text(), "# head\n[profile.a] # beside\nnode_id = \"a\"\n# end\n");
    let names: Vec<_> = fs::read_dir(home.0.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    fs::remove_file(&kept).expect("the file");
    assert_eq!(home.run(&["profile", "a", "set", "node_id", "b"]).code, Some(1));
}

#[test]
fn of_changes_at_the_same_time_none_is_lost() {
    let home = Home::new();
    let names: Vec<String> = (0..12).map(|number| format!("p{number}")).collect();
    let running: Vec<Running> =
        names.iter().map(|name| home.start(&["profile", name, "add", "services", name])).collect();
    for mut one in running {
        let Outcome { code, err, .. } = one.finish();
        assert_eq!((code, &*err), (Some(0), ""));
    }
    for name in &names {
        let services = json!({"name": "services", "value": [name]});
        assert_eq!(home.lines(&["profile", name, "show"]), [services]);
    }
}

#[test]
fn a_lock_is_waited_for() {
    let home = Home::with("");
    let lock = fs::File::open(home.file().parent().expect("a folder")).expect("the folder");
    lock.lock().expect("a lock");
    let mut waiting = home.start(&["profile", "a", "set", "node_id", "a"]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(waiting.child.try_wait().expect("a status").is_none());
    assert_eq!(home.text(), "");
    drop(lock);
    assert_eq!(waiting.finish().code, Some(0));
}

#[test]
fn what_a_node_is_configured_by_and_why() {
    let home = Home::with(
        "[global]\naddress = ['unix:/a']\n[profile.worker]\nservices = ['images']\n[profile.night]\nparent = 'worker'\nnode_id = 'night/%n'\n",
    );
    let file = home.file().display().to_string();
    let row =
        |name: &str, value: Value, source: String| json!({"name": name, "value": value, "source": source});
    assert_eq!(
        home.lines(&["showconfig", "night"]),
        [
            row("node_id", json!("night/%n"), format!("{file}:7: [profile.night]")),
            row("address", json!(["unix:/a"]), format!("{file}:2: [global]")),
            row("services", json!(["images"]), format!("{file}:4: [profile.worker]")),
        ]
    );
    let own = "the command line".to_owned();
    assert_eq!(
        home.lines(&[
            "showconfig",
            "night",
            "address",
            "['tcp:127.0.0.1:1', 'unix:/b']",
            "services",
            "[]",
            "node_id",
            "x"
        ]),
        [
            row("node_id", json!("x"), own.clone()),
            row("address", json!(["tcp:127.0.0.1:1", "unix:/b"]), own.clone()),
            row("services", json!([]), own),
        ]
    );
    let table = Home::new().out(&["showconfig", "other", "--table", "--address", "unix:/c"]);
    assert_eq!(
        table,
        "SETTING   VALUE     SOURCE\nnode_id   other/%u  the default\naddress   unix:/c   --address\nservices            the default\n"
    );
    assert_eq!(home.refused(&["showconfig", "night", "node_id"]), "telex: node_id has no VALUE\n");
    let parent = home.refused(&["showconfig", "night", "parent", "a"]);
    assert!(parent.contains("is no setting of a node; there are node_id, address, services"), "{parent}");
    let address = home.refused(&["showconfig", "night", "address", "x"]);
    assert!(address.ends_with("telex:   x\ntelex:   ^\n"), "{address}");
}

#[test]
fn the_daemon_is_started_with_a_profile() {
    let home = Home::with("[profile.small]\nmax_names = 3\n");
    let socket = home.0.path().join("s");
    let address = format!("unix:{}", socket.display());
    let file = home.file();
    let config = file.to_str().expect("UTF-8");
    let state = format!("'{}'", home.0.path().join("state").display());
    let args =
        ["run", "small", "max_requests", "7", "state_dir", &state, "--config", config, "--address", &address];
    let _daemon = home.start(&args);
    support::wait_until("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let told = start_with(telex(&["config"]).env("TELEX_ADDRESS", &address), "").finish();
    let setting = |name: &str| -> Value {
        let all = told.out.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        all.into_iter().find(|setting| setting["name"] == name).expect(name)
    };
    assert_eq!((&setting("max_names")["value"], &setting("max_requests")["value"]), (&json!(3), &json!(7)));
    assert!(setting("max_names")["source"].as_str().is_some_and(|source| source.contains("small")));
    // What a reload puts in force, and what has to wait for a restart.
    fs::write(&file, "host = 'beta'\n[profile.small]\nmax_names = 4\n").expect("the file");
    let at = |args: &[&str]| start_with(telex(args).env("TELEX_ADDRESS", &address), "").finish();
    assert_eq!(at(&["reload"]).code, Some(0));
    let told = at(&["config"]);
    let setting = |name: &str| -> Value {
        let all = told.out.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        all.into_iter().find(|setting| setting["name"] == name).expect(name)
    };
    let (host, names) = (setting("host"), setting("max_names"));
    assert_eq!((&names["value"], &names["next"], &host["next"]), (&json!(4), &Value::Null, &json!("beta")));
    assert_eq!((&names["applies"], &host["applies"]), (&json!("now"), &json!("restart")), "{names} {host}");
    let table = at(&["config", "--table"]).out;
    let row = table.lines().find(|row| row.starts_with("host ")).expect("a row");
    assert!(row.contains("restart") && row.ends_with("\"beta\""), "{row}");
    assert_eq!(home.run(&["run", "small", "max_names"]).code, Some(2));
    // The daemon itself tells what is wrong, and its status is this one's.
    let told = home.run(&["run", "large", "--config", config]);
    assert_eq!(
        (told.code, told.err.starts_with("telexd: --profile large: there is no such profile")),
        (Some(2), true)
    );
}

/// Puts a program in its place. What this process itself has open for writing would be inherited by the children of
/// other tests, and cannot be run while they have it.
fn install(program: &Path, place: &Path) {
    let installed =
        std::process::Command::new("install").args(["-m", "755"]).arg(program).arg(place).status();
    assert!(installed.expect("install").success(), "{}", place.display());
}

#[test]
fn without_a_daemon_to_start_it_says_so() {
    let home = Home::new();
    let copy = home.0.path().join("telex");
    install(env!("CARGO_BIN_EXE_telex").as_ref(), &copy);
    let mut command = std::process::Command::new(&copy);
    command.args(["run", "small"]).env("PATH", home.0.path());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let told = start_with(&mut command, "").finish();
    assert_eq!(
        (told.code, &*told.err),
        (Some(8), "telex: there is no telexd beside this command, and none in $PATH\n")
    );
    // The one in $PATH is taken where none is beside it.
    let folder = home.0.path().join("bin");
    fs::create_dir(&folder).expect("a folder");
    let script = home.0.path().join("script");
    fs::write(&script, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").expect("a script");
    install(&script, &folder.join("telexd"));
    let told = start_with(command.args(["a", "1", "b", "x y"]).env("PATH", &folder), "").finish();
    assert_eq!(told.out, "--profile\nsmall\n--set\na=1\n--set\nb=x y\n");
}
