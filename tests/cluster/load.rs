//! A thousand calls a second on five switches, of which one after the other is killed and started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use telex::client::switches::{SendError, Switches};
use telex::cluster::Settings;

use super::support::{PATIENCE, Starter, Telexd};
use super::worker::Worker;
use super::{Outcome, ask, tag_of};

const SWITCHES: usize = 5;
/// Every 10 ms so many calls.
const BATCH: u64 = 10;

fn start(dir: &Path, nth: usize) -> Telexd {
    Starter::new().listen(&format!("unix:{}", dir.join(nth.to_string()).display())).start()
}

/// Whether the call of this tag may be executed more than once.
fn may_repeat(tag: u64) -> bool {
    tag.is_multiple_of(2)
}

/// Kills one daemon after the other, and starts it again, until `end` is told.
fn kill_in_turn(dir: &Path, mut daemons: Vec<Telexd>, end: &Receiver<()>) -> (usize, Vec<Telexd>) {
    let (mut kills, half) = (0, Duration::from_millis(500));
    // It is down for half of each second.
    while end.recv_timeout(half) == Err(RecvTimeoutError::Timeout) {
        let nth = kills % SWITCHES;
        // Dropped, it is killed.
        drop(daemons.remove(nth));
        kills += 1;
        let is_over = end.recv_timeout(half) != Err(RecvTimeoutError::Timeout);
        daemons.insert(nth, start(dir, nth));
        if is_over {
            break;
        }
    }
    (kills, daemons)
}

#[test]
fn five_switches_one_of_which_is_killed_again_and_again() {
    let seconds = std::env::var("TELEX_CLUSTER_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let dir = tempfile::tempdir().expect("a directory");
    let daemons: Vec<Telexd> = (0..SWITCHES).map(|nth| start(dir.path(), nth)).collect();
    let addresses: Vec<String> = daemons.iter().map(|daemon| daemon.addresses[0].clone()).collect();
    let workers: Vec<Worker> = addresses.iter().map(|address| Worker::start(address)).collect();
    let switches = Switches::new(Settings {
        max_request_retries: 8,
        retry_delay: Duration::from_millis(20),
        probe_interval: Duration::from_millis(100),
        timeout: Some(PATIENCE),
        ..Settings::of(&addresses.join(",")).expect("a list of servers")
    })
    .expect("a cluster");
    let (end, ended) = channel();
    let place = dir.path().to_owned();
    let killer = spawn(move || kill_in_turn(&place, daemons, &ended));
    let (sender, outcomes) = channel();
    let (start, mut asked) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        for tag in asked..asked + BATCH {
            let sender = sender.clone();
            // It takes so long that some are in flight when a switch is killed.
            let call = ask(&format!(r#"{{"tag":{tag},"pause_ms":2}}"#));
            let call = if may_repeat(tag) { call.retry() } else { call };
            switches.send_then(call, move |outcome| drop(sender.send((tag, outcome))));
        }
        asked += BATCH;
        let next = Duration::from_millis(10 * asked / BATCH);
        std::thread::sleep(next.saturating_sub(start.elapsed()));
    }
    let done: BTreeMap<u64, Outcome> =
        (0..asked).map(|_| outcomes.recv_timeout(PATIENCE * 2).expect("an outcome for each")).collect();
    drop(end);
    let (kills, _daemons) = killer.join().expect("the killer");
    judge(done, &workers, asked, kills);
}

fn judge(done: BTreeMap<u64, Outcome>, workers: &[Worker], asked: u64, kills: usize) {
    assert_eq!(done.len() as u64, asked, "each has one outcome");
    let mut executed: BTreeMap<u64, u32> = BTreeMap::new();
    for (tag, count) in workers.iter().flat_map(Worker::counts) {
        *executed.entry(tag).or_default() += count;
    }
    let (mut lost, mut repeated) = (0, 0);
    for (tag, outcome) in done {
        let count = executed.get(&tag).copied().unwrap_or(0);
        assert!(may_repeat(tag) || count <= 1, "call {tag} was executed {count} times: {outcome:?}");
        repeated += u32::from(count > 1);
        match outcome {
            Err(SendError::Failed(why)) if !may_repeat(tag) => {
                assert!(count == 0 || why.may_be_executed, "call {tag}: {why:?}");
                lost += 1;
            }
            answered => assert_eq!((tag_of(answered), count > 0), (tag, true)),
        }
    }
    println!(
        "{asked} calls, {kills} kills: {lost} of those not to be repeated failed, {repeated} were repeated"
    );
    assert!(kills > 1);
}
