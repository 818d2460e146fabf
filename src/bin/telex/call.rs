//! Knows one request and its reply.
//! Never: how the daemon finds a node that answers.

use std::io::Read;

use telex::client::{self, Client, Error, Unsendable};

use crate::args::CallOrder;
use crate::exit::Failure;
use crate::output::Results;

pub(crate) fn run(order: &CallOrder, body: &str, client: &mut Client) -> Result<(), Failure> {
    if let Some(name) = &order.from {
        client.register(name)?;
    }
    let reply = match client.call(order.to.to(), &order.message_type, body, order.timeout) {
        Ok(reply) => reply,
        Err(Error::Unsendable(why @ Unsendable::BadBody { .. })) if !order.text => {
            return Err(Failure::usage(format!("{why}; --text sends it as a string")));
        }
        Err(error) => return Err(error.into()),
    };
    let mut results = Results::new();
    results.line(reply.body().unwrap_or("null"))?;
    results.flush()
}

/// The body that the command line or stdin gives; empty for none.
pub(crate) fn body(order: &CallOrder) -> Result<String, Failure> {
    let given = match order.body.as_deref() {
        Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::file("stdin", &error))?;
            // The LF that ends the last line belongs to the file and not to the text.
            text.truncate(text.strip_suffix('\n').unwrap_or(&text).len());
            text
        }
        Some(body) => body.to_owned(),
        None => return Ok(String::new()),
    };
    Ok(if order.text { client::text(&given) } else { given })
}
