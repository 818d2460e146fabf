//! Knows what stands in the README files of the plugins.
//! Never: what it is for.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a plugin.
pub(crate) fn folder(plugin: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(plugin)
}

pub(crate) fn readme(plugin: &str) -> String {
    fs::read_to_string(folder(plugin).join("README.md")).expect("its README")
}

/// The first block of a plugin's README that begins with this mark, such as `toml`.
pub(crate) fn block(plugin: &str, mark: &str) -> String {
    let readme = readme(plugin);
    let (_, rest) = readme.split_once(&format!("\n```{mark}\n")).expect("the block");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// The same with something of this machine in place of what it has for an example; that must be there.
pub(crate) fn block_with(plugin: &str, mark: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(block(plugin, mark), |text, (from, to)| {
        assert!(text.contains(from), "no {from} in {text}");
        text.replace(from, to)
    })
}
