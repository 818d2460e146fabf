//! The header and the Rust of the ABI are one: every struct has the same fields at the same places, and every
//! constant the same value. A real C compiler says what the header means, in C99 and in C++11.

#[path = "../../../tests/support/needs.rs"]
mod needs;

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use telex_plugin::raw;

/// What is compared: the C expression, and its value in Rust.
type Facts = Vec<(String, i64)>;

macro_rules! layout {
    ($facts:ident, $c:literal = $rust:ty { $($field:ident),* $(,)? }) => {
        $facts.push((concat!("sizeof(", $c, ")").to_owned(), size_of::<$rust>() as i64));
        $facts.push((format!("field_count({})", $c), [$(stringify!($field)),*].len() as i64));
        $($facts.push((
            format!("offsetof({}, {})", $c, stringify!($field)),
            offset_of!($rust, $field) as i64,
        ));)*
    };
}

macro_rules! constants {
    ($facts:ident, $($name:ident),* $(,)?) => {
        $($facts.push((concat!("TELEX_", stringify!($name)).to_owned(), i64::from(raw::$name)));)*
    };
}

fn facts() -> Facts {
    let mut facts = Facts::new();
    layout!(facts, "telex_str" = raw::Str { data, len });
    layout!(
        facts,
        "telex_host" = raw::Host {
            size,
            abi,
            context,
            daemon,
            name,
            log,
            fail,
            set_timer,
            extension,
            checking,
            reserved
        }
    );
    layout!(
        facts,
        "telex_descriptor" =
            raw::Descriptor { magic, abi, size, minor, name, version, create, destroy, extension }
    );
    layout!(
        facts,
        "telex_peer" = raw::Peer {
            size,
            transport,
            connection,
            unique_id,
            node_ids,
            node_id_count,
            uid,
            gid,
            pid,
            user,
            administrator,
            reserved
        }
    );
    layout!(
        facts,
        "telex_message" = raw::Message {
            size,
            kind,
            sender,
            line,
            message_id,
            message_type,
            from,
            to,
            topic,
            key,
            body,
            in_reply_to
        }
    );
    layout!(
        facts,
        "telex_call" = raw::Call { size, flags, context, reason, replace, value, emit, replace_at }
    );
    layout!(
        facts,
        "telex_record" = raw::Record { size, level, time, event, connection, node_id, uid, message, fields }
    );
    layout!(facts, "telex_log" = raw::Log { record, flush });
    layout!(facts, "telex_interest" = raw::Interest { message_type, to, topic, from });
    layout!(facts, "telex_filter" = raw::Filter { judge, interests });
    layout!(
        facts,
        "telex_event" = raw::Event { size, kind, replayed, reserved, peer, node_id, topic, group, reason }
    );
    layout!(facts, "telex_events" = raw::Events { event, wants });
    constants!(
        facts,
        MAGIC,
        ABI,
        MINOR,
        OK,
        PASS,
        DROP,
        REJECT,
        REPLACE,
        FAULT,
        PANIC,
        NOT_FOUND,
        BAD_VALUE,
        TOO_MANY,
        NOT_NOW,
        EMERG,
        ALERT,
        CRIT,
        ERR,
        WARNING,
        NOTICE,
        INFO,
        DEBUG,
        UNIX,
        TCP,
        REQUEST,
        SIGNAL,
        REPLY,
        FIELD_TO,
        FIELD_TOPIC,
        FIELD_TYPE,
        FIELD_BODY,
        CONNECTED,
        REGISTERED,
        UNREGISTERED,
        SUBSCRIBED,
        UNSUBSCRIBED,
        DISCONNECTED,
        STARTED,
        STOPPING,
        RELOADED,
        TIMER,
    );
    facts
}

fn header() -> String {
    std::fs::read_to_string(include_dir().join("telex_plugin.h")).expect("the header")
}

