//! The greeting: one datagram, one answer.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::client::program::{MAX_DATAGRAM_BYTES, bind_for, is_too_long, is_unreachable};
use bullhorn::client::{ServerAddress, escape};

/// A text to say, and the time to wait for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    /// The text, as it is sent.
    pub text: String,
    /// Number of times that it is sent, if nothing answers.
    pub attempts: u32,
    /// Time for which each attempt waits for an answer.
    pub wait: Duration,
}

/// Sends the greeting from a new socket until something answers, and writes to
/// `out` the addresses of the socket before and after connecting, and then the
/// answer.
///
/// A server name with several addresses is tried in the resolver's order: the
/// next one at once when one refuses, or after all attempts when none answers.
///
/// # Errors
/// The name cannot be resolved, the text cannot be sent, nothing answers, or
/// writing fails.
pub(crate) fn greet(
    server: &ServerAddress,
    greeting: &Greeting,
    out: &mut impl Write,
) -> Result<(), GreetError> {
    let datagram = greeting.text.as_bytes();
    let addresses = match server.resolve() {
        Ok(addresses) => addresses,
        Err(source) => {
            return Err(GreetError::Resolve {
                server: server.clone(),
                source,
            });
        }
    };
    greet_first(server, &addresses, datagram, greeting, out)
}

/// The reason why a greeting has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GreetError {
    /// The server's name has no address.
    #[error("cannot resolve {server}: {source}")]
    Resolve {
        /// As the user wrote it.
        server: ServerAddress,
        /// The error of the resolver.
        source: io::Error,
    },
    /// Nothing came, each time.
    #[error(
        "no answer from {server} to {attempts} {}, each waited for {}",
        if *attempts == 1 { "attempt" } else { "attempts" },
        humantime::format_duration(*wait),
    )]
    NoAnswer {
        /// As the user wrote it.
        server: ServerAddress,
        /// Number of attempts.
        attempts: u32,
        /// Time for which each was waited for.
        wait: Duration,
    },
    /// The host is there, and nothing listens on that port.
    #[error("{0} refused: no server listens there")]
    Refused(ServerAddress),
    /// The text does not fit into one datagram.
    #[error("a greeting of {bytes} bytes does not fit into one datagram")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// There is no way to the server.
    #[error("cannot reach {server}: {source}")]
    Unreachable {
        /// As the user wrote it.
        server: ServerAddress,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Writing to `out` failed.
    #[error("cannot print: {0}")]
    Output(#[source] io::Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempts {
    All,
    /// There is another address to go to.
    UntilRefused,
}

enum Failure {
    Silent,
    Unreachable(io::Error),
    Output(io::Error),
}

/// Greets the addresses in turn, until one answers.
fn greet_first(
    server: &ServerAddress,
    addresses: &[SocketAddr],
    datagram: &[u8],
    greeting: &Greeting,
    out: &mut impl Write,
) -> Result<(), GreetError> {
    let mut last_failure = Failure::Silent;
    for (tried, address) in addresses.iter().enumerate() {
        let is_last = tried + 1 == addresses.len();
        let attempts = if is_last {
            Attempts::All
        } else {
            Attempts::UntilRefused
        };
        match greet_address(*address, datagram, greeting, attempts, out) {
            Ok(answer) => {
                writeln!(out, "{}", escape(&answer)).map_err(GreetError::Output)?;
                return out.flush().map_err(GreetError::Output);
            }
            Err(Failure::Output(error)) => return Err(GreetError::Output(error)),
            Err(failure) => last_failure = failure,
        }
    }
    let server = server.clone();
    Err(match last_failure {
        Failure::Silent => GreetError::NoAnswer {
            server,
            attempts: greeting.attempts,
            wait: greeting.wait,
        },
        Failure::Unreachable(source) if source.kind() == ErrorKind::ConnectionRefused => {
            GreetError::Refused(server)
        }
        Failure::Unreachable(source) if is_too_long(&source) => GreetError::TooLong {
            bytes: datagram.len(),
        },
        Failure::Unreachable(source) => GreetError::Unreachable { server, source },
        Failure::Output(error) => GreetError::Output(error),
    })
}

fn greet_address(
    address: SocketAddr,
    datagram: &[u8],
    greeting: &Greeting,
    attempts: Attempts,
    out: &mut impl Write,
) -> Result<String, Failure> {
    let socket = bind_for(address).map_err(Failure::Unreachable)?;
    print_addresses(&socket, "before", out).map_err(Failure::Output)?;
    socket.connect(address).map_err(Failure::Unreachable)?;
    print_addresses(&socket, "after", out).map_err(Failure::Output)?;
    let mut failure = Failure::Silent;
    for attempt in 1..=greeting.attempts {
        let until = Instant::now() + greeting.wait;
        match exchange(&socket, datagram, until) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => failure = Failure::Silent,
            Err(error) => {
                let may_pass = is_unreachable(&error) && attempts == Attempts::All;
                failure = Failure::Unreachable(error);
                if !may_pass {
                    break;
                }
                // It may be starting just now.
                if attempt < greeting.attempts {
                    thread::sleep(until.saturating_duration_since(Instant::now()));
                }
            }
        }
    }
    Err(failure)
}

/// Sends once, and receives until something comes that is an answer.
fn exchange(socket: &UdpSocket, datagram: &[u8], until: Instant) -> io::Result<Option<String>> {
    if let Err(error) = socket.send(datagram) {
        // What is reported first is what became of the attempt before.
        if !is_unreachable(&error) {
            return Err(error);
        }
        socket.send(datagram)?;
    }
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let answer = String::from_utf8_lossy(&buffer[..length]);
                let answer = answer.trim_end_matches(['\r', '\n']);
                if !answer.is_empty() {
                    return Ok(Some(answer.to_owned()));
                }
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

fn print_addresses(socket: &UdpSocket, when: &str, out: &mut impl Write) -> io::Result<()> {
    let local = socket.local_addr()?;
    let remote = match socket.peer_addr() {
        Ok(remote) => remote.to_string(),
        Err(_) => "none".to_owned(),
    };
    writeln!(out, "{when} connecting: local {local}, remote {remote}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_to_the_next_address_at_once_when_one_refuses() {
        let closed = UdpSocket::bind("127.0.0.81:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let server = UdpSocket::bind("127.0.0.81:0").unwrap();
        let addresses = [closed, server.local_addr().unwrap()];
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let answering = thread::spawn(move || {
            let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
            server.send_to(b"hi", from).unwrap();
        });
        // With a second attempt at the first one, the other is gone by then.
        let greeting = Greeting {
            text: "hello".to_owned(),
            attempts: 3,
            wait: Duration::from_secs(20),
        };
        let mut out = Vec::new();
        greet_first(&closed.into(), &addresses, b"hello", &greeting, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("\nhi\n"));
        answering.join().unwrap();
    }
}
