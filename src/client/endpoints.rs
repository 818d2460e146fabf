//! Knows which endpoints of a node are tried, in which order and for how long, and whether it is the node that
//! answers there.
//! Never: how a connection is made, or what is said over it later.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::address::Address;
use crate::client::error::Error;
use crate::client::message::Message;
use crate::client::undialled::Undialled;

/// The endpoints of a node, from the daemon's answer to `resolve`. An error if it is not there, or has none.
pub(super) fn endpoints_of(node_id: &str, resolved: &Message) -> Result<Vec<String>, Error> {
    let node_id = node_id.to_owned();
    let body = resolved.body_value();
    let status = body["status"].as_str().unwrap_or_default();
    if status != "up" {
        return Err(Error::Undialled(Undialled::NotUp { node_id, status: status.to_owned() }));
    }
    let endpoints = body["endpoints"].as_array().into_iter().flatten();
    let endpoints: Vec<String> = endpoints.filter_map(Value::as_str).map(str::to_owned).collect();
    match endpoints.is_empty() {
        true => Err(Error::Undialled(Undialled::NoEndpoints { node_id })),
        false => Ok(endpoints),
    }
}

/// Connects to the first endpoint at which the node answers. Each has an equal share of the time that is left.
/// `connect` gives a connection and the answer to its `whoami`.
pub(super) fn in_turn<T>(
    node_id: &str,
    endpoints: Vec<String>,
    within: Duration,
    connect: impl Fn(&Address, Duration) -> Result<(T, Message), Error>,
) -> Result<T, Error> {
    let began = Instant::now();
    let (mut shares, mut tried) = (endpoints.len() as u32, Vec::new());
    for endpoint in endpoints {
        let share = within.saturating_sub(began.elapsed()) / shares;
        shares -= 1;
        let connected = match Address::parse(&endpoint) {
            Ok(Address::Unix(path)) if path.is_relative() => {
                Err("only the service knows from where that path begins".to_owned())
            }
            Ok(address) => connect(&address, share).map_err(|error| error.to_string()),
            Err(bad) => Err(bad.to_string()),
        };
        match connected {
            Ok((connection, whoami)) if whoami.body_value()["service"] == node_id => return Ok(connection),
            Ok(_) => tried.push((endpoint, "what answers there is another program".to_owned())),
            Err(why) => tried.push((endpoint, why)),
        }
    }
    Err(Error::Undialled(Undialled::Unreachable { node_id: node_id.to_owned(), tried }))
}
