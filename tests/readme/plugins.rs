//! Follows plugins/README.md, from nothing but a clone and a built telexd: both plugins are really compiled.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::reader::{Desk, Page};
use super::{install_release, libraries};

const README: Page = Page { name: "plugins/README.md", text: include_str!("../../plugins/README.md") };
/// What the page shows as the folder in which the clone is.
const SHOWN_FOLDER: &str = "/home/you";

#[test]
fn the_readme_of_plugins_can_be_followed() {
    let guard = tempfile::tempdir().unwrap();
    let folder = guard.path().canonicalize().unwrap();
    // A library is not loaded from where others may write.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let clone = folder.join("telex");
    install_release(&clone);
    libraries::install("telex-fake", &clone.join("target/release"));
    for inside in ["Cargo.toml", "plugins", "src"] {
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join(inside), clone.join(inside)).unwrap();
    }
    README.follow(&Desk {
        variables: vec![
            ("CARGO_TARGET_DIR", folder.join("curfew/target").into()),
            ("CARGO_NET_OFFLINE", "true".into()),
        ],
        user: None,
        shown_folder: (SHOWN_FOLDER, folder.clone()),
        folder,
        log: None,
    });
}
