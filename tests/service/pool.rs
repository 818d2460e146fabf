use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use telex::address::Address;
use telex::client::{Delivery, Error, Handle, Register};

/// Starts a worker. It has two names: of the instances of `squares` one gets each message, those of `squares.all`
/// get all of them.
pub fn worker(daemon: &Address) -> Result<Handle, Error> {
    let handle = Handle::connect(daemon)?;
    let done = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&done);
    handle.on("square", move |request| {
        let number = request.body_value().as_u64().ok_or("what is squared is a number")?;
        count.fetch_add(1, Ordering::Relaxed);
        number.checked_mul(number).map(|square| square.to_string()).ok_or("it is too large")
    });
    handle.on("done", move |_| Ok::<_, Error>(done.load(Ordering::Relaxed).to_string()));
    let node_id = Some("squares".into());
    let terms = Register { node_id, delivery: Some(Delivery::One), ..Register::default() };
    handle.register_with(&terms).wait()?;
    handle.register("squares.all").wait()?;
    Ok(handle)
}

/// Has numbers squared, all at once; gives the squares in their order, and how many each worker has done.
pub fn squares(daemon: &Address, numbers: &[u64]) -> Result<(Vec<u64>, Vec<u64>), Error> {
    let handle = Handle::connect(daemon)?;
    let ask = |number: &u64| handle.call("squares", "square", &number.to_string(), Duration::from_secs(5));
    let answers: Vec<_> = numbers.iter().map(ask).collect();
    let mut squares = Vec::new();
    for answer in answers {
        squares.push(answer.wait()?.body_value()["result"].as_u64().unwrap_or_default());
    }
    let mut counts = Vec::new();
    let mut replies = handle.gather("squares.all", "done", "", Duration::from_secs(5));
    for reply in replies.iter() {
        counts.push(reply?.body_value()["result"].as_u64().unwrap_or_default());
    }
    Ok((squares, counts))
}
