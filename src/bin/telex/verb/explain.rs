//! Knows how the daemon's account of what would become of a message is shown.
//! Never: sends the message.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::{Members, ask_raw};
use crate::colour::{Colours, hue_of_verdict};
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::{Exit, Failure};
use crate::given;
use crate::output::{Results, safe};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex explain '{"message_type":"set","to":"heating","body":{"c":21}}'
  telex explain --as :7 '{"message_type":"signal","topic":"sensor.hall"}'"#;

/// Tell what would become of a message, without sending it
///
/// Shows each filter's verdict, the receivers, and whether they have room. Ends as the sending would: with 3 if there is no
/// receiver, with 4 if the message would be denied.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Explain {
    /// The line as it would be sent: a JSON object
    message: String,
    /// As if the connection with this unique id sent it
    #[arg(long = "as", value_name = ":N")]
    speaker: Option<String>,
}

impl Explain {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        // As it is written: the daemon finds what is doubled in it.
        let message = given::json(&self.message)
            .map_err(|why| Failure::usage(format!("the message is no JSON: {why}")))?;
        let speaker = self.speaker.as_ref().map_or_else(String::new, |id| format!(",\"as\":{}", json!(id)));
        let body = format!("{{\"message\":{message}{speaker}}}");
        let reply = context.talk(CONNECT_TIMEOUT, |client| ask_raw(client, "explain", &body))?;
        let told = reply.body_value();
        let mut results = Results::new();
        match context.form() {
            Form::Json => {
                results.line(&Members::of_reply(&reply).map_or_else(String::new, |members| members.to_line()))?;
            }
            Form::Table => write(&told, context.colours(), &mut results)?,
        }
        results.flush()?;
        match told["refusal"]["code"].as_str() {
            None => Ok(()),
            Some(code) => Err(Failure::new(Exit::of_word(code), "")),
        }
    }
}

fn write(told: &Value, colours: Colours, results: &mut Results) -> Result<(), Failure> {
    let list = |key: &str| told[key].as_array().cloned().unwrap_or_default();
    for ruling in list("verdicts") {
        let verdict = ruling["verdict"].as_str().unwrap_or("-");
        let reason = ruling["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"));
        let filter = ruling["filter"].as_str().unwrap_or_default();
        let verdict = colours.paint(hue_of_verdict(verdict), &safe(verdict));
        results.painted(&format!("filter {}: {verdict}{}", safe(filter), safe(&reason)))?;
    }
    if let Some(error) = told["refusal"]["error"].as_str() {
        let code = told["refusal"]["code"].as_str().unwrap_or_default();
        let refused = colours.paint(hue_of_verdict("refused"), "refused");
        return results.painted(&format!("{refused}: {}", safe(&format!("{error} ({code})"))));
    }
    let receivers = list("receivers");
    if told["any_of"] == json!(true) {
        results.line("it waits for one of these to have room:")?;
    } else if receivers.is_empty() {
        results.line("no other connection gets it")?;
    }
    for receiver in receivers {
        let names = receiver["node_ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let names = names.collect::<Vec<_>>().join(",");
        let room = if receiver["has_room"] == json!(true) { "" } else { "  (its queue is full)" };
        let id = receiver["unique_id"].as_str().unwrap_or_default();
        results.line(&safe(&format!("to {id} {names}{room}")))?;
    }
    Ok(())
}
