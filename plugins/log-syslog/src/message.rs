//! Knows what a record looks like in syslog.
//! Never: where it goes.

use syslog::{Facility, Formatter3164, Formatter5424, LogFormat, Severity};
use telex_log::Line;
use telex_plugin::{Level, Record};

/// Where rsyslog cuts, as far as it is left at its defaults.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// The longest APP-NAME of RFC 5424.
const TAG_BYTES_MAX: usize = 48;

/// Who says what is logged.
pub(crate) struct Origin {
    facility: Facility,
    tag: String,
}

impl Origin {
    pub(crate) fn new(facility: &str, tag: &str) -> Result<Origin, String> {
        let known = facility.parse().map_err(|()| {
            format!(
                "facility: \"{facility}\" is none; it takes kern, user, mail, daemon, auth, syslog, lpr, news, \
                 uucp, cron, authpriv, ftp or local0 to local7"
            )
        })?;
        let is_right = |byte: u8| byte.is_ascii_graphic() && !b"[]:".contains(&byte);
        if tag.is_empty() || tag.len() > TAG_BYTES_MAX || !tag.bytes().all(is_right) {
            return Err(format!(
                "tag: \"{tag}\" is no name of a program: 1 to {TAG_BYTES_MAX} visible ASCII characters, but \
                 for [, ] and :"
            ));
        }
        Ok(Origin { facility: known, tag: tag.to_owned() })
    }

    /// For the socket of this machine, whose daemons know this form only, and the host themselves. A line end stands
    /// behind each record, which a stream socket needs.
    pub(crate) fn rfc_3164(self) -> impl Fn(&Record<'_>, &mut Vec<u8>) + Send + Sync + 'static {
        let formatter = Formatter3164 {
            facility: self.facility,
            hostname: None,
            process: self.tag,
            pid: std::process::id(),
        };
        move |record, out| {
            let begin = out.len();
            // Writing to a Vec cannot fail.
            let _ = formatter.format(out, severity(record.level), Line(record));
            cut(out, begin);
            out.push(b'\n');
        }
    }

    /// For another machine; in a stream, a line end stands behind each record.
    pub(crate) fn rfc_5424(
        self,
        is_stream: bool,
    ) -> impl Fn(&Record<'_>, &mut Vec<u8>) + Send + Sync + 'static {
        // The name of this machine is known to its default.
        let formatter =
            Formatter5424 { facility: self.facility, process: self.tag, ..Formatter5424::default() };
        move |record, out| {
            let begin = out.len();
            let _ = formatter.format(out, severity(record.level), (0, Default::default(), Line(record)));
            cut(out, begin);
            if is_stream {
                out.push(b'\n');
            }
        }
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warning => Severity::LOG_WARNING,
        Level::Notice => Severity::LOG_NOTICE,
        Level::Info => Severity::LOG_INFO,
        Level::Debug => Severity::LOG_DEBUG,
    }
}

/// Cuts what begins at `begin` to a length that is received whole, and not within a character.
fn cut(out: &mut Vec<u8>, begin: usize) {
    const MARK: &str = "…";
    if out.len() - begin <= MESSAGE_BYTES_MAX {
        return;
    }
    let goes_on = |byte: u8| byte & 0xc0 == 0x80;
    let mut end = begin + MESSAGE_BYTES_MAX - MARK.len();
    while goes_on(out[end]) {
        end -= 1;
    }
    out.truncate(end);
    out.extend_from_slice(MARK.as_bytes());
}

#[cfg(test)]
mod tests {
    use telex_log::testing::ALICE;

    use super::*;

    fn text(format: impl Fn(&Record<'_>, &mut Vec<u8>), message: &str) -> String {
        let mut out = b"before".to_vec();
        format(&Record { level: Level::Warning, message, ..ALICE }, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    fn origin() -> Origin {
        Origin::new("daemon", "telexd").unwrap()
    }

    #[test]
    fn a_message_for_this_machine() {
        let text = text(origin().rfc_3164(), "is slow");
        // <28>Oct 31 12:00:00 telexd[123]: :7 is slow
        assert!(text.starts_with("<28>"), "daemon is 3, warning is 4: {text}");
        assert_eq!(text.find(" telexd["), Some("<28>Oct 31 12:00:00".len()), "{text}");
        assert!(text.ends_with(&format!(" telexd[{}]: :7 is slow\n", std::process::id())), "{text}");
    }

    #[test]
    fn a_message_for_another_machine() {
        let datagram = text(origin().rfc_5424(false), "is slow");
        let words: Vec<_> = datagram.split(' ').collect();
        assert_eq!((words[0], words[3]), ("<28>1", "telexd"), "{datagram}");
        assert!(words[1].ends_with('Z') && words[1].contains('T'), "{datagram}");
        assert!(!words[2].is_empty() && words[2] != "localhost", "the host's own name: {datagram}");
        assert!(datagram.ends_with(&format!(" {} 0 - :7 is slow", std::process::id())), "{datagram}");
        assert!(text(origin().rfc_5424(true), "is slow").ends_with(" - :7 is slow\n"));
    }

    #[test]
    fn nobody_forges_a_record() {
        let forged = "is a\n<24>Oct 31 12:00:00 su[1]: root\r\0\u{1b}[2J\u{85}\u{7f}";
        let text = text(origin().rfc_5424(true), forged);
        assert_eq!(text.chars().filter(|c| c.is_control()).collect::<String>(), "\n", "{text}");
        assert!(text.contains("is a\u{fffd}<24>Oct"), "{text}");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        for more in 0..4 {
            let long = format!("{}{}", "x".repeat(more), "é€😀".repeat(2000));
            let text = text(origin().rfc_5424(true), &long);
            assert!((8000..=MESSAGE_BYTES_MAX + 1).contains(&text.len()), "{}", text.len());
            assert!(text.ends_with("…\n"), "{text}");
        }
    }

    #[test]
    fn facility_and_tag_are_checked() {
        let refused = |facility, tag| Origin::new(facility, tag).err().unwrap();
        assert!(
            refused("deamon", "telexd").starts_with("facility: \"deamon\" is none; it takes kern, user,")
        );
        for tag in ["", "a b", "a[1]", "a:", "é", "a\n", &"x".repeat(49)] {
            assert!(refused("daemon", tag).starts_with(&format!("tag: \"{tag}\" is no name")), "{tag}");
        }
        assert!(Origin::new("local7", "telexd-2.x_y").is_ok());
    }
}
