//! Programs that speak HTTP to the TCP port, as any page in a browser can make it do: no line of what they post is
//! carried out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd, needs, wait_until};

/// What a page might post: every line by itself would be carried out.
const LINES: &str = r#"{"message_type":"register","from":"intruder"}
{"message_type":"signal","to":"victim","body":"from the web"}
{"message_type":"signal","topic":"news","body":"from the web"}
"#;

/// A daemon, and one who would get what is posted.
struct Scene {
    telexd: Telexd,
    victim: Client,
    /// `127.0.0.1:PORT`
    authority: String,
}

impl Scene {
    fn new() -> Scene {
        let starter = Starter::new();
        let socket = format!("unix:{}", starter.dir().join("telex.sock").display());
        let telexd = starter.listen(&socket).listen("tcp:127.0.0.1:0").start();
        let mut victim = telexd.node("victim");
        victim.ask_well("subscribe", json!({"topic": "news"}));
        let authority = telexd.addresses[1].trim_start_matches("tcp:").to_owned();
        fs::write(telexd.dir().join("lines"), LINES).expect("a file");
        Scene { telexd, victim, authority }
    }

    fn file(&self) -> PathBuf {
        self.telexd.dir().join("lines")
    }

    /// How many connections were told that they speak no JSON.
    fn refused(&mut self) -> u64 {
        self.victim.stats()["errors"]["bad_json"].as_u64().unwrap_or(0)
    }

    /// Asserts that the daemon lives and that nothing was carried out.
    fn check(&mut self) {
        // Whatever had come before the answer would be read in its place.
        self.victim.ping();
        let found = self.victim.ask("resolve", json!({"node_id": "intruder"}));
        assert_eq!(found["code"], json!("no_such_node"), "{found}");
        wait_until("the end of what came over TCP", || self.victim.stats()["connections"]["now"] == json!(1));
        self.victim.ping();
    }
}

fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "20", "--http0.9"]);
    command.args(arguments).output().expect("curl")
}

#[test]
fn what_curl_posts_is_not_carried_out() {
    if !needs::programs(&["curl"]) {
        return;
    }
    let mut scene = Scene::new();
    let (http, https) = (format!("http://{}/", scene.authority), format!("https://{}/", scene.authority));
    let file = scene.file().display().to_string();
    let (data, form) = (format!("@{file}"), format!("lines=@{file}"));
    let ways: [(&[&str], &str); 6] = [
        (&[&http], "HTTP"),
        (&["--data-binary", &data, &http], "HTTP"),
        (&["--header", "Expect: 100-continue", "--data-binary", &data, &http], "HTTP"),
        (&["--form", &form, &http], "HTTP"),
        (&["--upload-file", &file, &http], "HTTP"),
        (&["--insecure", "--data-binary", &data, &https], "TLS"),
    ];
    for (count, (arguments, protocol)) in (1..).zip(ways) {
        let ran = curl(arguments);
        let said = String::from_utf8_lossy(&ran.stdout);
        let err = String::from_utf8_lossy(&ran.stderr);
        assert_ne!(ran.status.code(), Some(28), "{arguments:?}: the connection is not closed");
        // A client that was still sending may have lost it, and one that waits for TLS shows nothing.
        if let Ok(answer) = serde_json::from_str::<Value>(&said) {
            assert_eq!(answer["body"]["code"], json!("bad_json"), "{arguments:?}: {said}");
            let told = answer["body"]["error"].as_str().expect("a text");
            assert!(told.contains(protocol), "{arguments:?}: {told}");
        } else {
            assert!(said.is_empty(), "{arguments:?} shows more than one line: {said}");
            assert!(arguments.len() > 1, "nothing is behind this one: {err}");
        }
        assert_eq!(scene.refused(), count, "{arguments:?} is answered once: {err}");
        scene.check();
    }
}

/// Opens a page in a browser and waits until its script has come to an end; gives what the script left of the page.
fn browse(page: &Path, profile: &Path) -> String {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "90", "chromium", "--headless", "--no-sandbox", "--disable-gpu"]);
    command.args(["--no-first-run", "--disable-dev-shm-usage", "--virtual-time-budget=20000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.display())).env("HOME", profile);
    let ran = command.arg(format!("file://{}", page.display())).output().expect("timeout");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    out.into_owned()
}

/// In the mode `no-cors` a page may post to any address without being asked by anybody.
#[test]
fn what_a_page_in_chromium_posts_is_not_carried_out() {
    if !needs::programs(&["chromium"]) {
        return;
    }
    let mut scene = Scene::new();
    let text = format!(
        r#"<!doctype html><title>a page</title><p id="said">it waits</p><script>
const url = "http://{}/", lines = {};
const form = new FormData();
form.append("lines", new Blob(["\n" + lines]), "lines");
const post = body => fetch(url, {{method: "POST", mode: "no-cors", body}}).then(() => "answered", () => "refused");
(async () => {{
    const ends = [await post(lines), await post("\n" + lines), await post(form)];
    document.getElementById("said").textContent = "ends: " + ends.join(", ");
}})();
</script>"#,
        scene.authority,
        json!(LINES)
    );
    let page = scene.telexd.dir().join("page.html");
    fs::write(&page, text).expect("a page");
    let shown = browse(&page, &scene.telexd.dir().join("profile"));
    assert!(shown.contains("ends: refused, refused, refused"), "{shown}");
    // It may have tried each more than once.
    assert!(scene.refused() >= 3, "what was posted has come to the daemon");
    scene.check();
}
