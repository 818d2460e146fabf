//! Knows how the plugins of this repository are built, and put where a daemon loads them from.
//! Never: what they do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All libraries that packages of the workspace make for others to load, by the names of their targets.
///
/// They are built as `cargo test` builds the whole workspace, which has just been done then. The features of
/// a dependency are those that the packages and their tests want together; to build fewer packages, or
/// without `--examples`, would be to build with others, and most of it a second time.
pub(crate) fn built() -> &'static BTreeMap<String, PathBuf> {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profile = if cfg!(debug_assertions) { "test" } else { "release" };
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--frozen", "--workspace", "--lib", "--examples", "--message-format=json"])
            .args(["--profile", profile])
            .arg("--target-dir")
            .arg(target)
            .current_dir(ROOT)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo");
        assert!(built.status.success(), "the plugins cannot be built");
        let messages = String::from_utf8(built.stdout).expect("UTF-8");
        messages.lines().filter_map(library).collect()
    })
}

/// The library that a message of cargo tells of.
fn library(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).expect("JSON");
    let target = &message["target"];
    let is_library = |types: &Vec<Value>| types.iter().any(|one| one == "cdylib");
    target["crate_types"].as_array().filter(|types| is_library(types))?;
    let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let library = files.into_iter().find(|file| file.ends_with(".so"))?;
    Some((target["name"].as_str()?.to_owned(), library.into()))
}

/// Puts the library of a plugin, such as `log-file`, into a directory, as an installation would; gives its
/// path.
pub(crate) fn install(plugin: &str, dir: &Path) -> PathBuf {
    let name = plugin.replace('-', "_");
    let library =
        built().get(&name).unwrap_or_else(|| panic!("no library {name} among {:?}", built().keys()));
    let copy = dir.join(format!("lib{name}.so"));
    fs::copy(library, &copy).expect("a copy of the library");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).expect("its permissions");
    copy
}
