use std::error::Error;

use telex::client::switches::{Ask, Switches};
use telex::client::text;
use telex::cluster::{Balance, Message, Settings};

/// Asks `bank` for the balances of accounts, in their order. The servers are switches at which there is such a node, or
/// services of that name themselves; the same one is asked for an account while all are there.
pub fn balances(servers: &str, accounts: &[&str]) -> Result<Vec<i64>, Box<dyn Error>> {
    let settings = Settings { balance: Balance::Ketama, ..Settings::of(servers)? };
    let cluster = Switches::new(settings)?;
    let questions = accounts.iter().map(|account| {
        // To read twice does no harm: another server is asked if one fails.
        Message::new(Ask::new("bank", "balance", &text(account))).key(*account).retry()
    });
    let mut balances = Vec::new();
    for outcome in cluster.send_bulk(questions) {
        let reply = outcome?.ok_or("a reply is wanted")?;
        balances.push(reply.body_value()["result"].as_i64().ok_or("no balance")?);
    }
    Ok(balances)
}