fn include_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// Has the compiler print what it makes of `expressions`.
fn compiled(compiler: &[&str], file: &str, expressions: &[&str]) -> BTreeMap<String, i64> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (dir.join(file), dir.join(format!("{file}.out")));
    let lines: String = expressions
        .iter()
        .map(|expression| {
            let name = expression.replace('"', "\\\"");
            format!("    printf(\"%s=%lld\\n\", \"{name}\", (long long)({expression}));\n")
        })
        .collect();
    let text = format!(
        "#include \"telex_plugin.h\"\n#include <stdio.h>\nint main(void) {{\n{lines}    return 0;\n}}\n"
    );
    std::fs::write(&source, text).expect("writing the source");
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-I"]);
    let built =
        command.arg(include_dir()).arg(&source).arg("-o").arg(&program).output().expect("a C compiler");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&program).output().expect("the program");
    let text = String::from_utf8(ran.stdout).expect("UTF-8");
    let fact = |line: &str| {
        let (name, value) = line.rsplit_once('=')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().map(|line| fact(line).expect("a fact")).collect()
}

const C: [&str; 2] = ["cc", "-std=c99"];
const CPP: [&str; 2] = ["c++", "-std=c++11"];

#[test]
fn the_header_means_the_same_in_c_and_rust() {
    means_the_same(&C, "header.c");
}

#[test]
fn the_header_means_the_same_in_cpp_and_rust() {
    if needs::programs(&["c++"]) {
        means_the_same(&CPP, "header.cc");
    }
}

fn means_the_same(compiler: &[&str], file: &str) {
    let facts = facts();
    let in_c: Vec<_> = facts.iter().filter(|(name, _)| !name.starts_with("field_count")).collect();
    let expressions: Vec<_> = in_c.iter().map(|(name, _)| name.as_str()).collect();
    let compiled = compiled(compiler, file, &expressions);
    for (name, value) in &in_c {
        assert_eq!(compiled.get(name), Some(value), "{name} in {file}");
    }
}

#[test]
fn a_literal_becomes_a_text_in_c() {
    literals(&C, "literal.c");
}

#[test]
fn a_literal_becomes_a_text_in_cpp() {
    if needs::programs(&["c++"]) {
        literals(&CPP, "literal.cc");
    }
}

fn literals(compiler: &[&str], file: &str) {
    let facts =
        [(r#"TELEX_STR("four").len"#, 4), (r#"TELEX_STR("four").data[3]"#, 114), (r#"TELEX_STR("").len"#, 0)];
    let expressions = facts.map(|(expression, _)| expression);
    let compiled = compiled(compiler, file, &expressions);
    for (name, value) in facts {
        assert_eq!(compiled.get(name), Some(&value), "{name} in {file}");
    }
}

/// Nothing stands in the header that the list above does not have.
#[test]
fn nothing_is_left_out() {
    let (header, facts) = (header(), facts());
    let known = |name: &str| facts.iter().any(|(fact, _)| fact == name);
    let mut fields = BTreeMap::<&str, i64>::new();
    let mut struct_name = None;
    for line in header.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["typedef", "struct", name, "{"] | ["struct", name, "{"] => struct_name = Some(*name),
            [end, ..] if end.starts_with('}') => struct_name = None,
            _ => {}
        }
        let is_field =
            line.starts_with("    ") && line.contains(';') && !line.trim_start().starts_with(['*', '/']);
        if let Some(name) = struct_name.filter(|_| is_field) {
            *fields.entry(name).or_default() += 1;
        }
        for three in words.windows(3).filter(|three| three[1] == "=") {
            let is_constant = three[2].trim_end_matches([',', '}', ';']).parse::<i64>().is_ok();
            assert!(!is_constant || known(three[0]), "{} is only in the header", three[0]);
        }
    }
    for (name, count) in &fields {
        let expected = facts.iter().find(|(fact, _)| *fact == format!("field_count({name})"));
        assert_eq!(expected.map(|(_, count)| count), Some(count), "the fields of {name}");
    }
    assert_eq!(fields.len(), 12, "{fields:?}");
    for (macro_name, id) in
        [("TELEX_LOG", raw::LOG), ("TELEX_FILTER", raw::FILTER), ("TELEX_EVENTS", raw::EVENTS)]
    {
        assert!(header.contains(&format!("#define {macro_name} \"{id}\"\n")), "{macro_name}");
    }
}
