//! Knows the one request to the daemon that the shell answers, and when it is ready: `reload` (PROTOCOL.md
//! section 7).
//! Never: what a reload is.

use crate::core::delivery::AskedBy;
use crate::core::requests::RequestKey;
use crate::core::route::Parcel;
use crate::core::{Core, Effect};
use crate::wire::code::Code;
use crate::wire::message::Refusal;

/// A `reload` that waits for its answer. It may have been over for long when that comes: then nobody is
/// told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(RequestKey);

/// What came of a reload: names of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloaded<'a> {
    /// Those that are in force now.
    pub applied: &'a [&'a str],
    /// Those that will be after a restart.
    pub restart: &'a [&'a str],
}

impl Core {
    /// Orders a reload. Until it is answered it is an open request like others, which nobody but the shell
    /// can answer.
    pub(super) fn reload(&mut self, parcel: &Parcel<'_>) -> Result<(), Refusal> {
        self.check_administrator(parcel.sender, "reload")?;
        let token = Token(self.open_unheard(parcel)?);
        self.effects.push_back(Effect::Reload(token));
        Ok(())
    }

    /// Answers a `reload`.
    pub(super) fn reloaded(&mut self, Token(key): Token, outcome: Result<Reloaded<'_>, &str>) {
        let Some((what, _)) = self.requests.expire(key) else { return };
        let Reloaded { applied, restart } = match outcome {
            Ok(reloaded) => reloaded,
            Err(error) => return self.end_request(&what, false, &Refusal::new(Code::BadField, error)),
        };
        let asked = AskedBy { from: &what.from, id: Some(&what.id), message_type: &what.message_type };
        self.say_reply(what.asker, asked, |body| {
            body.strings("applied", applied.iter().copied()).strings("restart", restart.iter().copied());
        });
        self.request_closed(what.asker);
    }
}
