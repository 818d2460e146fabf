//! Knows what a connection may ask the daemon for.
//! Never: what it asks for.

use crate::core::peer::User;
use crate::core::{Core, SessionKey};
use crate::wire::code::Code;
use crate::wire::control::Ask;
use crate::wire::message::{Refusal, excerpt};

impl Core {
    pub(super) fn is_administrator(&self, key: SessionKey) -> bool {
        self.sessions.get(key).is_some_and(|session| session.caller.peer.administrator)
    }

    /// Whether a connection may ask for this, by a request of type `message_type`.
    pub(super) fn check_rights(
        &self,
        key: SessionKey,
        ask: &Ask<'_>,
        message_type: &str,
    ) -> Result<(), Refusal> {
        match ask.for_administrators(message_type) {
            Some(what) if !self.is_administrator(key) => {
                let what = excerpt(what);
                let error = format!(
                    "\"{what}\" is for administrators: over the Unix socket root and the daemon's own user"
                );
                Err(Refusal::new(Code::Denied, error))
            }
            _ => Ok(()),
        }
    }

    /// The user whose connections alone a connection is shown; none if it is shown all.
    pub(super) fn user_to_show(&self, key: SessionKey) -> Option<User> {
        let peer = &self.sessions.get(key)?.caller.peer;
        (!peer.administrator).then(|| peer.user())
    }
}
