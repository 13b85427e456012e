//! The target of the load, and the targets that may have it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::client::ServerAddress;

use crate::engine::probe::{Probe, Sign};

/// Parses a host, with or without a port. The default port is 9999.
pub(super) fn parse(text: &str) -> Result<ServerAddress, String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or(rest);
        return Err(format!(
            "bullhorn speaks UDP and not {scheme}; write HOST or HOST:PORT without {scheme}://, \
             such as {host}"
        ));
    }
    let is_near = |command: &&&str| strsim::damerau_levenshtein(text, command) <= TYPOS_MAX;
    if let Some(command) = COMMANDS.iter().find(is_near) {
        return Err(format!(
            "did you mean the command {command}, which comes first? If it is a server, write \
             {text}:9999"
        ));
    }
    text.parse::<ServerAddress>()
        .map_err(|error| error.to_string())
}

/// Returns the addresses of a target. Those of IPv4 come first, since few servers listen on IPv6
/// alone. An IPv4 address that is written as an IPv6 one is used as IPv4. This may block while the
/// name is looked up.
pub(super) fn resolve(target: &ServerAddress) -> Result<Vec<SocketAddr>, TargetError> {
    let found = target.resolve().map_err(|source| TargetError::Unknown {
        target: target.to_string(),
        source,
    })?;
    let plain = |address: &SocketAddr| match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        // Kept whole, with its scope.
        IpAddr::V6(_) => *address,
    };
    let mut addresses: Vec<SocketAddr> = found.iter().map(plain).collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    Ok(addresses)
}

/// Moves the address to the front at which a server answers, or else the first one at which it is
/// not known that nothing listens. It sends nothing if there is one address alone.
pub(super) fn put_reachable_first(addresses: &mut [SocketAddr]) {
    if addresses.len() < 2 {
        return;
    }
    let mut unknown = None;
    for place in 0..addresses.len() {
        match first_sign(addresses[place]) {
            Some(Sign::Answered) => return addresses[..=place].rotate_right(1),
            Some(Sign::Refused) => {}
            None => unknown = unknown.or(Some(place)),
        }
    }
    addresses[..=unknown.unwrap_or(0)].rotate_right(1);
}

/// Asks at an address, and waits for a sign.
fn first_sign(address: SocketAddr) -> Option<Sign> {
    let probe = Probe::new(address).ok()?;
    probe.ask();
    let begin = Instant::now();
    loop {
        let sign = probe.sign();
        if sign.is_some() || begin.elapsed() >= SIGN_WAIT {
            return sign;
        }
        thread::sleep(SIGN_INTERVAL);
    }
}

/// Allows load to one server on this machine or in a private network, and to others only if the
/// user owns them.
pub(super) fn guard(target: SocketAddr, is_owned: bool) -> Result<(), TargetError> {
    let ip = target.ip().to_canonical();
    let never = if ip.is_multicast() {
        Some("a multicast address")
    } else if ip.is_unspecified() {
        Some("no address that a server has")
    } else if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("a broadcast address")
    } else if target.port() == 0 {
        Some("a target without a port")
    } else {
        None
    };
    if let Some(what) = never {
        return Err(TargetError::Never { target, what });
    }
    let is_near = match ip {
        IpAddr::V4(ip) => is_near_v4(ip),
        IpAddr::V6(ip) => is_near_v6(ip),
    };
    if is_near || is_owned {
        Ok(())
    } else {
        Err(TargetError::Foreign(target))
    }
}

/// Returns true if `shared` sockets can reach `target`. Only loopback has the many addresses that
/// they send from.
pub(super) fn has_many_sources(target: SocketAddr) -> bool {
    matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback())
}

/// The reason why a target gets no load.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("cannot find {target}: {source}")]
    Unknown { target: String, source: io::Error },
    #[error("{target} is {what}: give the address and the port of one server")]
    Never {
        target: SocketAddr,
        what: &'static str,
    },
    #[error(
        "{0} is neither this machine nor on a private network: load that its owner has not \
         agreed to is an attack. If it is yours, say so with --i-own-the-target"
    )]
    Foreign(SocketAddr),
}

fn is_near_v4(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    // RFC 6598: between a provider and its customers, and in overlay networks.
    let is_shared = first == 100 && (64..128).contains(&second);
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
}

fn is_near_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
}

/// The time that an answer takes on any network to which load goes.
const SIGN_WAIT: Duration = Duration::from_secs(1);
const SIGN_INTERVAL: Duration = Duration::from_millis(5);

