//! Lines that are written anew, by serde_json.

use telex::wire::envelope::Envelope;
use telex::wire::message::Target;
use telex::wire::rewrite::{Changes, rewrite};

use super::envelope::Members;

/// Compares what stands in a line that was written anew, member by member.
pub(crate) fn check(line: &str, changes: &Changes<'_>) {
    let Ok(envelope) = Envelope::scan(line.as_bytes()) else { return };
    if envelope.doubled().is_some() {
        return;
    }
    let new = String::from_utf8(rewrite(&envelope, changes)).expect("UTF-8");
    if *changes == Changes::default() {
        assert_eq!(new, line);
    }
    assert!(!new.contains('\n') || line.contains('\n'), "{line} became two lines: {new}");
    let got = Members::of(&new).unwrap_or_else(|| panic!("{line} became no object: {new}"));
    let mut wanted: Vec<(String, String)> = Vec::new();
    wanted
        .extend(Members::of(line).expect("an object").0.into_iter().map(|(key, raw)| (key, raw.to_owned())));
    let mut added = Vec::new();
    let text = |text: &str| serde_json::to_string(text).expect("a string");
    let target = changes.target.as_ref().map(|target| match target {
        Target::Daemon => ("to".to_owned(), "null".to_owned()),
        Target::Address(to) => ("to".to_owned(), text(to)),
        Target::Topic(topic) => ("topic".to_owned(), text(topic)),
    });
    let message_type = changes.message_type.map(|value| ("message_type".to_owned(), text(value)));
    let body =
        changes.body.map(|json| ("body".to_owned(), json.replace(['\n', '\r'], " ").trim().to_owned()));
    let is_target = |key: &str| key == "to" || key == "topic";
    let is_type = |key: &str| key == "message_type";
    let is_body = |key: &str| key == "body";
    let rules: [(Option<_>, &dyn Fn(&str) -> bool); 3] =
        [(target, &is_target), (message_type, &is_type), (body, &is_body)];
    for (member, is_it) in rules {
        let Some(member) = member else { continue };
        let Some(first) = wanted.iter().position(|(key, _)| is_it(key)) else {
            added.push(member);
            continue;
        };
        wanted.retain({
            let mut at = 0..;
            move |(key, _)| at.next() == Some(first) || !is_it(key)
        });
        wanted[first] = member;
    }
    added.append(&mut wanted);
    let got: Vec<_> = got.0.into_iter().map(|(key, raw)| (key, raw.to_owned())).collect();
    assert_eq!(got, added, "{line} became {new}");
}
