//! Knows how to run `telex` and wait for what it does, and a daemon that speaks a script.
//! Never: what is right.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A running `telex`.
pub(crate) struct Running {
    pub(crate) child: Child,
    out: JoinHandle<String>,
    err: Receiver<String>,
    said: String,
}

/// `telex` with these arguments and no daemon but the one it is told.
pub(crate) fn telex(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telex"));
    command.args(args).env_remove("TELEX_ADDRESS").env("XDG_RUNTIME_DIR", "/nonexistent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end.
pub(crate) fn run(address: &str, args: &[&str]) -> Outcome {
    run_with(address, args, "")
}

/// Runs to the end with this on its stdin.
pub(crate) fn run_with(address: &str, args: &[&str], stdin: &str) -> Outcome {
    let mut running = start_with(telex(args).env("TELEX_ADDRESS", address), stdin);
    running.finish()
}

/// Starts, and waits until it says that it listens.
pub(crate) fn listen(address: &str, args: &[&str]) -> Running {
    listen_with(telex(args).env("TELEX_ADDRESS", address))
}

/// Starts a command, and waits until it says that it listens.
pub(crate) fn listen_with(command: &mut Command) -> Running {
    let mut running = start_with(command, "");
    running.said = running.next_word();
    assert!(running.said.starts_with("telex: listening"), "{}", running.said);
    running
}

/// Starts a command with this on its stdin.
pub(crate) fn start_with(command: &mut Command, stdin: &str) -> Running {
    let mut child = command.spawn().expect("telex");
    let pipe = child.stdin.take();
    let stdin = stdin.to_owned();
    // It may end before it has read all of it.
    spawn(move || pipe.map(|mut pipe| pipe.write_all(stdin.as_bytes())));
    let out = child.stdout.take().map(BufReader::new);
    let (say, err) = channel();
    let mut words = BufReader::new(child.stderr.take().expect("stderr"));
    spawn(move || {
        let mut line = String::new();
        while words.read_line(&mut line).expect("UTF-8") > 0 && say.send(std::mem::take(&mut line)).is_ok() {}
    });
    let out = spawn(move || {
        let mut text = String::new();
        out.map(|mut out| out.read_to_string(&mut text).expect("UTF-8"));
        text
    });
    Running { child, out, err, said: String::new() }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be over.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Waits for the next line of its stderr.
    pub(crate) fn next_word(&mut self) -> String {
        self.err.recv_timeout(SOON).expect("a line")
    }

    /// Waits for the end.
    pub(crate) fn finish(&mut self) -> Outcome {
        let deadline = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().expect("the end");
                panic!("it does not end");
            }
            sleep(Duration::from_millis(2));
        };
        let mut err = std::mem::take(&mut self.said);
        err.extend(self.err.iter());
        let out = std::mem::replace(&mut self.out, spawn(String::new)).join().expect("stdout");
        Outcome { code: status.code(), out, err }
    }
}

/// A daemon that says this to each connection, and closes it without having read.
pub(crate) fn closing(farewell: &'static str) -> Scripted {
    serve(move |mut stream| drop(stream.write_all(farewell.as_bytes())))
}

/// A daemon which says `script(line)` to each line; `None` ends the connection.
pub(crate) fn scripted(script: impl Fn(&Value) -> Option<String> + Send + 'static) -> Scripted {
    serve(move |mut stream| {
        let reader = BufReader::new(stream.try_clone().expect("a descriptor"));
        for line in reader.lines().map_while(Result::ok) {
            let Some(answer) = script(&serde_json::from_str(&line).expect(&line)) else { break };
            if stream.write_all(answer.as_bytes()).is_err() {
                break;
            }
        }
    })
}

/// A daemon that serves one connection after the other.
fn serve(each: impl Fn(UnixStream) + Send + 'static) -> Scripted {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).expect("a listener");
    spawn(move || listener.incoming().map_while(Result::ok).for_each(each));
    Scripted { address: format!("unix:{}", path.display()), _dir: dir }
}

/// Where a scripted daemon is.
pub(crate) struct Scripted {
    pub(crate) address: String,
    _dir: tempfile::TempDir,
}

/// The line of the daemon's reply to `request`, with these members in its body.
pub(crate) fn reply(request: &Value, mut body: Value) -> String {
    body["in_reply_to"] = request["message_id"].clone();
    let message_type = format!("{}_reply", request["message_type"].as_str().expect("a type"));
    format!("{}\n", serde_json::json!({"message_type": message_type, "from": null, "body": body}))
}
