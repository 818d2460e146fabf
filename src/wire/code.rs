//! Knows the fixed words by which errors are told to programs (PROTOCOL.md section 10).
//! Never: when they are said.

/// Hands all codes, in the order of the protocol page, to a macro: what each means, its name and its word.
macro_rules! each_code {
    ($to:ident) => {
        $to! {
            /// The line is no JSON.
            BadJson => "bad_json",
            /// The line is JSON, but no object.
            NotAnObject => "not_an_object",
            /// A field that is needed is not there.
            MissingField => "missing_field",
            /// A field has a wrong form.
            BadField => "bad_field",
            /// An envelope field is there twice.
            DuplicateField => "duplicate_field",
            /// The line is longer than `max_line_bytes`.
            LineTooLong => "line_too_long",
            /// The daemon knows no such request.
            UnknownType => "unknown_type",
            /// No connection holds the address.
            NoSuchNode => "no_such_node",
            /// The topic of a request has no subscribers.
            NoSubscribers => "no_subscribers",
            /// A reply to what is not open, or not the sender's to answer.
            NoSuchRequest => "no_such_request",
            /// The `message_id` is that of an open request.
            DuplicateId => "duplicate_id",
            /// The node ID belongs to another user or is held exclusively.
            NameTaken => "name_taken",
            /// The node's instances use the other delivery mode.
            DeliveryMismatch => "delivery_mismatch",
            /// The sender does not hold what it claims.
            NotYours => "not_yours",
            /// Not allowed.
            Denied => "denied",
            /// The connection has to authenticate first.
            AuthRequired => "auth_required",
            /// The authentication failed.
            AuthFailed => "auth_failed",
            /// The daemon waited, and no answer came in time.
            Timeout => "timeout",
            /// All nodes that could have answered have left.
            NodeGone => "node_gone",
            /// The connection has too many open requests.
            TooManyRequests => "too_many_requests",
            /// The connection holds too many node IDs.
            TooManyNames => "too_many_names",
            /// The connection has too many subscriptions, monitors and taps.
            TooManySubscriptions => "too_many_subscriptions",
            /// There is no room for the message, or no memory for what was asked.
            Overloaded => "overloaded",
            /// The spool is full.
            SpoolFull => "spool_full",
            /// The spool has no such job.
            NoSuchJob => "no_such_job",
            /// The daemon failed, and says so.
            Internal => "internal",
        }
    };
}
pub(crate) use each_code;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident => $word:literal,)*) => {
        /// An error code. The word is part of the protocol and never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of the protocol page.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The code that a word on the wire stands for; `None` for a word that is no code.
            ///
            /// ```
            /// use telex::wire::code::Code;
            ///
            /// assert_eq!(Code::of("no_such_node"), Some(Code::NoSuchNode));
            /// assert_eq!(Code::of("too_hot"), None);
            /// ```
            pub fn of(word: &str) -> Option<Code> {
                match word { $($word => Some(Code::$variant),)* _ => None }
            }

            /// The word on the wire.
            ///
            /// ```
            /// use telex::wire::code::Code;
            ///
            /// assert_eq!(Code::NoSuchNode.word(), "no_such_node");
            /// assert!(Code::ALL.iter().all(|code| Code::of(code.word()) == Some(*code)));
            /// ```
            pub fn word(self) -> &'static str {
                match self { $(Code::$variant => $word,)* }
            }
        }
    };
}

each_code!(codes);
