//! Knows what must hold between the requests and the servers of a cluster.
//! Never: how it comes about.

use crate::cluster::book::Book;
use crate::cluster::member::Link;
use crate::cluster::pending::State;
use crate::cluster::roster::Roster;
use crate::cluster::settings::Settings;

pub(super) fn check<Q, A>(settings: &Settings, book: &Book<Q, A>, roster: &Roster) {
    book.check();
    assert!(book.under_way() <= settings.max_parallel, "max_parallel");
    let (mut waiting, mut in_flight) = (0, 0);
    for id in book.ids() {
        let Some(pending) = book.get(id) else { continue };
        assert!(pending.tries() <= settings.max_request_retries, "{id:?} max_request_retries");
        match pending.state {
            State::Queued { server } => {
                waiting += 1;
                assert!(roster.members[server].waiting.contains(&id), "{id:?} waits for no server");
            }
            State::InFlight { server, .. } => {
                in_flight += 1;
                assert!(roster.members[server].in_flight.contains(&id), "{id:?} is in no flight");
            }
            State::Waiting | State::Delayed { .. } => {}
        }
    }
    for member in &roster.members {
        (waiting, in_flight) = (waiting - member.waiting.len(), in_flight - member.in_flight.len());
        assert!(member.in_flight.len() <= settings.max_parallel_per_server, "max_parallel_per_server");
        assert!(member.in_flight.is_empty() || matches!(member.link, Link::Open(_)), "in flight on no link");
    }
    assert_eq!((waiting, in_flight), (0, 0), "servers have others than the requests say");
}
