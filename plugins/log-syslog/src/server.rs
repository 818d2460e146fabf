//! Knows how records get to a server of syslog, over UDP or TCP.
//! Never: what they look like.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use telex_log::{Batch, STEP, Sink};

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server may leave what it was sent without acknowledgement, before it is taken for dead.
const DEAD_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// A server of syslog. All that may take its time, names too, is looked up on the thread that writes.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    transport: Transport,
    /// Its host and port.
    target: String,
    open: Option<Open>,
    /// How often it was opened: a name may stand for several addresses.
    times_opened: usize,
}

#[derive(Debug)]
enum Open {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Server {
    /// The server at `udp://HOST:PORT` or `tcp://HOST:PORT`.
    pub(crate) fn new(address: &str) -> Result<Server, String> {
        let wrong = || {
            format!(
                "server: \"{address}\" is no address, such as \"udp://loghost:514\" or \"tcp://[::1]:601\""
            )
        };
        let (scheme, target) = address.split_once("://").ok_or_else(wrong)?;
        let transport = match scheme {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            _ => return Err(wrong()),
        };
        let (host, port) = target.rsplit_once(':').ok_or_else(wrong)?;
        let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(number) => number.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', '[', ']', '@']),
        };
        if !is_host || port.parse::<u16>().ok().filter(|port| *port != 0).is_none() {
            return Err(wrong());
        }
        Ok(Server {
            address: address.to_owned(),
            transport,
            target: target.to_owned(),
            open: None,
            times_opened: 0,
        })
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    fn connect(&mut self) -> io::Result<Open> {
        let addresses: Vec<SocketAddr> = self.target.to_socket_addrs()?.collect();
        self.connect_to(&addresses)
    }

    fn connect_to(&mut self, addresses: &[SocketAddr]) -> io::Result<Open> {
        let nowhere = || io::Error::new(ErrorKind::NotFound, "its name has no address");
        match self.transport {
            Transport::Udp => {
                // Nobody says which of them is right: the next time, the next one.
                let turn = self.times_opened % addresses.len().max(1);
                self.times_opened += 1;
                let address = addresses.get(turn).ok_or_else(nowhere)?;
                let socket = match address {
                    SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
                    SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
                };
                socket.connect(address)?;
                socket.set_write_timeout(Some(STEP))?;
                Ok(Open::Udp(socket))
            }
            Transport::Tcp => {
                let mut failed = nowhere();
                for address in addresses {
                    match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
                        Ok(stream) => {
                            stream.set_write_timeout(Some(STEP))?;
                            setsockopt(&stream, sockopt::TcpUserTimeout, &(DEAD_AFTER.as_millis() as u32))?;
                            return Ok(Open::Tcp(stream));
                        }
                        Err(error) => failed = error,
                    }
                }
                Err(failed)
            }
        }
    }
}

impl Sink for Server {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        if self.open.is_none() {
            batch.restart_record();
            self.open = Some(self.connect()?);
        }
        let written = match &mut self.open {
            Some(Open::Udp(socket)) => socket.send(batch.record()),
            Some(Open::Tcp(stream)) => check_peer(stream).and_then(|()| stream.write(batch.rest())),
            None => Ok(0),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => {
                self.open = None;
                Err(error)
            }
            written => written,
        }
    }

    /// Looks its name up again, too.
    fn reopen(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.open = None;
        batch.restart_record();
        Ok(())
    }
}

/// Sees whether the peer has hung up, which a write would not tell: the kernel would take what is written,
/// and nobody else.
fn check_peer(stream: &TcpStream) -> io::Result<()> {
    loop {
        match recv(stream.as_raw_fd(), &mut [0; 1024], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Err(io::Error::new(ErrorKind::ConnectionAborted, "it has hung up")),
            // A server of syslog has nothing to say.
            Ok(_) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_addresses_each_has_its_turn_over_udp() {
        let mut server = Server::new("udp://loghost:514").unwrap();
        let addresses = ["127.0.0.1:514".parse().unwrap(), "127.0.0.2:514".parse().unwrap()];
        for address in addresses.iter().cycle().take(4) {
            match server.connect_to(&addresses).unwrap() {
                Open::Udp(socket) => assert_eq!(socket.peer_addr().unwrap(), *address),
                open => panic!("{open:?}"),
            }
        }
        assert_eq!(server.connect_to(&[]).unwrap_err().to_string(), "its name has no address");
    }

    #[test]
    fn addresses_are_checked() {
        for right in ["udp://loghost:514", "tcp://[::1]:601", "tcp://127.0.0.1:65535", "udp://a.b.c:1"] {
            assert_eq!(Server::new(right).unwrap().address, right);
        }
        for wrong in [
            "",
            "loghost",
            "loghost:514",
            "tls://loghost:514",
            "udp:loghost:514",
            "udp://loghost",
            "udp://:514",
            "udp://loghost:0",
            "udp://loghost:65536",
            "udp://::1:514",
            "udp://[::x]:514",
            "udp://loghost:514/",
            "udp://you@loghost:514",
        ] {
            let told = Server::new(wrong).unwrap_err();
            assert!(told.starts_with(&format!("server: \"{wrong}\" is no address, such as")), "{told}");
        }
    }
}
