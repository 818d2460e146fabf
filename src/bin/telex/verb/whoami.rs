//! Knows what the daemon takes this command for.
//! Never: what it should be.

use clap::Args;
use serde_json::json;

use crate::answer::{Members, ask};
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::output::{Results, safe};
use crate::process::user;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex whoami
  telex whoami --json | jq .daemon.limits"#;

/// Tell what the daemon takes you for, and what it is itself
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Whoami {}

impl Whoami {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let reply = context.talk(CONNECT_TIMEOUT, |client| ask(client, "whoami", &json!({})))?;
        let mut results = Results::new();
        if context.form() == Form::Json {
            results.line(&Members::of_reply(&reply).map_or_else(String::new, |members| members.to_line()))?;
            return results.flush();
        }
        let body = reply.body_value();
        let daemon = &body["daemon"];
        let who = body["uid"].as_u64().map_or_else(|| "anonymous".to_owned(), user);
        let rights = if body["administrator"] == json!(true) { ", an administrator" } else { "" };
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        results.line(&format!("     user: {}{rights}", safe(&who)))?;
        results.line(&format!("unique id: {}", text(&body["unique_id"])))?;
        let (name, version, host) = (text(&daemon["name"]), text(&daemon["version"]), text(&daemon["host"]));
        results.line(&format!("   daemon: {} {} on {}", safe(&name), safe(&version), safe(&host)))?;
        results.line(&format!("       at: {}", context.address()?))?;
        results.flush()
    }
}
