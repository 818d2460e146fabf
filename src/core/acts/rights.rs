//! Knows what a connection may ask the daemon for.
//! Never: what it asks for.

use crate::core::peer::User;
use crate::core::{Core, SessionKey};
use crate::wire::code::Code;
use crate::wire::message::Refusal;

impl Core {
    pub(super) fn is_administrator(&self, key: SessionKey) -> bool {
        self.sessions.get(key).is_some_and(|session| session.caller.peer.administrator)
    }

    pub(super) fn check_administrator(&self, key: SessionKey, what: &str) -> Result<(), Refusal> {
        match self.is_administrator(key) {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::Denied,
                format!(
                    "\"{what}\" is for administrators: over the Unix socket root and the daemon's own user"
                ),
            )),
        }
    }

    /// The user whose connections alone a connection is shown; none if it is shown all.
    pub(super) fn user_to_show(&self, key: SessionKey) -> Option<User> {
        let peer = &self.sessions.get(key)?.caller.peer;
        (!peer.administrator).then(|| peer.user())
    }
}
