//! The child of a fork.
#![expect(unsafe_code, reason = "a fork is what is tested")]

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use telex::client::Client;

use crate::daemon::Daemon;

#[test]
fn a_child_may_drop_what_is_its_parents() {
    let daemon = Daemon::start(&[]);
    let handle = daemon.connect();
    let topic = handle.subscribe("t", None).wait().expect("subscribed");
    let mut client = Client::connect(&daemon.address()).expect("a connection");
    client.subscribe("t", None).expect("subscribed");
    // SAFETY: the child drops the three and ends, without a lock that another thread may hold.
    match unsafe { fork() }.expect("a fork") {
        ForkResult::Child => {
            drop((topic, handle, client));
            // Nothing of the test's is cleaned up twice.
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).expect("an end");
            unreachable!("it has been killed");
        }
        ForkResult::Parent { child } => {
            let end = waitpid(child, None).expect("its end");
            assert!(matches!(end, WaitStatus::Signaled(..)), "{end:?}");
        }
    }
    let mut topic = topic;
    handle.publish("t", "1").expect("sent");
    assert!(topic.wait(Some(crate::daemon::SOON)).expect("no error").is_some());
    assert!(client.next(Some(crate::daemon::SOON)).expect("no error").is_some());
}
