use std::path::Path;
use std::time::Duration;

use telex::address::Address;
use telex::client::{Error, Handle};
use telex::service::Service;

/// Starts a service that listens in the directory `dir`, and answers through the daemon, too.
pub fn thermometer(daemon: &Address, dir: &Path) -> Result<Service, Error> {
    Service::builder("thermometer")
        .listen(Address::Unix(dir.join("thermometer.sock")))
        .on("read", |request| match request.body_value()["room"].as_str() {
            Some("kitchen") => Ok(r#"{"c":20.5}"#),
            _ => Err("there is no thermometer in that room"),
        })
        .start(daemon)
}

/// Asks it, of which no more is known than the name.
pub fn temperature(daemon: &Address) -> Result<f64, Error> {
    let handle = Handle::connect(daemon)?;
    let thermometer = handle.dial("thermometer")?;
    let kitchen = r#"{"room":"kitchen"}"#;
    let reply = thermometer.call("thermometer", "read", kitchen, Duration::from_secs(5)).wait()?;
    Ok(reply.body_value()["c"].as_f64().unwrap_or(f64::NAN))
}
