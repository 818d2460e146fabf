//! Knows the shortest stories of what the simulation has found, so that it does not have to find it
//! again. The model looks on, as in every run.
//! Never: more than one promise at a time.

use std::time::Duration;

use telex::core::Tuning;
use telex::limits::Limits;

use crate::model::Checked;
use crate::random::Random;
use crate::run::{look_around, settle};
use crate::shell::{Reads, World};

fn world() -> World {
    world_with(800)
}

fn world_with(max_queue_bytes: usize) -> World {
    world_tuned(max_queue_bytes, Tuning::default())
}

/// All that is done beyond a line is done in parts.
fn world_in_parts(max_queue_bytes: usize) -> World {
    world_tuned(max_queue_bytes, Tuning { settle_effort: 1, line_effort: 1, ..Tuning::default() })
}

fn world_tuned(max_queue_bytes: usize, tuning: Tuning) -> World {
    let limits = Limits {
        max_line_bytes: 200,
        max_queue_bytes,
        max_requests: 3,
        max_subscriptions: 3,
        ..Limits::default()
    };
    World::new(Random::new(1), limits, tuning, false)
}

impl World {
    fn peer(&mut self) -> u64 {
        let number = self.connect(Some(0), true).expect("the model agrees");
        number.expect("there is room")
    }

    fn says(&mut self, number: u64, line: &str) -> Checked {
        self.send(number, line.as_bytes());
        self.send(number, b"\n");
        while !self.is_idle() {
            self.turn()?;
        }
        Ok(())
    }

    fn reads(&mut self, number: u64, reads: Reads) {
        self.sessions.get_mut(&number).expect("it is there").reads = reads;
    }

    fn is_there(&self, number: u64) -> bool {
        self.sessions.contains_key(&number)
    }

    fn is_paused(&self, number: u64) -> bool {
        self.model().conn(number).is_some_and(|conn| conn.held.is_some())
    }

    /// Signals of `number`'s until there is no room for one, which waits.
    fn fills(&mut self, number: u64, to: u64) -> Checked {
        let pad = "x".repeat(100);
        while !self.is_paused(number) {
            self.says(
                number,
                &format!("{{\"message_type\":\"signal\",\"to\":\":{to}\",\"body\":\"{pad}\"}}"),
            )?;
        }
        Ok(())
    }

    /// Pings until it is not read any more.
    fn asks_without_reading(&mut self, number: u64) -> Checked {
        while self.model().conn(number).is_some_and(|conn| !self.model().is_blocked(conn)) {
            self.says(number, "{\"message_type\":\"ping\"}")?;
        }
        Ok(())
    }

