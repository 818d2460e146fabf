//! Knows requests and their replies.
//! Never: how the daemon finds a node that answers.

use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use telex::client::{Client, Error, Message, To};

use crate::answer::answer_of;
use crate::body::{Sent, bodies, unsendable};
use crate::context::Context;
use crate::exit::{Exit, Failure, Failures};
use crate::given;
use crate::output::{Results, Words};
use crate::stream::deadline_after;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex call heating set '{"c":21}'
  telex call --timeout 2m --text backup run nightly
  telex call --all --gather 300ms worker status
  telex call --daemon whoami"#;

/// Requests that a connection which ends at once would make for nothing, and what is meant instead.
const USELESS: &[(&str, &str)] = &[
    ("register", "telex listen NAME"),
    ("unregister", "telex listen NAME, which unregisters when it ends"),
    ("subscribe", "telex subscribe TOPIC"),
    ("unsubscribe", "telex subscribe TOPIC, which unsubscribes when it ends"),
    ("monitor", "telex monitor"),
    ("unmonitor", "telex monitor, which ends with itself"),
    ("tap", "telex tap"),
    ("untap", "telex tap, which ends with itself"),
];

/// Send a request and print the answer
///
/// The answer is one line of JSON on stdout: the reply's "result" alone if there is nothing else in its body, else the body
/// without the words of the envelope. Of several instances the first to reply counts. An error that is answered stands on
/// stderr.
#[derive(Args)]
#[command(
    override_usage = "telex call [OPTIONS] NODE TYPE [BODY]\n       telex call [OPTIONS] --topic TOPIC TYPE [BODY]\n       telex call [OPTIONS] --daemon TYPE [BODY]",
    after_help = EXAMPLES
)]
pub(crate) struct Call {
    /// The node, the type of the request, and the body: JSON, or any text with --text; '' is the empty
    /// string, "-" all of stdin. Without one the request has none
    #[arg(value_names = ["NODE", "TYPE", "BODY"], num_args = 1..=3, required = true, allow_negative_numbers = true)]
    words: Vec<String>,
    /// Ask the daemon itself, in place of NODE (resolve, list, whoami, ping, stats, ...)
    #[arg(long, conflicts_with = "topic")]
    daemon: bool,
    /// Ask the subscribers of TOPIC, in place of NODE
    #[arg(long)]
    topic: Option<String>,
    /// Print the answers of all instances, a line each
    #[arg(long, conflicts_with = "daemon")]
    all: bool,
    /// With --all: until so long after the first answer
    #[arg(long, value_name = "TIME", requires = "all", value_parser = given::duration)]
    gather: Option<Duration>,
    /// Each line of stdin is the body of a call; the answers come in their order
    #[arg(short, long, conflicts_with = "all")]
    lines: bool,
    /// With -l: print the answers as they come, each with the number of its line: {"line":3,"answer":...}
    #[arg(long, requires = "lines")]
    unordered: bool,
    /// With --unordered: make at most N calls at a time
    #[arg(long, value_name = "N", requires = "unordered", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: u16,
    /// Print the whole body of the reply
    #[arg(long)]
    envelope: bool,
    #[command(flatten)]
    sent: Sent,
}

/// What a request is to.
#[derive(Debug, PartialEq, Eq)]
enum Receiver {
    Daemon,
    Node(String),
    Topic(String),
}

impl Receiver {
    fn to(&self) -> To<'_> {
        match self {
            Receiver::Daemon => To::Daemon,
            Receiver::Node(address) => To::Node(address),
            Receiver::Topic(topic) => To::Topic(topic),
        }
    }
}