const COMMANDS: [&str; 2] = ["find-max", "calibrate"];

/// `findmax`, `find_max` and `calibrat` are commands with a typo or two.
const TYPOS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded(target: &str, is_owned: bool) -> Result<(), String> {
        guard(target.parse().unwrap(), is_owned).map_err(|error| error.to_string())
    }

    #[test]
    fn a_target_may_lack_a_port_and_has_no_scheme() {
        assert_eq!(parse("localhost").unwrap().to_string(), "localhost:9999");
        let wrong = parse("http://127.0.0.1:8080/path").unwrap_err();
        assert!(wrong.contains("UDP and not http"), "{wrong}");
        assert!(wrong.ends_with("such as 127.0.0.1:8080"), "{wrong}");
        for (text, command) in [
            ("findmax", "find-max"),
            ("find_max", "find-max"),
            ("calibrate", "calibrate"),
            ("calibrat", "calibrate"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.starts_with(&format!("did you mean the command {command}")));
        }
        assert!(parse("findmax:9999").is_ok());
    }

    #[test]
    fn this_machine_and_private_networks_are_allowed() {
        for target in [
            "127.0.0.1:9999",
            "127.255.0.9:1",
            "10.0.0.1:1",
            "172.16.0.1:1",
            "172.31.255.255:1",
            "192.168.1.1:1",
            "169.254.0.1:1",
            "100.64.0.1:1",
            "100.127.255.255:1",
            "[::1]:1",
            "[fc00::1]:1",
            "[fdff::1]:1",
            "[fe80::1]:1",
            "[febf::1]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert_eq!(guarded(target, false), Ok(()), "{target}");
        }
    }

    #[test]
    fn others_are_allowed_to_their_owner_alone() {
        for target in [
            "8.8.8.8:1",
            "11.0.0.1:1",
            "172.15.0.1:1",
            "172.32.0.1:1",
            "192.169.0.1:1",
            "100.63.0.1:1",
            "100.128.0.1:1",
            "240.0.0.1:1",
            "[2001:db8::1]:1",
            "[fec0::1]:1",
            "[::ffff:8.8.8.8]:1",
        ] {
            let refused = guarded(target, false).unwrap_err();
            assert!(refused.contains("--i-own-the-target"), "{target}");
            assert_eq!(guarded(target, true), Ok(()), "{target}");
        }
    }

    #[test]
    fn what_is_not_one_server_is_allowed_to_nobody() {
        for target in [
            "224.0.0.1:1",
            "239.255.255.255:1",
            "255.255.255.255:1",
            "0.0.0.0:1",
            "127.0.0.1:0",
            "[::]:1",
            "[ff02::1]:1",
            "[::ffff:224.0.0.1]:1",
        ] {
            for is_owned in [false, true] {
                let refused = guarded(target, is_owned).unwrap_err();
                assert!(refused.contains("of one server"), "{target}");
            }
        }
    }

    #[test]
    fn a_mapped_address_is_the_one_that_it_stands_for() {
        let resolved = |target: &str| resolve(&target.parse().unwrap()).unwrap()[0].to_string();
        assert_eq!(resolved("[::ffff:127.0.0.1]:9"), "127.0.0.1:9");
        assert_eq!(resolved("[::1]:9"), "[::1]:9");
        assert_eq!(resolved("127.0.0.1:9"), "127.0.0.1:9");
    }

    #[test]
    fn the_address_at_which_a_server_answers_comes_first() {
        let server = bullhorn::Server::start(bullhorn::ServerConfig {
            bind: vec!["[::1]:0".parse().unwrap()],
            no_pin: true,
            ..bullhorn::ServerConfig::default()
        })
        .unwrap();
        let listening = server.local_addr();
        let refused = SocketAddr::from((Ipv4Addr::LOCALHOST, listening.port()));
        let mut addresses = [refused, listening];
        put_reachable_first(&mut addresses);
        assert_eq!(addresses, [listening, refused]);
        server.stop().unwrap();
        let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut addresses = [refused, mute.local_addr().unwrap()];
        put_reachable_first(&mut addresses);
        assert_eq!(addresses[1], refused, "there, it is known");
    }

    #[test]
    fn many_sources_are_on_loopback_alone() {
        for (target, expected) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("10.0.0.1:1", false),
            ("[::1]:1", false),
        ] {
            assert_eq!(has_many_sources(target.parse().unwrap()), expected);
        }
    }
}
