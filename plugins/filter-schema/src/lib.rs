//! A filter for telexd that lets pass only bodies that fit their JSON Schema. Its README says how it is
//! configured.

mod json;
mod rule;
mod schema;

use telex_plugin::{Call, Category, Filter, Host, Interest, Message, Plugin, Verdict};

use crate::rule::{Rules, Sent};

/// The plugin. It does not want to hear of reloads: each makes a new instance, which reads the schema files
/// again.
#[derive(Debug)]
pub struct Schema(Rules);

impl Plugin for Schema {
    fn create(_: Host, config: &str) -> Result<Schema, String> {
        Rules::read(config).map(Schema)
    }
}

impl Filter for Schema {
    fn judge(&mut self, message: &Message<'_>, _: &Call<'_>) -> Verdict {
        let sent = Sent {
            is_reply: message.category() == Category::Reply,
            message_type: message.message_type(),
            to: message.to().unwrap_or_default(),
            topic: message.topic().unwrap_or_default(),
            body: message.body(),
        };
        match self.0.judge(&sent) {
            Ok(()) => Verdict::Pass,
            Err(reason) => Verdict::Reject(reason),
        }
    }

    fn interests(&self) -> Vec<Interest> {
        self.0.interests()
    }
}

// Its verdict is all that it does.
telex_plugin::export!(Schema, filter, dry);
