//! Knows how to tell a person what is wrong with a line that is no message, or that means something else than was
//! meant, and what would be right.
//! Never: what becomes of its sender.

use crate::limits::DEPTH_MAX;
use crate::wire::envelope::Broken;
use crate::wire::json::Object;
use crate::wire::message::excerpt;

/// A line that is right, for those who try something else.
const EXAMPLE: &str = r#"{"message_type":"whoami"}"#;
/// What a terminal hands on of a longer line: with its LF that fills the 4,096 bytes of the kernel's line
/// discipline (termios(3), canonical mode). It shows all of it all the same.
const TERMINAL_LINE_BYTES: usize = 4095;

/// What is wrong with the beginning of a stream that is no line of JSON objects: what protocol it is of, if that
/// can be told. None if it may be right, as far as it goes.
pub fn explain_beginning(bytes: &[u8]) -> Option<String> {
    const METHODS: &[&str] =
        &["GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "DELETE ", "PATCH ", "CONNECT ", "TRACE ", "PRI "];
    let bytes = bytes.trim_ascii_start();
    let what = match bytes {
        [] | [b'{', ..] => return None,
        [0x16, 0x03, ..] => "this is a TLS handshake (ClientHello), and this listener speaks no TLS",
        _ if METHODS.iter().any(|method| bytes.starts_with(method.as_bytes())) => {
            "this is an HTTP request, and telexd is no web server"
        }
        _ => "the first line is no JSON object",
    };
    Some(format!("{what}; expected lines of JSON, such as {EXAMPLE}; the connection is closed"))
}

/// What is wrong with a line that [`Envelope::scan`](crate::wire::envelope::Envelope::scan) refused.
pub fn explain(line: &[u8], broken: Broken) -> String {
    match broken {
        Broken::NotAnObject => {
            let line = String::from_utf8_lossy(line);
            format!("the line is JSON, but no object: {}; expected one such as {EXAMPLE}", excerpt(&line))
        }
        Broken::BadJson { column } => {
            let at = (column - 1).min(line.len());
            format!("the line is no valid JSON: {}", explain_json(line, at))
        }
    }
}

fn explain_json(line: &[u8], at: usize) -> String {
    let begins_as_object = line.trim_ascii_start().starts_with(b"{");
    let Some(&byte) = line.get(at) else {
        return match line.len() {
            TERMINAL_LINE_BYTES => format!(
                "it ends too early, after {} bytes: a terminal passes on no more of a line (but shows all of \
                 it); send longer lines from a file or a program",
                line.len()
            ),
            bytes => format!("it ends too early, after {bytes} bytes"),
        };
    };
    let place = format!("column {}, at: {}", at + 1, near(&line[at..]));
    if let Err(error) = std::str::from_utf8(line)
        && error.valid_up_to() <= at
    {
        format!("it is not UTF-8: {place}")
    } else if !begins_as_object {
        format!("{place}; expected an object such as {EXAMPLE}")
    } else if byte == b'\'' {
        format!("{place}; JSON has double quotes (\") where this has single ones")
    } else if is_surrogate(&line[at..]) || is_surrogate(&line[at.saturating_sub(6)..]) {
        format!("{place}; this is half of a surrogate pair, which stands for no character by itself")
    } else if (byte == b'{' || byte == b'[') && depth(&line[..at]) >= DEPTH_MAX {
        format!("{place}; it nests more than {DEPTH_MAX} levels deep")
    } else {
        place
    }
}

/// What was meant, perhaps, by a request of this type that went to a node or a topic and came to nothing: the
/// daemon's own request of that name, which has neither `to` nor `topic`. `target` is where it went, if that is
/// known. None if the daemon has no such request.
pub fn form_meant(message_type: &str, target: Option<&str>) -> Option<String> {
    let (key, unknown) = match message_type {
        "register" | "unregister" | "monitor" | "unmonitor" => ("node_id", "NODE"),
        "subscribe" | "unsubscribe" => ("topic", "TOPIC"),
        "tap" | "untap" => ("to", "PATTERN"),
        _ => return None,
    };
    let mut line = Vec::new();
    let mut object = Object::begin(&mut line);
    object.string("message_type", message_type);
    object.object("body", |body| {
        body.string(key, &excerpt(target.unwrap_or(unknown)));
    });
    object.end();
    Some(format!("; to ask the daemon, send {}", String::from_utf8_lossy(&line)))
}

/// The beginning of the rest of a line, by whole characters.
fn near(rest: &[u8]) -> String {
    const SHOWN_BYTES: usize = 20;
    let text = String::from_utf8_lossy(&rest[..rest.len().min(SHOWN_BYTES + 3)]);
    let end = text.char_indices().map(|(at, _)| at).take_while(|&at| at <= SHOWN_BYTES).last();
    match text.len() > SHOWN_BYTES {
        true => text[..end.unwrap_or(0)].to_owned(),
        false => text.into_owned(),
    }
}

fn is_surrogate(rest: &[u8]) -> bool {
    let digits = rest.strip_prefix(b"\\u").and_then(|digits| digits.get(..4));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .and_then(|digits| u16::from_str_radix(digits, 16).ok())
        .is_some_and(|unit| (0xd800..0xe000).contains(&unit))
}

/// How many brackets are open behind these bytes, which are valid as far as they go.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut in_string, mut is_escaped) = (0usize, false, false);
    for &byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::envelope::Envelope;

    fn explained(line: &[u8]) -> String {
        match Envelope::scan(line) {
            Err(broken) => explain(line, broken),
            Ok(_) => panic!("{} is a message", String::from_utf8_lossy(line)),
        }
    }

    #[test]
    fn what_a_person_typed_is_answered_by_what_is_right() {
        for word in ["help", "?", "quit", "GET / HTTP/1.1"] {
            let told = explained(word.as_bytes());
            assert!(told.contains(r#"expected an object such as {"message_type":"whoami"}"#), "{told}");
        }
        assert!(explained(b"[1]").contains("no object: [1]; expected one such as {"));
        assert!(explained(b"{'message_type':'ping'}").contains("double quotes"));
        let told = explained(b"{\"message_type\" 1}");
        assert_eq!(told, "the line is no valid JSON: column 17, at: 1}");
    }

    #[test]
    fn only_what_is_at_fault_is_spoken_of() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(128), "]".repeat(128));
        for (line, word) in [
            ("{\"a\":\"\\ud800\"}".as_bytes(), "surrogate"),
            (b"{\"a\":\"\xff\"}", "UTF-8"),
            (deep.as_bytes(), "levels"),
            (b"{\"a\":'x'}", "quotes"),
            (b"{\"a\":1", "too early"),
        ] {
            let told = explained(line);
            let words = ["surrogate", "UTF-8", "levels", "quotes", "too early"];
            let found: Vec<_> = words.into_iter().filter(|word| told.contains(word)).collect();
            assert_eq!(found, [word], "{told}");
        }
    }

    #[test]
    fn other_protocols_are_named() {
        for (bytes, right) in [
            (&b"POST / HTTP/1.1\r\n"[..], "HTTP"),
            (b"\x16\x03\x01\x02\x00\x01", "TLS"),
            (b"help\n", "no JSON object"),
            (b"\r\n [1]\n", "no JSON object"),
        ] {
            let told = explain_beginning(bytes).expect("something else");
            assert!(told.contains(right) && told.contains(EXAMPLE), "{told}");
        }
        for bytes in [&b""[..], b"\r\n", b"{", b" \n{\"a\":"] {
            assert_eq!(explain_beginning(bytes), None);
        }
    }

    #[test]
    fn a_line_that_a_terminal_cut_names_the_terminal() {
        let line = format!("{{\"body\":\"{}", "x".repeat(5000));
        assert!(explained(&line.as_bytes()[..4095]).contains("terminal"));
        assert!(!explained(&line.as_bytes()[..4094]).contains("terminal"));
    }

    #[test]
    fn no_character_is_cut() {
        for spaces in 0..24 {
            let line = format!("{{\"a\" {}€€€€€€€€€€", "x".repeat(spaces));
            let told = explained(line.as_bytes());
            assert!(!told.contains('\u{fffd}'), "{told}");
        }
    }
}
