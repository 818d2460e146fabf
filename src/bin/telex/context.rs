//! Knows what all verbs share: which daemon, in what form results are wanted, and how words are said.
//! Never: a verb.

use std::io::IsTerminal;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use telex::address::Address;
use telex::client::{self, Client, Error, Handle};

use crate::colour::{Colours, When};
use crate::exit::Failure;
use crate::given;
use crate::notice::farewell;
use crate::output::Words;

/// How long a connection is waited for, if less is not asked for.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// And at least, also for a verb that is only to take what is there already.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A line of JSON for each.
    Json,
    /// For people.
    Table,
}

/// What all verbs are told.
pub(crate) struct Context {
    pub(crate) address: Option<String>,
    /// As the command line wants it.
    pub(crate) form: Option<Form>,
    pub(crate) colour: When,
    pub(crate) words: Words,
}

impl Context {
    /// The daemon's address: the one that is given, else the library's choice.
    pub(crate) fn address(&self) -> Result<Address, Failure> {
        match &self.address {
            Some(text) => Address::parse(text)
                .map_err(|bad| Failure::usage(given::pointed(&bad.to_string(), text, bad.at()))),
            None => Ok(client::default_address()?),
        }
    }

    /// How results are written: as it is wanted, else for people on a terminal alone.
    pub(crate) fn form(&self) -> Form {
        let by_itself = if std::io::stdout().is_terminal() { Form::Table } else { Form::Json };
        self.form.unwrap_or(by_itself)
    }

    /// The colours of a table on stdout.
    pub(crate) fn colours(&self) -> Colours {
        Colours::on(self.colour, &std::io::stdout())
    }

    /// A connection that more than one thing can be done with at a time.
    pub(crate) fn handle(&self, within: Duration) -> Result<Handle, Failure> {
        let within = within.clamp(CONNECT_TIMEOUT_MIN, CONNECT_TIMEOUT);
        let builder = Handle::builder().connect_timeout(within).reconnect(None);
        self.connected(|address| builder.clone().connect(address))
    }

    /// Talks to the daemon over a connection that is made in this time, and says its last words if it ends that.
    pub(crate) fn talk<T>(
        &self,
        within: Duration,
        run: impl FnOnce(&mut Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.talk_over(&mut self.connect(within)?, run)
    }

    /// A connection, if it can be made in this time.
    pub(crate) fn connect(&self, within: Duration) -> Result<Client, Failure> {
        let within = within.clamp(CONNECT_TIMEOUT_MIN, CONNECT_TIMEOUT);
        self.connected(|address| match at_once(address) {
            Some(connected) => connected,
            None => Client::connect_within(address, within),
        })
    }

    /// What `connect` makes of the address: of the one that is given, else of those of the library's choice.
    fn connected<T>(&self, mut connect: impl FnMut(&Address) -> Result<T, Error>) -> Result<T, Failure> {
        let mut last = None;
        let mut connect = |address: &Address| {
            last = Some(address.clone());
            connect(address)
        };
        let connected = match &self.address {
            Some(_) => connect(&self.address()?),
            None => client::connect_default(connect),
        };
        connected.map_err(|error| match (&error, &last) {
            (Error::Connect { address, .. }, _) | (_, Some(address)) => Failure::unreachable(address, &error),
            (_, None) => error.into(),
        })
    }

    /// Talks to the daemon, and says its last words if it ends the connection.
    pub(crate) fn talk_over<T>(
        &self,
        client: &mut Client,
        run: impl FnOnce(&mut Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        run(client).inspect_err(|failure| {
            if failure.is_end {
                farewell(client, self.words);
            }
        })
    }
}

/// A connection, or that no daemon is there, if that needs no wait: it costs a thread, which is half of what a short
/// command costs.
fn at_once(address: &Address) -> Option<Result<Client, Error>> {
    let Address::Unix(path) = address else { return None };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path).ok()?) {
        Ok(()) => {}
        Err(errno @ (Errno::ENOENT | Errno::ECONNREFUSED)) => {
            return Some(Err(Error::Connect { address: address.clone(), source: errno.into() }));
        }
        Err(_) => return None,
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false).ok()?;
    Some(Client::over_socket(stream))
}
