//! Knows the functions of a service, and runs them so that one that panics harms only its caller.
//! Never: how a message came, or where an answer goes.

use std::collections::HashMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::client::Message;
use crate::panics::words_of;
use crate::wire::json::Object;

type Answerer = Box<dyn Fn(&Message) -> Result<String, String> + Send + Sync>;
type Listener = Box<dyn Fn(&Message) + Send + Sync>;

#[derive(Default)]
pub(super) struct Answers {
    by_type: HashMap<String, Answerer>,
    listener: Option<Listener>,
}

impl Answers {
    pub(super) fn on<B: Into<String>, E: Display>(
        &mut self,
        message_type: &str,
        answer: impl Fn(&Message) -> Result<B, E> + Send + Sync + 'static,
    ) {
        let answerer =
            move |request: &Message| answer(request).map(Into::into).map_err(|error| error.to_string());
        self.by_type.insert(message_type.to_owned(), Box::new(answerer));
    }

    pub(super) fn on_signal(&mut self, listener: impl Fn(&Message) + Send + Sync + 'static) {
        self.listener = Some(Box::new(listener));
    }

    /// The body of the reply to `request`.
    pub(super) fn answer(&self, request: &Message) -> String {
        let Some(answerer) = self.by_type.get(request.message_type()) else {
            return error_body(&format!("this service does not answer \"{}\"", request.message_type()), None);
        };
        match catch_unwind(AssertUnwindSafe(|| answerer(request))) {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => error_body(&error, None),
            Err(panic) => error_body(&format!("what should answer panicked: {}", words_of(&*panic)), None),
        }
    }

    /// Takes a signal.
    pub(super) fn hear(&self, signal: &Message) {
        if let Some(listener) = &self.listener {
            // A panic has been told where it happened.
            let _ = catch_unwind(AssertUnwindSafe(|| listener(signal)));
        }
    }
}

/// The body of a reply that tells an error.
pub(super) fn error_body(error: &str, code: Option<&str>) -> String {
    let mut body = Vec::new();
    let mut object = Object::begin(&mut body);
    object.string("error", error);
    if let Some(code) = code {
        object.string("code", code);
    }
    object.end();
    String::from_utf8_lossy(&body).into_owned()
}
