//! Knows the protocol as a page for people, which follows.
//! Never: any of it as code; its tests hold the page to that.
#![doc = ""]
#![doc = include_str!("PROTOCOL.md")]

#[cfg(test)]
mod tests {
    use crate::limits::{self, Limits, SharedNames};
    use crate::wire::code::Code;
    use crate::wire::control::Ask;
    use crate::wire::envelope::Envelope;

    const PAGE: &str = include_str!("PROTOCOL.md");

    /// The rows of the table with this head, each as its cells.
    fn table(head: &str) -> Vec<Vec<&'static str>> {
        let lines = PAGE.lines().skip_while(|line| !line.starts_with(&format!("| {head} |")));
        let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
        let cells = |row: &'static str| row.trim_matches('|').split(" | ").map(|cell| cell.trim()).collect();
        let rows: Vec<Vec<&str>> = rows.map(cells).collect();
        assert!(!rows.is_empty(), "there is no table of {head}");
        rows
    }

    fn word(cell: &str) -> &str {
        cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or_else(|| panic!("{cell}"))
    }

    fn grouped(number: usize) -> String {
        let digits = number.to_string();
        let mut out = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        out
    }

    fn size(bytes: usize) -> String {
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if bytes >= unit && bytes.is_multiple_of(unit) {
                return format!("{} {name}", bytes / unit);
            }
        }
        format!("{} bytes", grouped(bytes))
    }

    #[test]
    fn the_settings_are_those_of_the_code() {
        // Taken apart in full, so that a new one cannot be forgotten.
        let Limits {
            max_line_bytes,
            max_queue_bytes,
            max_memory_bytes,
            max_connections,
            max_connections_per_uid,
            max_names,
            max_requests,
            max_subscriptions,
            max_known_nodes,
            request_timeout,
            stall_timeout,
            shared_names,
        } = Limits::default();
        let seconds = |time: std::time::Duration| format!("{} s", time.as_secs_f64());
        assert_eq!(shared_names, SharedNames::User);
        let expected = [
            ("max_line_bytes", size(max_line_bytes)),
            ("max_queue_bytes", size(max_queue_bytes)),
            ("max_memory_bytes", size(max_memory_bytes)),
            ("max_connections", grouped(max_connections)),
            ("max_connections_per_uid", grouped(max_connections_per_uid)),
            ("max_names", grouped(max_names)),
            ("max_requests", grouped(max_requests)),
            ("max_subscriptions", grouped(max_subscriptions)),
            ("max_known_nodes", grouped(max_known_nodes)),
            ("request_timeout", seconds(request_timeout)),
            ("stall_timeout", seconds(stall_timeout)),
            #[cfg(feature = "daemon")]
            ("drain_timeout", seconds(crate::config::Config::default().drain_timeout)),
            #[cfg(not(feature = "daemon"))]
            ("drain_timeout", "5 s".to_owned()),
            ("shared_names", "user".to_owned()),
        ];
        let rows = table("setting");
        let told: Vec<_> = rows.iter().map(|row| (word(row[0]), row[1].to_owned())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn the_fixed_bounds_are_those_of_the_code() {
        let expected = [
            size(limits::NAME_BYTES_MAX),
            size(limits::REPLY_TYPE_BYTES_MAX),
            size(limits::ADDRESS_BYTES_MAX),
            format!("{} levels", limits::DEPTH_MAX),
            format!("{} ms", grouped(limits::TIMEOUT_MS_MAX as usize)),
            format!("{} lines", limits::BROKEN_LINES_MAX),
            grouped(limits::ENDPOINTS_MAX),
            format!("{} bytes", grouped(limits::META_BYTES_MAX)),
            grouped(limits::PAGE_ENTRIES_MAX),
            size(limits::STALL_BYTES_MIN as usize),
            size(limits::MAX_LINE_BYTES_MAX),
            size(limits::ADDED_BYTES_MAX),
            grouped(limits::KEPT_BACK_MAX),
            format!("{} s", limits::KEPT_BACK_TIME.as_secs()),
        ];
        let told: Vec<&str> = table("bound").iter().map(|row| row[0]).collect();
        assert_eq!(told, expected);
        let constants = include_str!("limits.rs").matches("\npub const ").count();
        assert_eq!(constants, expected.len(), "a bound of limits.rs is not on the page");
    }

    #[test]
    fn the_codes_are_those_of_the_code() {
        let told: Vec<&str> = table("code").iter().map(|row| word(row[0])).collect();
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(told, all);
    }

    #[test]
    fn the_requests_are_those_that_the_daemon_knows() {
        let mut known = Vec::new();
        for row in table("request") {
            let name = word(row[0]);
            let is_known =
                !matches!(Ask::read(name, None), Err(refusal) if refusal.code == Code::UnknownType);
            assert_eq!(is_known, !row[1].contains("*not yet*"), "{name}");
            if is_known {
                known.push(name);
            }
        }
        let source = include_str!("wire/control.rs");
        let (_, arms) = source.split_once("match message_type {").unwrap();
        let (arms, _) = arms.split_once("_ => {").unwrap();
        let arms = arms.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
        assert_eq!(known, arms.map(|(name, _)| name).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_request_takes_is_told() {
        let (asks, _) = include_str!("wire/control.rs").split_once("#[cfg(test)]").unwrap();
        let source = [asks, include_str!("wire/fields.rs")].concat();
        for reader in ["text", "needed", "flag", "word", "integer", "unique_id", "raw"] {
            for (at, call) in source.match_indices(&format!("{reader}(\"")) {
                let (name, _) = source[at + call.len()..].split_once('"').unwrap();
                let told =
                    table("request").iter().any(|row| row.len() > 1 && row[1].contains(&format!("`{name}`")));
                assert!(told || name == "body", "{name} is not on the page");
            }
        }
    }

    #[test]
    fn the_examples_are_valid_lines() {
        let mut lines = PAGE.lines();
        let mut count = 0;
        while lines.by_ref().any(|line| line.starts_with("```")) {
            for line in lines.by_ref().take_while(|line| !line.starts_with("```")) {
                assert!(Envelope::scan(line.as_bytes()).is_ok_and(|line| line.doubled().is_none()), "{line}");
                count += 1;
            }
        }
        assert_eq!(count, 2);
    }

    #[cfg(feature = "daemon")]
    #[test]
    fn the_counters_and_limits_that_the_daemon_tells_are_on_the_page() {
        use crate::clock::Now;
        use crate::core::{About, Core, Counters, Gate, Identity, Input, Judged, Peer, Transport, Verdict};

        struct Counting;

        impl Gate for Counting {
            fn judge(&mut self, _: &Judged<'_>) -> Verdict {
                Verdict::Pass
            }

            fn counters(&self) -> Vec<Counters> {
                vec![Counters::default()]
            }
        }

        let now = Now { mono: std::time::Duration::ZERO, wall: std::time::Duration::ZERO };
        let about = About { version: "0", host: "h".to_owned(), drain_timeout: std::time::Duration::ZERO };
        let mut core = Core::new(about, Limits::default(), now);
        let identity = Identity::Kernel { uid: Some(1), gid: Some(1), pid: 1 };
        let peer = Peer { transport: Transport::Unix, identity, administrator: false };
        let session = core.open(1, peer, now).unwrap();
        let bytes = b"{\"message_type\":\"stats\"}\n{\"message_type\":\"whoami\"}\n{\"message_type\":\"register\",\"from\":\"a\"}\n{\"message_type\":\"resolve\",\"body\":{\"node_id\":\"a\"}}\n";
        core.handle(Input::Received { session, bytes }, now, &mut Counting);
        let mut slices = [std::io::IoSlice::new(b""); 64];
        let filled = core.transmit(session, &mut slices);
        let said = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said.lines().count(), 4);
        for line in said.lines() {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(message["body"]["error"], serde_json::Value::Null, "{line}");
            check_keys(&message["body"]);
        }
    }

    #[cfg(feature = "daemon")]
    fn check_keys(value: &serde_json::Value) {
        for (key, value) in value.as_object().into_iter().flatten() {
            assert!(PAGE.contains(&format!("`{key}`")) || key == "in_reply_to", "{key} is not on the page");
            check_keys(value);
            value.as_array().into_iter().flatten().for_each(check_keys);
        }
    }
}
