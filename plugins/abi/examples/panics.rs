//! A plugin that panics where its configuration says: `config = { at = "judge" }`. The daemon must outlive
//! it wherever that is.

use telex_plugin::{
    Call, Event, Events, Fault, Filter, Heard, Host, Interest, Kind, Log, Message, Plugin, Record, Verdict,
};

struct Panics {
    config: String,
}

impl Panics {
    fn may_panic(&self, at: &str) {
        if self.config.contains(&format!("\"{at}\"")) {
            panic!("at {at}");
        }
    }
}

impl Plugin for Panics {
    fn create(_: Host, config: &str) -> Result<Panics, String> {
        let panics = Panics { config: config.to_owned() };
        panics.may_panic("create");
        Ok(panics)
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        self.may_panic("drop");
    }
}

impl Filter for Panics {
    fn judge(&mut self, _: &Message<'_>, _: &Call<'_>) -> Verdict {
        self.may_panic("judge");
        Verdict::Pass
    }

    fn interests(&self) -> Vec<Interest> {
        self.may_panic("interests");
        vec![Interest { message_type: Some("ask".into()), ..Interest::default() }]
    }
}

impl Events for Panics {
    fn event(&mut self, _: &Event<'_>, _: &Call<'_>) -> Heard {
        self.may_panic("event");
        Heard::Yes
    }

    fn wants(&self) -> &'static [Kind] {
        self.may_panic("wants");
        &[Kind::Registered]
    }
}

impl Log for Panics {
    /// It takes none, so that the daemon says them on stderr.
    fn record(&mut self, _: &Record<'_>) -> Result<(), Fault> {
        self.may_panic("record");
        Err(Fault)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.may_panic("flush");
        Ok(())
    }
}

telex_plugin::export!(Panics, filter, events, log);
