//! Knows what a request is besides its content: its key, whether it may be tried again, whether it is answered.
//! Never: what is in it.

use std::fmt;

/// A request for a cluster, whose content is a `Q` and whose answer an `A`.
///
/// ```
/// use telex::cluster::Message;
///
/// let message: Message<&str, String> = Message::new("get x").key("x").retry();
/// let again = Message::new("pop").retry().is_retry(|answer: &String| answer == "busy");
/// ```
pub struct Message<Q, A> {
    pub(super) request: Q,
    pub(super) key: Option<String>,
    pub(super) retry: bool,
    pub(super) no_reply: bool,
    pub(super) is_retry: Option<IsRetry<A>>,
}

type IsRetry<A> = Box<dyn Fn(&A) -> bool + Send>;

impl<Q, A> Message<Q, A> {
    /// A request without a key that is answered, and that is not executed twice.
    pub fn new(request: Q) -> Message<Q, A> {
        Message { request, key: None, retry: false, no_reply: false, is_retry: None }
    }

    /// The key by which the balance chooses its server. Over telex it goes along: of the instances of a node that
    /// share messages at that server, it is always the same one that gets those of a key.
    pub fn key(mut self, key: impl Into<String>) -> Message<Q, A> {
        self.key = Some(key.into());
        self
    }

    /// It may be executed more than once: after a failure it is tried again, whatever has become of it, until there
    /// were `max_request_retries` tries.
    pub fn retry(mut self) -> Message<Q, A> {
        self.retry = true;
        self
    }

    /// It is not answered: it is done when it has been written.
    ///
    /// ```
    /// use telex::cluster::Message;
    ///
    /// let news: Message<&str, ()> = Message::new("all warm").no_reply();
    /// ```
    pub fn no_reply(mut self) -> Message<Q, A> {
        self.no_reply = true;
        self
    }

    /// Tells whether an answer asks for another try. It is asked only if the message may be tried
    /// [again](Message::retry); after the last try the answer is the result, whatever it asks.
    pub fn is_retry(mut self, is_retry: impl Fn(&A) -> bool + Send + 'static) -> Message<Q, A> {
        self.is_retry = Some(Box::new(is_retry));
        self
    }
}

impl<Q: fmt::Debug, A> fmt::Debug for Message<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { request, key, retry, no_reply, is_retry } = self;
        let mut shown = f.debug_struct("Message");
        shown.field("request", request).field("key", key).field("retry", retry);
        shown.field("no_reply", no_reply).field("is_retry", &is_retry.is_some()).finish()
    }
}

/// Ties a type of requests to its answer, its key and the rule of its retries, for a wire that carries `Q` and `A`.
///
/// ```
/// use telex::cluster::{Call, Message};
///
/// struct Length(String);
///
/// impl Call<String, String> for Length {
///     type Reply = usize;
///     type Error = std::num::ParseIntError;
///     const RETRY: bool = true;
///
///     fn request(&self) -> String {
///         format!("length {}", self.0)
///     }
///
///     fn key(&self) -> Option<String> {
///         Some(self.0.clone())
///     }
///
///     fn is_retry(answer: &String) -> bool {
///         answer == "busy"
///     }
///
///     fn reply(answer: String) -> Result<usize, Self::Error> {
///         answer.parse()
///     }
/// }
///
/// let message: Message<String, String> = Length("word".to_owned()).message();
/// assert_eq!(Length::reply("4".to_owned()), Ok(4));
/// ```
pub trait Call<Q: 'static, A: 'static> {
    /// What its answer is read as.
    type Reply;
    /// Why an answer is none of its replies.
    type Error;
    /// Whether it may be executed more than once.
    const RETRY: bool = false;

    /// Its content.
    fn request(&self) -> Q;

    /// The key by which the balance chooses its server.
    fn key(&self) -> Option<String> {
        None
    }

    /// Whether an answer asks for another try.
    fn is_retry(_answer: &A) -> bool {
        false
    }

    /// Reads an answer.
    fn reply(answer: A) -> Result<Self::Reply, Self::Error>;

    /// The message that it is sent as.
    fn message(&self) -> Message<Q, A>
    where
        Self: 'static,
    {
        let message = Message::new(self.request()).is_retry(Self::is_retry);
        Message { key: self.key(), retry: Self::RETRY, ..message }
    }
}