    fn has_logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

const DROPPED: &str =
    "{\"message_type\":\"get\",\"to\":\"x\",\"timeout_ms\":500,\"body\":{\"gate\":\"drop\"}}";

#[test]
fn a_dropped_request_counts_as_an_open_one() -> Checked {
    let mut world = world();
    let asker = world.peer();
    for _ in 0..4 {
        world.says(asker, DROPPED)?;
    }
    assert!(world.has_logged("too_many_requests"));
    world.pass_time(Duration::from_millis(500))?;
    assert_eq!(world.model().requests.len(), 0);
    Ok(())
}

#[test]
fn who_half_closes_still_gets_the_timeout_of_a_dropped_request() -> Checked {
    let mut world = world();
    let asker = world.peer();
    world.says(asker, DROPPED)?;
    world.half_close(asker);
    world.turn()?;
    assert!(world.is_there(asker));
    world.pass_time(Duration::from_millis(500))?;
    assert!(world.has_logged("\"timeout\"") && !world.is_there(asker));
    look_around(&mut world)
}

#[test]
fn a_tap_too_many_takes_no_other_tap_away() -> Checked {
    let mut world = world();
    let (tap, other) = (world.peer(), world.peer());
    for topic in ["a", "b"] {
        let body = format!("{{\"topic\":\"{topic}\"}}");
        world.says(tap, &format!("{{\"message_type\":\"subscribe\",\"body\":{body}}}"))?;
    }
    world.says(tap, "{\"message_type\":\"tap\",\"body\":{\"to\":\"x\"}}")?;
    world.says(tap, "{\"message_type\":\"tap\"}")?;
    assert!(world.has_logged("too_many_subscriptions"));
    world.says(other, "{\"message_type\":\"signal\",\"to\":\"x\"}")?;
    assert!(world.has_logged("\"event\":\"tap\""));
    Ok(())
}

#[test]
fn one_who_misses_a_message_for_one_group_does_not_miss_it_for_another() -> Checked {
    let mut world = world();
    let (slow, quick, publisher) = (world.peer(), world.peer(), world.peer());
    for (who, topic, group) in [(slow, ">", "g"), (slow, ">", "h"), (quick, "*", "h")] {
        let body = format!("{{\"topic\":\"{topic}\",\"group\":\"{group}\"}}");
        world.says(who, &format!("{{\"message_type\":\"subscribe\",\"body\":{body}}}"))?;
    }
    world.reads(slow, Reads::Nothing);
    world.fills(publisher, slow)?;
    let other = world.peer();
    world.says(other, "{\"message_type\":\"signal\",\"topic\":\"a\",\"body\":\"for the quick one\"}")?;
    assert!(world.log.iter().any(|line| line.starts_with("< :2") && line.contains("quick one")));
    assert_eq!(world.core.stats().missed, 1);
    Ok(())
}

#[test]
fn nobody_waits_for_a_broken_connection() -> Checked {
    let mut world = world();
    let (broken, full, sender) = (world.peer(), world.peer(), world.peer());
    world.reads(full, Reads::Nothing);
    world.reads(broken, Reads::Nothing);
    // It waits itself, so that it is there for a while when it is broken.
    world.fills(broken, full)?;
    world.fills(sender, broken)?;
    world.hang_up(broken)?;
    while !world.is_idle() {
        world.turn()?;
    }
    assert!(world.is_there(broken) && !world.is_paused(sender));
    // It is gone for all others, though a line of it waits.
    world.says(sender, "{\"message_type\":\"signal\",\"to\":\":1\",\"message_id\":\"late\"}")?;
    assert!(world.has_logged("\"code\":\"no_such_node\",\"in_reply_to\":\"late\""));
    Ok(())
}

#[test]
fn no_copies_are_kept_for_a_broken_tap() -> Checked {
    let mut world = world();
    let (tap, full, other) = (world.peer(), world.peer(), world.peer());
    world.says(tap, "{\"message_type\":\"tap\"}")?;
    world.reads(full, Reads::Nothing);
    world.fills(tap, full)?;
    world.hang_up(tap)?;
    world.says(other, "{\"message_type\":\"signal\",\"to\":\"x\"}")?;
    assert!(world.is_there(tap) && !world.has_logged("\"event\":\"tap\""));
    Ok(())
}

#[test]
fn the_fates_of_messages_to_oneself_are_counted_and_nothing_is_left_of_them() -> Checked {
    let mut world = world();
    let own = world.peer();
    world.reads(own, Reads::Nothing);
    world.says(own, "{\"message_type\":\"signal\",\"to\":\":1\"}")?;
    world.half_close(own);
    world.turn()?;
    for _ in 0..2 {
        world.pass_time(Duration::from_secs(10))?;
    }
    assert!(!world.is_there(own));
    assert_eq!(world.core.stats().untold, 1);
    look_around(&mut world)
}

#[test]
fn a_fate_that_finds_its_senders_queue_full_is_told() -> Checked {
    let mut world = world();
    let (sender, receiver, silent) = (world.peer(), world.peer(), world.peer());
    world.reads(receiver, Reads::Nothing);
    world.says(sender, "{\"message_type\":\"signal\",\"to\":\":2\"}")?;
    for _ in 0..3 {
        let line = format!("{{\"message_type\":\"get\",\"to\":\":{silent}\",\"timeout_ms\":500}}");
        world.says(sender, &line)?;
    }
    world.reads(sender, Reads::Nothing);
    world.asks_without_reading(sender)?;
    world.pass_time(Duration::from_millis(500))?;
    assert!(world.is_there(sender));
    assert!(world.model().conn(sender).is_some_and(|conn| conn.second >= 800), "the scenario fills it");
    world.hang_up(receiver)?;
    assert!(world.is_there(sender), "it is owed what it is told, and may read it yet");
    assert_eq!(world.core.stats().untold, 0);
    Ok(())
}

#[test]
fn the_held_line_of_a_broken_connection_is_counted_where_it_goes_nowhere() -> Checked {
    let mut world = world();
    let (receiver, sender) = (world.peer(), world.peer());
    world.reads(receiver, Reads::Nothing);
    world.fills(sender, receiver)?;
    world.hang_up(sender)?;
    let queued = world.model().conn(receiver).map_or(0, |conn| conn.queue.len()) as u64;
    world.half_close(receiver);
    while !world.is_idle() {
        world.turn()?;
    }
    assert_eq!(world.core.stats().untold, 1);
    for _ in 0..2 {
        world.pass_time(Duration::from_secs(10))?;
    }
    assert_eq!(world.core.stats().untold, 1 + queued);
    look_around(&mut world)
}

#[test]
fn who_does_not_read_what_the_daemon_says_is_ended_in_time() -> Checked {
    let mut world = world_with(4000);
    let (slow, other) = (world.peer(), world.peer());
    world.says(slow, "{\"message_type\":\"subscribe\",\"body\":{\"topic\":\"a\"}}")?;
    world.reads(slow, Reads::Nothing);
    let direct = "{\"message_type\":\"signal\",\"to\":\":1\"}";
    while world.model().conn(slow).is_some_and(|conn| conn.first < 2000) {
        world.says(other, direct)?;
    }
    world.asks_without_reading(slow)?;
    while world.model().conn(slow).is_some_and(|conn| conn.second < 4000) {
        assert!(!world.is_paused(other), "the second count is full first");
        world.says(other, "{\"message_type\":\"signal\",\"topic\":\"a\"}")?;
        world.says(other, direct)?;
    }
    assert!(world.is_there(slow));
    world.pass_time(Duration::from_secs(10))?;
    assert!(!world.is_there(slow));
    Ok(())
}

#[test]
fn one_who_waits_for_two_rows_does_not_chase_his_turn_for_ever() -> Checked {
    let mut world = world();
    let (one, two) = (world.peer(), world.peer());
    for number in [one, two] {
        world.says(number, "{\"message_type\":\"register\",\"body\":{\"node_id\":\"both\"}}")?;
        world.reads(number, Reads::Nothing);
    }
    let to = |to: &str| format!("{{\"message_type\":\"signal\",\"to\":\"{to}\"}}");
    let waiting: Vec<u64> = (0..5).map(|_| world.peer()).collect();
    world.fills(waiting[0], one)?;
    world.fills(waiting[1], two)?;
    for (number, address) in waiting[2..].iter().zip(["both", ":1", ":2"]) {
        world.says(*number, &to(address))?;
        assert!(world.is_paused(*number));
    }
    settle(&mut world)?;
    assert!(waiting.iter().all(|&number| !world.is_paused(number)));
    Ok(())
}

#[test]
fn parts_of_any_size_come_to_an_end() -> Checked {
    let mut world = world_in_parts(800);
    let monitors: Vec<u64> = (0..3).map(|_| world.peer()).collect();
    for &monitor in &monitors {
        world.says(monitor, "{\"message_type\":\"monitor\",\"body\":{\"node_id\":\"*\"}}")?;
    }
    let node = world.peer();
    world.says(node, "{\"message_type\":\"register\",\"body\":{\"node_id\":\"x\"}}")?;
    world.half_close(node);
    settle(&mut world)?;
    assert!(!world.is_there(node) && world.has_logged("node_down"));
    Ok(())
}

#[test]
fn one_who_reads_too_little_is_ended_in_parts() -> Checked {
    let mut world = world_in_parts(800);
    let (slow, sender) = (world.peer(), world.peer());
    world.reads(slow, Reads::Nothing);
    world.fills(sender, slow)?;
    world.pass_time(Duration::from_secs(10))?;
    assert!(!world.is_there(slow));
    settle(&mut world)
}

#[test]
fn a_roll_call_is_over_when_the_daemon_ends() -> Checked {
    let mut world = world();
    let (node, monitor) = (world.peer(), world.peer());
    world.says(node, "{\"message_type\":\"register\",\"body\":{\"node_id\":\"x\"}}")?;
    world.reads(monitor, Reads::Nothing);
    world.says(monitor, "{\"message_type\":\"ping\",\"body\":\"more than may wait for a roll call, which is little, as the queue is\"}")?;
    world.says(monitor, "{\"message_type\":\"monitor\",\"body\":{\"node_id\":\"*\"}}")?;
    assert!(world.model().conn(monitor).is_some_and(|conn| conn.roll_call.is_some()));
    world.stop()
}
