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
    let owned = |members: Members<'_>| -> Vec<(String, String)> {
        members.0.into_iter().map(|(key, raw)| (key, raw.to_owned())).collect()
    };
    let mut wanted = owned(Members::of(line).expect("an object"));
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
    for (member, names) in
        [(target, &["to", "topic"][..]), (message_type, &["message_type"]), (body, &["body"])]
    {
        let Some(member) = member else { continue };
        let is_it = |(key, _): &(String, String)| names.contains(&&**key);
        let Some(first) = wanted.iter().position(is_it) else {
            added.push(member);
            continue;
        };
        wanted[first] = (String::new(), String::new());
        wanted.retain(|member| !is_it(member));
        wanted[first] = member;
    }
    added.append(&mut wanted);
    assert_eq!(owned(got), added, "{line} became {new}");
}
