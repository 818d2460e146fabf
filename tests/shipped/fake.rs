//! The fake daemon for plugins in C, and the headers beside it, as C and as C++ compilers take them.

use std::path::Path;
use std::process::Command;

use crate::libraries;

fn check(compiler: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().expect("a directory");
    let library = libraries::install("telex-fake", dir.path());
    let program = dir.path().join("fake");
    let built = Command::new(compiler[0])
        .args(&compiler[1..])
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(root.join("plugins/abi/include"))
        .arg(root.join("tests/shipped/fake.c"))
        // Of the linker it is the path that counts.
        .args(["-x", "none"])
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", dir.path().display()))
        .arg("-o")
        .arg(&program)
        .output()
        .expect("a C compiler");
    assert!(built.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&program).output().expect("the program");
    let told = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(told, "all is well\n", "{compiler:?}: {}", String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn a_plugin_in_c_is_tested_without_a_daemon() {
    check(&["gcc", "-std=c11"]);
    check(&["gcc", "-std=c99", "-O2"]);
    check(&["g++", "-x", "c++", "-std=c++11"]);
}

#[test]
fn sanitizers_find_nothing() {
    check(&["gcc", "-std=c11", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
}
