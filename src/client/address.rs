//! `HOST:PORT`, and the socket addresses it resolves to.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The address of a server, as the user wrote it: a host name or an IP address, and a port.
/// An IPv6 address is in brackets: `[::1]:9999`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// Without brackets, as the resolver wants it.
    host: String,
    port: u16,
}

impl ServerAddress {
    /// All addresses that the host has now, in the resolver's order of
    /// preference, at most [`MAX_ADDRESSES`]. This may block while the name is
    /// looked up.
    ///
    /// # Errors
    /// The name is unknown, or it has no address.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        for address in found.map_err(|error| self.explain(error))? {
            if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let message = "the name has no address";
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(addresses)
    }

    /// The resolver does not say that the interface of a link-local address is missing.
    fn explain(&self, error: io::Error) -> io::Error {
        match self.host.split_once('%') {
            Some((ip, zone)) if is_link_local(ip) => io::Error::new(
                error.kind(),
                format!("this machine has no interface {zone}"),
            ),
            _ => error,
        }
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        // Taken from the text, which keeps the scope of a link-local address.
        let written = address.to_string();
        let end = written.rfind(':').unwrap_or(written.len());
        Self {
            host: written[..end].trim_matches(['[', ']']).to_owned(),
            port: address.port(),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(written: &str) -> Result<Self, AddressError> {
        if written.contains("://") {
            return Err(AddressError::Scheme);
        }
        let has_port = match written.rfind(']') {
            Some(bracket) => bracket + 1 < written.len(),
            None => written.contains(':'),
        };
        let (host, port) = match has_port {
            true => written.rsplit_once(':').ok_or(AddressError::Port)?,
            false => (written, DEFAULT_PORT),
        };
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or(AddressError::Brackets)?,
            None if host.contains(':') => return Err(AddressError::Brackets),
            None => host,
        };
        if host.contains(['[', ']']) {
            return Err(AddressError::Brackets);
        }
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AddressError::Host);
        }
        if is_link_local(host) {
            return Err(AddressError::Zone);
        }
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AddressError::Port);
        }
        match port.parse() {
            Ok(0) | Err(_) => Err(AddressError::Port),
            Ok(port) => Ok(Self {
                host: host.to_owned(),
                port,
            }),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn is_link_local(host: &str) -> bool {
    host.parse()
        .is_ok_and(|ip: Ipv6Addr| ip.is_unicast_link_local())
}

/// The reason why a string is not a [`ServerAddress`]. Each message says what is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The host is missing, or has a character that no host name has.
    #[error("the host is missing or malformed; write HOST or HOST:PORT, such as 127.0.0.1:9999")]
    Host,
    /// The port is missing, or not in 1 to 65535.
    #[error("the port must be 1 to 65535; write HOST or HOST:PORT, such as 127.0.0.1:9999")]
    Port,
    /// The address is a URL.
    #[error("write HOST or HOST:PORT, without a scheme such as http:// or udp://")]
    Scheme,
    /// An IPv6 address without brackets, or with one of them.
    #[error("an IPv6 address goes in brackets: [::1]:9999")]
    Brackets,
    /// A link-local address without its interface.
    #[error("a link-local address must name its interface: [fe80::1%eth0]:9999")]
    Zone,
}

/// The port of the tutorial.
const DEFAULT_PORT: &str = "9999";

/// Maximum number of addresses that are tried. Each delays the report that the server is down.
pub const MAX_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_and_both_address_families() {
        for written in [
            "localhost:9999",
            "127.0.0.1:1",
            "[::1]:65535",
            "[fe80::1%lo]:9999",
        ] {
            let address: ServerAddress = written.parse().unwrap();
            assert_eq!(address.to_string(), written);
        }
    }

    #[test]
    fn the_default_port_is_9999() {
        for (written, full) in [
            ("localhost", "localhost:9999"),
            ("192.0.2.1", "192.0.2.1:9999"),
            ("[::1]", "[::1]:9999"),
        ] {
            let address: ServerAddress = written.parse().unwrap();
            assert_eq!(address, full.parse().unwrap());
            assert_eq!(address.to_string(), full);
        }
    }

    #[test]
    fn a_socket_address_survives_the_way_through_text() {
        for written in ["127.0.0.1:9999", "[::1]:9999"] {
            let socket_address: SocketAddr = written.parse().unwrap();
            let address = ServerAddress::from(socket_address);
            assert_eq!(address.resolve().unwrap(), [socket_address]);
            assert_eq!(written.parse::<ServerAddress>().unwrap(), address);
        }
    }

    #[test]
    fn a_missing_interface_is_named() {
        let address: ServerAddress = "[fe80::1%nowhere0]:9999".parse().unwrap();
        let error = address.resolve().unwrap_err();
        assert_eq!(error.to_string(), "this machine has no interface nowhere0");
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |written: &str| written.parse::<ServerAddress>().unwrap_err();
        assert_eq!(wrong("localhost:"), AddressError::Port);
        assert_eq!(wrong("localhost:0"), AddressError::Port);
        assert_eq!(wrong("localhost:+80"), AddressError::Port);
        assert_eq!(wrong("localhost:65536"), AddressError::Port);
        assert_eq!(wrong("localhost:http"), AddressError::Port);
        assert_eq!(wrong(":9999"), AddressError::Host);
        assert_eq!(wrong("a b:9999"), AddressError::Host);
        assert_eq!(wrong("::1:9999"), AddressError::Brackets);
        assert_eq!(wrong("[::1:9999"), AddressError::Brackets);
        assert_eq!(wrong("[[]"), AddressError::Brackets);
        assert_eq!(wrong("[[::1]]:9999"), AddressError::Brackets);
        assert_eq!(wrong("a]b:9999"), AddressError::Brackets);
        assert_eq!(wrong("[fe80::1]:9999"), AddressError::Zone);
    }
}
