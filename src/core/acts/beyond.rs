//! Knows what connections of administrators may do that are there beyond all bounds (PROTOCOL.md section 4).
//! Never: whether there is room for others.

use crate::core::order::Reason;
use crate::core::parcel::Parcel;
use crate::core::table::timers::Timer;
use crate::core::{Core, SessionKey};
use crate::limits::{KEPT_BACK_MAX, KEPT_BACK_TIME};
use crate::wire::code::Code;
use crate::wire::message::{Refusal, Target};

impl Core {
    /// A connection is one of these from now on. The oldest one makes room for it.
    pub(in crate::core) fn keep_back(&mut self, key: SessionKey) {
        if let Some(oldest) = self.kept_back.oldest_of_all() {
            let why = format!("{KEPT_BACK_MAX} other administrators have connected beyond max_connections");
            self.end_beyond(oldest, &why);
        }
        let ends_at = self.kept_back.add(key, self.desk.mono());
        self.desk.timers.set(ends_at, Timer::KeptBack(key));
    }

    /// A line of a connection has come, which may be such.
    pub(super) fn heard_of_kept_back(&mut self, key: SessionKey) {
        if let Some(ends_at) = self.kept_back.heard(key, self.desk.mono()) {
            self.desk.timers.gone_stale();
            self.desk.timers.set(ends_at, Timer::KeptBack(key));
        }
    }

    /// Such a connection may only ask the daemon.
    pub(super) fn check_kept_back(&self, parcel: &Parcel<'_>) -> Result<(), Refusal> {
        let asks_daemon = parcel.is_request() && parcel.message.target == Target::Daemon;
        match asks_daemon || self.kept_back.keys().all(|key| key != parcel.sender) {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::Overloaded,
                "this connection was taken beyond max_connections or its like for an administrator: it may only \
                 send requests to the daemon",
            )),
        }
    }

    /// It may be time for such a connection to end.
    pub(super) fn end_kept_back(&mut self, key: SessionKey) {
        if self.kept_back.is_over(key, self.desk.mono()) {
            let why = format!(
                "this connection was taken beyond max_connections or its like, and has sent nothing for {} s",
                KEPT_BACK_TIME.as_secs()
            );
            self.end_beyond(key, &why);
        }
    }

    fn end_beyond(&mut self, key: SessionKey, why: &str) {
        self.say_error(key, None, &Refusal::new(Code::Overloaded, why), None, |_| {});
        self.kept_back.remove(key);
        self.leave(key, Reason::Killed);
    }
}
