//! A filter that passes everything, in Rust.

use telex_plugin::{Call, Filter, Host, Message, Plugin, Verdict};

struct Passes;

impl Plugin for Passes {
    fn create(_: Host, _: &str) -> Result<Passes, String> {
        Ok(Passes)
    }
}

impl Filter for Passes {
    fn judge(&mut self, _: &Message<'_>, _: &Call<'_>) -> Verdict {
        Verdict::Pass
    }
}

telex_plugin::export!(Passes, filter);
