//! telex_json.h does what it says, by itself and beside serde_json, as C and as C++; where it reads, sanitizers watch.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// Builds the program, and gives what it says to these lines.
fn answers(compiler: &[&str], name: &str, lines: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).args(STRICT).arg("-I").arg(here.join("include"));
    let built =
        command.arg(here.join("tests/json.c")).arg("-o").arg(&program).output().expect("a C compiler");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut child = Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let (mut stdin, lines) = (child.stdin.take().expect("its stdin"), lines.to_owned());
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let ran = child.wait_with_output().expect("its end");
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{told}{}", String::from_utf8_lossy(&ran.stderr));
    writer.join().expect("no panic").expect("all is read");
    told
}

#[test]
fn it_reads_as_c_and_as_cpp() {
    assert_eq!(answers(&["gcc", "-std=c11"], "json-c11", ""), "");
    assert_eq!(answers(&["gcc", "-std=c99", "-O2"], "json-c99", ""), "");
    assert_eq!(answers(&["g++", "-x", "c++", "-std=c++11"], "json-cc", ""), "");
}

/// All texts of up to so many of these pieces, put together.
fn each_text(pieces: &[&str], count: usize, text: &mut String, take: &mut dyn FnMut(&str)) {
    take(text);
    for piece in if count == 0 { &[] } else { pieces } {
        text.push_str(piece);
        each_text(pieces, count - 1, text, take);
        text.truncate(text.len() - piece.len());
    }
}

const POINTERS: [&str; 12] = ["", "/", "/a", "/a/0", "/0", "/1", "/0/a", "/00", "/-", "/~1", "/~01", "/é"];

/// Right and wrong texts: of the wrong ones it only has to read no more than there is.
#[test]
fn it_finds_what_serde_finds_and_never_reads_beyond() {
    let (mut nested, mut strings) = (Vec::new(), Vec::new());
    let mut take = |text: &str| nested.push(text.to_owned());
    let pieces = ["{", "}", "[", "]", "\"a\":", "\"\\/\":", "\"~1\":", "\"\":", ",", "0", " "];
    each_text(&pieces, 4, &mut String::new(), &mut take);
    each_text(&["{\"a\":", "{\"\\u0061\":", "]", "}", ",\"a\":", ",", "1"], 5, &mut String::new(), &mut take);
    nested.extend(["{\"é\":[true]}", "{\"\\u00e9\":1}", "[[[[[[", "\"\\u0000\"", "nul"].map(str::to_owned));
    let pieces = ["\"", "\\", "n", "u", "d83d", "DE00", "00e9", "ä", "/", "\\b\\f\\r\\t\\\\"];
    each_text(&pieces, 5, &mut String::new(), &mut |text| strings.push(format!("\"{text}")));
    let mut asked: Vec<_> = nested.iter().flat_map(|text| POINTERS.map(|pointer| (pointer, text))).collect();
    asked.extend(strings.iter().map(|text| ("", text)));
    let lines: String = asked.iter().map(|(pointer, text)| format!("{pointer}\t{text}\n")).collect();
    let sanitized = ["gcc", "-std=c11", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let told = answers(&sanitized, "json-sanitized", &lines);
    assert_eq!(told.lines().count(), asked.len());
    let mut found = 0;
    for ((pointer, text), told) in asked.into_iter().zip(told.lines()) {
        let Ok(parsed) = serde_json::from_str::<Value>(text) else { continue };
        let Some(expected) = parsed.pointer(pointer) else {
            assert_eq!(told, "-3", "{pointer} {text}");
            continue;
        };
        found += 1;
        let (json, decoded) = told.split_once('\t').map_or((told, None), |(json, text)| (json, Some(text)));
        assert_eq!(&serde_json::from_str::<Value>(json).expect(json), expected, "{pointer} {text}");
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(decoded, expected.as_str().map(hex).as_deref(), "{pointer} {text}");
    }
    assert!(found > 1000, "{found}");
}
