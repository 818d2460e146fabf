//! Knows the rules: which messages each is for, and what is said of a body that does not fit.
//! Never: how a body is judged.

use std::path::PathBuf;

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::Value;
use telex_plugin::{Interest, matches};

use crate::{json, schema};

/// What is looked at in a message. What it does not have is an empty text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) is_reply: bool,
    pub(crate) message_type: &'a str,
    pub(crate) to: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) body: Option<&'a str>,
}

/// All rules, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    patterns: Interest,
    schema: Validator,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    rules: Vec<Value>,
}

/// One rule, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    message_type: Option<String>,
    to: Option<String>,
    topic: Option<String>,
    schema: Option<Value>,
    schema_file: Option<PathBuf>,
}

impl Rules {
    /// Reads the configuration of the plugin, and the schema files that it names.
    pub(crate) fn read(config: &str) -> Result<Rules, String> {
        let config: Config = serde_json::from_str(config).map_err(|error| error.to_string())?;
        if config.rules.is_empty() {
            return Err("there are no rules; rules = [{ message_type = \"heat\", schema_file = \
                 \"/etc/telexd/heat.json\" }] would be one"
                .into());
        }
        let rules = config.rules.into_iter().zip(1..);
        let rules = rules.map(|(rule, n)| Rule::read(rule).map_err(|error| format!("rule {n}: {error}")));
        rules.collect::<Result<_, _>>().map(Rules)
    }

    pub(crate) fn interests(&self) -> Vec<Interest> {
        self.0.iter().map(|rule| rule.patterns.clone()).collect()
    }

    /// Whether the body fits the schemas of all rules that are for this message; or else why not.
    pub(crate) fn judge(&self, sent: &Sent<'_>) -> Result<(), String> {
        let mut rules = self.0.iter().zip(1..).filter(|(rule, _)| rule.is_for(sent)).peekable();
        if rules.peek().is_none() {
            return Ok(());
        }
        let body = json::read(sent.body.unwrap_or("null"))
            .map_err(|error| format!("the body cannot be judged: {error}"))?;
        for (rule, n) in rules {
            if let Err(error) = rule.schema.validate(&body) {
                let what = if sent.body.is_some() { "the body" } else { "there is no body, and null" };
                let at = match error.instance_path().as_str() {
                    "" => String::new(),
                    path => format!(" at {path:?}"),
                };
                let reason = format!("{what} does not fit rule {n}{at}: {}", error.masked_with("the value"));
                return Err(reason.chars().take(REASON_CHARS_MAX).collect());
            }
        }
        Ok(())
    }
}

/// What is wrong can be as long as the body.
const REASON_CHARS_MAX: usize = 500;

impl Rule {
    fn read(rule: Value) -> Result<Rule, String> {
        let written: Written = serde_path_to_error::deserialize(rule).map_err(|error| error.to_string())?;
        let Written { message_type, to, topic, schema, schema_file } = written;
        if (&message_type, &to, &topic) == (&None, &None, &None) {
            return Err(
                "must have message_type, to or topic; message_type = \"*\" is for all messages".into()
            );
        }
        let schema = match (schema, schema_file) {
            (Some(schema), None) => schema::inline(&schema).map_err(|error| format!("schema: {error}"))?,
            (None, Some(path)) => {
                schema::from_file(&path).map_err(|error| format!("schema_file: {error}"))?
            }
            _ => return Err("must have either schema or schema_file".into()),
        };
        Ok(Rule { patterns: Interest { message_type, to, topic, from: None }, schema })
    }

