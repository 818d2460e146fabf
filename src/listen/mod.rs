//! Knows how listening sockets come to be, which process is at the other end of a Unix socket, and when the
//! system has no more to give.
//! Never: what is said over a connection.

mod bind;
mod credentials;
mod inherited;
mod shortage;

pub use bind::{Bound, Listener, Place, adopt, bind};
#[cfg(feature = "daemon")]
pub use bind::{is_listening, take_over};
pub use credentials::{Peer, identify};
pub use inherited::{Inherited, inherited};
pub use shortage::{is_file_shortage, is_shortage};
