//! The greeting: one datagram, one answer.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::client::ServerAddress;
use nix::errno::Errno;

use super::line::escape;

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
    match server.resolve() {
        Ok(addresses) => greet_first(server, &addresses, greeting, out),
        Err(error) => Err(GreetError::Resolve(server.clone(), error)),
    }
}

/// The reason why a greeting has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetError {
    #[error("cannot resolve {0}: {1}")]
    Resolve(ServerAddress, #[source] io::Error),
    /// Nothing came, each time.
    #[error(
        "no answer from {server} to {attempts} {}, each waited for {}",
        if *attempts == 1 { "attempt" } else { "attempts" },
        humantime::format_duration(*wait),
    )]
    NoAnswer {
        server: ServerAddress,
        attempts: u32,
        wait: Duration,
    },
    /// The host is there, and nothing listens on that port.
    #[error("{0} refused: no server listens there")]
    Refused(ServerAddress),
    #[error("a greeting of {0} bytes does not fit into one datagram")]
    TooLong(usize),
    /// There is no way to the server.
    #[error("cannot reach {0}: {1}")]
    Unreachable(ServerAddress, #[source] io::Error),
    /// Writing to `out` failed.
    #[error("cannot print: {0}")]
    Output(#[source] io::Error),
}

/// Greets the addresses in turn, until one answers.
fn greet_first(
    server: &ServerAddress,
    addresses: &[SocketAddr],
    greeting: &Greeting,
    out: &mut impl Write,
) -> Result<(), GreetError> {
    let mut others = addresses.len();
    loop {
        let address = addresses[addresses.len() - others];
        others -= 1;
        match greet_address(server, address, greeting, others == 0, out) {
            Ok(answer) => {
                writeln!(out, "{}", escape(&answer)).map_err(GreetError::Output)?;
                return out.flush().map_err(GreetError::Output);
            }
            Err(GreetError::Output(error)) => return Err(GreetError::Output(error)),
            Err(error) if others == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// Greets one address. An error of the network ends the attempts if it is not the last one.
fn greet_address(
    server: &ServerAddress,
    address: SocketAddr,
    greeting: &Greeting,
    is_last: bool,
    out: &mut impl Write,
) -> Result<String, GreetError> {
    let datagram = greeting.text.as_bytes();
    let is_too_long = |error: &io::Error| error.raw_os_error() == Some(Errno::EMSGSIZE as i32);
    let failure = |error: io::Error| match error.kind() {
        ErrorKind::ConnectionRefused => GreetError::Refused(server.clone()),
        _ if is_too_long(&error) => GreetError::TooLong(datagram.len()),
        _ => GreetError::Unreachable(server.clone(), error),
    };
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = socket.map_err(failure)?;
    print_addresses(&socket, "before", out).map_err(GreetError::Output)?;
    socket.connect(address).map_err(failure)?;
    print_addresses(&socket, "after", out).map_err(GreetError::Output)?;
    let mut refusal = None;
    for attempt in 1..=greeting.attempts {
        let until = Instant::now() + greeting.wait;
        refusal = match exchange(&socket, datagram, until) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => None,
            Err(error) if is_too_long(&error) || !is_last => return Err(failure(error)),
            Err(error) => Some(error),
        };
        // It may be starting just now.
        if refusal.is_some() && attempt < greeting.attempts {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }
    let no_answer = || GreetError::NoAnswer {
        server: server.clone(),
        attempts: greeting.attempts,
        wait: greeting.wait,
    };
    Err(refusal.map_or_else(no_answer, failure))
}

/// Sends once, and receives until something comes that is an answer.
fn exchange(socket: &UdpSocket, datagram: &[u8], until: Instant) -> io::Result<Option<String>> {
    // What is reported first is what became of the attempt before.
    if socket.send(datagram).is_err() {
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

/// Space for the longest UDP datagram.
const MAX_DATAGRAM_BYTES: usize = 65_536;

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
        greet_first(&closed.into(), &addresses, &greeting, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("\nhi\n"));
        answering.join().unwrap();
    }
}
