//! The plugins of this repository in the real daemon, as their README files have them, and plugins in Rust
//! that panic there.

#![cfg(feature = "daemon")]
#![expect(clippy::print_stderr, reason = "the daemon's log")]

mod fake;
mod filters;
#[path = "../support/libraries.rs"]
mod libraries;
mod logs;
mod panics;
mod readme;
#[allow(dead_code, unused_imports, reason = "each of the tests that include this uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use support::Starter;

/// A daemon to be started with plugins, which lie in its own directory, and this configuration of them.
fn starter(plugins: &[&str], configuration: impl FnOnce(&Path) -> String) -> Starter {
    let starter = Starter::new();
    for plugin in plugins {
        libraries::install(plugin, starter.dir());
    }
    configure(starter.dir(), &configuration(starter.dir()));
    starter.argument("--config").argument("telexd.toml")
}

fn configure(dir: &Path, configuration: &str) {
    let text = format!("plugin_dir = {dir:?}\n{configuration}");
    fs::write(dir.join("telexd.toml"), text).expect("a configuration");
}
