//! Does all that the READMEs tell their readers to do, in shells kept open as windows, and compares what they
//! see with what is shown there.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../support/libraries.rs"]
mod libraries;
#[path = "../support/needs.rs"]
mod needs;
mod plugins;
mod reader;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reader::{Desk, Page, Step};

const README: Page = Page { name: "README.md", text: include_str!("../../README.md") };
/// What README.md shows as the folder of the reader's own socket.
const RUNTIME_DIR: &str = "/run/user/1000";
/// Whose windows they are where the test runs as root: nobody's.
const NOBODY: u32 = 65534;
/// What README.md has its reader use.
const TOOLS: [&str; 3] = ["nc", "socat", "python3"];
/// How long a record may take to the syslog.
const PATIENCE: Duration = Duration::from_secs(60);
/// Plugins that let the whole session through and take the log. `HERE` is the desk's folder.
const PLUGINS: &str = r#"
plugin_dir = "HERE/plugins"

[[plugin]]
path = "filter-acl"
[plugin.config]
default = "allow"
rule = [{ deny.own = "eve" }]

[[plugin]]
path = "log-file"
config = { path = "HERE/log", format = "text" }

[[plugin]]
path = "log-syslog"
config = { path = "HERE/syslog" }

"#;

/// Puts a program in its place. What this process itself has open for writing would be inherited by the
/// children of other tests, and cannot be run while they have it.
fn install(program: &Path, place: &Path) {
    let installed = Command::new("install").args(["-D", "-m", "755"]).arg(program).arg(place).status();
    assert!(installed.expect("install").success(), "{}", place.display());
}

/// Puts both programs, which are built by now, where cargo would have put them.
fn install_release(checkout: &Path) {
    for built in [env!("CARGO_BIN_EXE_telexd"), env!("CARGO_BIN_EXE_telex")] {
        let built = Path::new(built);
        install(built, &checkout.join("target/release").join(built.file_name().unwrap()));
    }
}

/// The folder of a checkout, as far as README.md needs it, and what its reader has installed.
fn desk(folder: &Path) -> Desk {
    install_release(folder);
    let text = "#!/bin/sh\ncase \"$*\" in\n'run --release') exec target/release/telexd ;;\n\
                'build --release') ;;\n*) echo \"unknown: cargo $*\"; exit 1 ;;\nesac\n";
    fs::write(folder.join("cargo"), text).unwrap();
    install(&folder.join("cargo"), &folder.join("bin/cargo"));
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc"), folder.join("etc")).unwrap();
    let runtime_dir = folder.join("run");
    fs::create_dir(&runtime_dir).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        // Root's switch would be the machine's.
        for owned in [folder, &runtime_dir] {
            chown(owned, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    Desk {
        folder: folder.to_owned(),
        variables: vec![
            ("XDG_RUNTIME_DIR", runtime_dir.clone().into()),
            ("XDG_STATE_HOME", folder.join("state").into()),
            ("HOME", folder.into()),
            ("PATH", path.into()),
        ],
        user: is_root.then_some(NOBODY),
        shown_folder: (RUNTIME_DIR, runtime_dir),
        log: None,
    }
}

/// The same where the switch has plugins: those above, and filter-rate as its README has it.
fn desk_with_plugins(folder: &Path) -> Desk {
    let mut desk = desk(folder);
    let plugins = folder.join("plugins");
    fs::create_dir(&plugins).unwrap();
    for plugin in ["filter-acl", "filter-rate", "log-file", "log-syslog"] {
        libraries::install(plugin, &plugins);
    }
    let rate = include_str!("../../plugins/filter-rate/README.md");
    let (rate, _) = rate.split_once("\n```toml\n").unwrap().1.split_once("```").unwrap();
    let config = format!("{}{rate}", PLUGINS.replace("HERE", folder.to_str().unwrap()));
    fs::write(folder.join("plugins.toml"), config).unwrap();
    let cargo = folder.join("bin/cargo");
    let text = fs::read_to_string(&cargo).unwrap();
    let with_config = text.replace("release/telexd ;;", "release/telexd --config plugins.toml ;;");
    assert_ne!(text, with_config);
    fs::write(&cargo, with_config).unwrap();
    desk.log = Some(folder.join("log"));
    desk
}

#[test]
fn the_readme_can_be_followed() {
    if !needs::programs(&TOOLS) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(&folder.path().canonicalize().unwrap());
    README.follow(&desk);
}

#[test]
fn with_plugins_it_can_be_followed_just_so() {
    if !needs::programs(&TOOLS) {
        return;
    }
    let guard = tempfile::tempdir().unwrap();
    let folder = guard.path().canonicalize().unwrap();
    let desk = desk_with_plugins(&folder);
    let syslog = UnixDatagram::bind(folder.join("syslog")).unwrap();
    fs::set_permissions(folder.join("syslog"), fs::Permissions::from_mode(0o666)).unwrap();
    syslog.set_read_timeout(Some(PATIENCE)).unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        let mut bytes = [0; 65536];
        while !said.last().is_some_and(|line: &String| line.ends_with(": stopped")) {
            let count = syslog.recv(&mut bytes).unwrap();
            said.push(String::from_utf8(bytes[..count].to_vec()).unwrap());
        }
        said
    });
    README.follow(&desk);
    let said = reader.join().unwrap();
    assert!(said.iter().any(|line| line.contains(" is alice (uid ")), "{said:?}");
}

#[test]
fn the_two_commands_are_named_and_ci_runs_the_second() {
    let steps = README.steps();
    let typed: Vec<&str> = steps
        .iter()
        .filter_map(|(_, step)| match step {
            Step::Type { window, text } if window == "switch" => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(typed.first(), Some(&"cargo run --release\n"));
    let tests: Vec<&str> = steps
        .iter()
        .filter_map(|(_, step)| if let Step::Test { text } = step { Some(text.trim_end()) } else { None })
        .collect();
    assert_eq!(tests, ["cargo test"]);
    // CI runs it by the script that installs what it needs.
    let has = |script: &str, command: &str| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).unwrap();
        assert!(text.lines().any(|line| line.contains(command)), "{script} does not run {command}");
    };
    has(".ci/run", "step tests/all");
    has("tests/all", "{ cargo test ");
    assert_eq!(steps.iter().filter(|(_, step)| matches!(step, Step::Systemd)).count(), 1);
}