    /// A reply is looked at only by who asks for replies: what is sent to a node is also what that is
    /// answered.
    fn is_for(&self, sent: &Sent<'_>) -> bool {
        let Interest { message_type, to, topic, .. } = &self.patterns;
        let fits = |pattern: &Option<String>, text| pattern.as_ref().is_none_or(|it| matches(it, text));
        let is_for_replies = message_type.as_ref().is_some_and(|it| it.ends_with("_reply"));
        (is_for_replies || !sent.is_reply)
            && fits(message_type, sent.message_type)
            && fits(to, sent.to)
            && fits(topic, sent.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &str) -> Result<Rules, String> {
        Rules::read(&format!(r#"{{"rules":[{rules}]}}"#))
    }

    fn sent(body: &str) -> Sent<'_> {
        Sent { is_reply: false, message_type: "heat", to: "kitchen", topic: "", body: Some(body) }
    }

    const HEAT: &str = r#"{"message_type":"heat","schema":{
        "type":"object","required":["celsius"],
        "properties":{"celsius":{"type":"number","maximum":25},"rooms":{"items":{"type":"string"}}}}}"#;

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let rules = rules(&format!("{HEAT},{HEAT}")).unwrap();
        assert_eq!(rules.judge(&sent(r#"{"celsius":21,"rooms":["hall"]}"#)), Ok(()));
        for (body, told) in [
            ("{}", "the body does not fit rule 1: \"celsius\" is a required property"),
            ("7", "the body does not fit rule 1: the value is not of type \"object\""),
            ("null", "the body does not fit rule 1: the value is not of type \"object\""),
            (
                r#"{"celsius":"warm"}"#,
                "the body does not fit rule 1 at \"/celsius\": the value is not of type \"number\"",
            ),
            (
                r#"{"celsius":26}"#,
                "the body does not fit rule 1 at \"/celsius\": the value is greater than the maximum of 25",
            ),
            (
                r#"{"celsius":21,"rooms":["hall",2]}"#,
                "the body does not fit rule 1 at \"/rooms/1\": the value is not of type \"string\"",
            ),
            (
                r#"{"celsius":26,"celsius":21}"#,
                "the body cannot be judged: the key \"celsius\" is given twice at line 1 column 27",
            ),
            ("[1e999]", "the body cannot be judged: number out of range at line 1 column 6"),
        ] {
            assert_eq!(rules.judge(&sent(body)), Err(told.to_owned()), "{body}");
        }
    }

    /// Of such a one the value would be another one than its digits say.
    #[test]
    fn a_number_that_cannot_be_judged_exactly_is_refused_by_name() {
        let rule = r#"{"message_type":"heat","schema":{"maximum":18446744073709551615}}"#;
        let rules = rules(rule).unwrap();
        for fine in
            ["18446744073709551615", "-9223372036854775808", "1.5e3", "-1e300", r#""18446744073709551616""#]
        {
            assert_eq!(rules.judge(&sent(fine)), Ok(()), "{fine}");
        }
        for (body, number) in [
            ("18446744073709551616", "18446744073709551616"),
            (r#"{"a\"1":[1e300, "36893488147419103233", -9223372036854775809]}"#, "-9223372036854775809"),
        ] {
            let told = format!(
                "the body cannot be judged: the integer {number} is not from -9223372036854775808 to 18446744073709551615"
            );
            assert_eq!(rules.judge(&sent(body)), Err(told), "{body}");
        }
        let digits = "7".repeat(300);
        let told = rules.judge(&sent(&digits)).unwrap_err();
        assert!(
            told.starts_with("the body cannot be judged: the integer 7777") && told.len() < 200,
            "{told}"
        );
        for body in ["1e400", "[-1e999]"] {
            let told = rules.judge(&sent(body)).unwrap_err();
            assert!(told.starts_with("the body cannot be judged: number out of range at line 1"), "{told}");
        }
    }

    #[test]
    fn a_body_that_is_missing_is_judged_as_null() {
        let missing = Sent { body: None, ..sent("") };
        let told = rules(HEAT).unwrap().judge(&missing).unwrap_err();
        let expected = "there is no body, and null does not fit rule 1: the value is not of type \"object\"";
        assert_eq!(told, expected);
        let null = rules(r#"{"message_type":"heat","schema":{"type":"null"}}"#).unwrap();
        assert_eq!(null.judge(&missing), Ok(()));
    }

    #[test]
    fn a_body_must_fit_all_rules_that_are_for_it() {
        let rules = rules(
            r#"{"message_type":"he*","schema":{"required":["a"]}},
               {"topic":"news.*","schema":{"required":["b"]}},
               {"message_type":"heat","to":"kitchen","schema":{"required":["c"]}}"#,
        )
        .unwrap();
        let told =
            |sent: Sent<'_>| rules.judge(&sent).err().map(|told| told.replace("the body does not fit ", ""));
        let required = |n, key| Some(format!("rule {n}: \"{key}\" is a required property"));
        assert_eq!(told(sent("{}")), required(1, "a"));
        assert_eq!(told(sent(r#"{"a":1}"#)), required(3, "c"));
        assert_eq!(told(sent(r#"{"a":1,"c":1}"#)), None);
        assert_eq!(told(Sent { to: "hall", ..sent(r#"{"a":1}"#) }), None);
        let news = Sent { message_type: "signal", to: "", topic: "news.today", ..sent("{}") };
        assert_eq!(told(news), required(2, "b"));
        assert_eq!(told(Sent { topic: "weather", ..news }), None);
        // What is for nobody's rule is not even read.
        assert_eq!(told(Sent { topic: "weather", body: Some("[1e999]"), ..news }), None);
    }

    #[test]
    fn replies_are_judged_by_rules_for_replies_alone() {
        let never = |patterns: &str| rules(&format!(r#"{{{patterns},"schema":false}}"#)).unwrap();
        let reply = Sent { is_reply: true, message_type: "heat_reply", ..sent("{}") };
        for (patterns, is_judged) in [
            (r#""to":"kitchen""#, false),
            (r#""message_type":"*""#, false),
            (r#""message_type":"heat*","to":"kitchen""#, false),
            (r#""message_type":"heat_reply""#, true),
            (r#""message_type":"*_reply","to":"kitchen""#, true),
            (r#""message_type":"*_reply","to":"hall""#, false),
        ] {
            assert_eq!(never(patterns).judge(&reply).is_err(), is_judged, "{patterns}");
        }
    }

    #[test]
    fn a_reason_is_not_as_long_as_what_it_is_about() {
        let rule =
            r#"{"message_type":"heat","schema":{"properties":{"a":true},"additionalProperties":false}}"#;
        let body = format!(r#"{{"{}":1}}"#, "ä".repeat(100_000));
        let told = rules(rule).unwrap().judge(&sent(&body)).unwrap_err();
        let start = "the body does not fit rule 1: Additional properties are not allowed ('ääää";
        assert!(told.starts_with(start), "{told}");
        assert_eq!(told.chars().count(), REASON_CHARS_MAX);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_rule() {
        for (rule, wanted) in [
            ("7", "rule 2: invalid type: integer `7`"),
            (
                r#"{"schema":true}"#,
                "rule 2: must have message_type, to or topic; message_type = \"*\" is for all",
            ),
            (r#"{"to":"a"}"#, "rule 2: must have either schema or schema_file"),
            (
                r#"{"to":"a","schema":true,"schema_file":"/x"}"#,
                "rule 2: must have either schema or schema_file",
            ),
            (r#"{"to":7,"schema":true}"#, "rule 2: to: invalid type: integer `7`, expected a string"),
            (
                r#"{"from":"a","schema":true}"#,
                "rule 2: from: unknown field `from`, expected one of `message_type`",
            ),
            (r#"{"to":"a","schema":{"type":"x"}}"#, "rule 2: schema: at \"/type\": \"x\" is not"),
            (
                r#"{"to":"a","schema_file":"x.json"}"#,
                "rule 2: schema_file: is \"x.json\"; it must be an absolute path",
            ),
        ] {
            let told = rules(&format!("{HEAT},{rule}")).unwrap_err();
            assert!(told.starts_with(wanted), "{told}");
        }
        assert!(Rules::read("{}").unwrap_err().starts_with("there are no rules; rules = [{"));
        assert!(
            Rules::read(r#"{"rule":[]}"#).unwrap_err().starts_with("unknown field `rule`, expected `rules`")
        );
    }

    #[test]
    fn the_examples_of_the_readme_are_right() {
        let examples = telex_plugin::testing::toml_examples(include_str!("../README.md"));
        assert!(!examples.is_empty());
        for example in examples {
            let example: Value = toml::from_str(example).unwrap();
            let config = &example["plugin"][0]["config"];
            match Rules::read(&config.to_string()) {
                Ok(_) => {}
                // The file that it names is not there; all else is right.
                Err(told) => assert!(told.contains("\"/etc/telexd/news.json\" cannot be read"), "{told}"),
            }
        }
    }
}