impl Call {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (receiver, message_type, body) = self.read()?;
        let body = self.sent.body(body.as_deref())?;
        if self.all {
            return self.call_all(&receiver, &message_type, &body, context);
        }
        if self.unordered {
            return self.call_unordered(receiver, message_type, context);
        }
        context.talk(self.sent.timeout, |client| {
            self.sent.register(client)?;
            if self.lines {
                return self.call_lines(&receiver, &message_type, client, context);
            }
            let reply = client.call(receiver.to(), &message_type, &body, self.sent.timeout);
            let reply = reply.map_err(|error| self.failed(error, &body, None))?;
            let mut results = Results::new();
            results.line(&self.shown(&reply))?;
            results.flush()
        })
    }

    /// The receiver, the type and the body, as they are given.
    fn read(&self) -> Result<(Receiver, String, Option<String>), Failure> {
        let mut words = self.words.iter().cloned();
        let receiver = match &self.topic {
            Some(topic) => Receiver::Topic(topic.clone()),
            None if self.daemon => Receiver::Daemon,
            None => Receiver::Node(words.next().unwrap_or_default()),
        };
        let message_type = words.next().ok_or_else(|| {
            Failure::usage("what type of request? Expected: telex call NODE TYPE [BODY], or --daemon in place of NODE")
        })?;
        let body = words.next();
        if self.lines && body.is_some() {
            return Err(Failure::usage("with -l each line of stdin is a body, and there is no other BODY"));
        }
        if words.next().is_some() {
            return Err(Failure::usage("with --daemon or --topic there is no NODE: telex call --daemon TYPE [BODY]"));
        }
        if let (Receiver::Daemon, Some((_, meant))) = (&receiver, USELESS.iter().find(|(word, _)| *word == message_type)) {
            let words = format!("{message_type} would end with this command's connection, at once; meant is: {meant}");
            return Err(Failure::usage(words));
        }
        Ok((receiver, message_type, body))
    }

    fn shown(&self, reply: &Message) -> String {
        if self.envelope { reply.body().unwrap_or("null").to_owned() } else { answer_of(reply) }
    }

    /// Why there is no answer to this body, which may be that of a line of stdin.
    fn failed(&self, error: Error, body: &str, line: Option<u64>) -> Failure {
        match error {
            Error::Unsendable(why) => unsendable(&why, body, line, self.sent.text),
            error => match Failure::from(error) {
                end if end.is_end => end,
                failure => failure.at(line),
            },
        }
    }

    /// Makes a call of each line of stdin.
    fn call_lines(
        &self,
        receiver: &Receiver,
        message_type: &str,
        client: &mut Client,
        context: &Context,
    ) -> Result<(), Failure> {
        let mut answers = Answers::new(self, context.words);
        for body in bodies(self.sent.text) {
            let (number, body) = body?;
            let answer = client.call(receiver.to(), message_type, &body, self.sent.timeout);
            answers.take(answer, &body, Some(number))?;
        }
        answers.failures.end(context.words)
    }

    /// Calls for each line of stdin, several at a time, and prints the answers as they come.
    fn call_unordered(&self, receiver: Receiver, message_type: String, context: &Context) -> Result<(), Failure> {
        let handle = context.handle(self.sent.timeout)?;
        if let Some(name) = &self.sent.from {
            handle.register(name).wait()?;
        }
        let (tell, answers) = channel();
        let (take, places) = sync_channel(usize::from(self.jobs));
        let (is_text, timeout) = (self.sent.text, self.sent.timeout);
        // The connection lasts until all answers are there.
        let asker = handle.clone();
        // It may wait for stdin when all is over, and ends with the process.
        thread::spawn(move || {
            for body in bodies(is_text) {
                let (number, body) = match body {
                    Ok(body) => body,
                    Err(failure) => return drop(tell.send(Err(failure))),
                };
                if take.send(()).is_err() {
                    return;
                }
                let tell = tell.clone();
                let answer = asker.call(receiver.to(), &message_type, &body, timeout);
                answer.then(move |answer| drop(tell.send(Ok((number, body, answer)))));
            }
        });
        let mut shown = Answers::new(self, context.words);
        for answer in answers {
            let (number, body, answer) = answer?;
            // There is one for each call.
            let _ = places.recv();
            shown.take(answer, &body, Some(number))?;
        }
        shown.failures.end(context.words)
    }

    /// Prints every answer that comes in time.
    fn call_all(&self, receiver: &Receiver, message_type: &str, body: &str, context: &Context) -> Result<(), Failure> {
        let handle = context.handle(self.sent.timeout)?;
        if let Some(name) = &self.sent.from {
            handle.register(name).wait()?;
        }
        let mut answers = handle.gather(receiver.to(), message_type, body, self.sent.timeout);
        let (mut deadline, mut count, mut shown) = (None::<Instant>, 0, Answers::new(self, context.words));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let answer = answers.wait(left).map_err(|error| self.failed(error, body, None))?;
            let Some(answer) = answer else { break };
            count += 1;
            shown.take(answer, body, None)?;
            if let (None, Some(gather)) = (deadline, self.gather) {
                deadline = deadline_after(gather);
            }
        }
        if count == 0 {
            return Err(Failure::new(Exit::Timeout, "no answer came in time"));
        }
        shown.failures.end(context.words)
    }
}

/// The answers to several calls, of which each is shown, or told if it is an error.
struct Answers<'a> {
    call: &'a Call,
    results: Results,
    failures: Failures,
    words: Words,
}

impl<'a> Answers<'a> {
    fn new(call: &'a Call, words: Words) -> Answers<'a> {
        Answers { call, results: Results::new(), failures: Failures::default(), words }
    }

    /// Takes the answer to this body, which may be that of a line of stdin. Fails if the body cannot be sent, or no more
    /// answers can come.
    fn take(&mut self, answer: Result<Message, Error>, body: &str, line: Option<u64>) -> Result<(), Failure> {
        match answer {
            Ok(reply) => {
                let shown = self.call.shown(&reply);
                self.results.line(&match line {
                    Some(line) if self.call.unordered => format!(r#"{{"line":{line},"answer":{shown}}}"#),
                    _ => shown,
                })?;
                self.results.flush()
            }
            Err(error) => {
                let is_last = matches!(error, Error::Unsendable(_));
                let failure = self.call.failed(error, body, line);
                if is_last || failure.is_end {
                    return Err(failure);
                }
                self.failures.add(&failure, self.words);
                Ok(())
            }
        }
    }
}
