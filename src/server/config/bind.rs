//! The addresses that a server listens on.

use std::borrow::Cow;
use std::net::SocketAddr;

use nix::net::if_::if_nametoindex;

use crate::net::MAX_ENDPOINTS;

use super::ConfigError;

/// Parses an IP address and a port. A link-local address may name its interface.
///
/// # Errors
/// The sentence says what is right.
pub(super) fn parse_bind(text: &str) -> Result<SocketAddr, String> {
    let address = with_zone_number(text)?.parse().map_err(|_| {
        "must be an IP address and a port, such as 127.0.0.1:9999 or [::1]:9999".to_owned()
    })?;
    remedy(address).map_or(Ok(address), Err)
}

/// Checks an address as [`parse_bind`] does, without a question to the system, which the sandbox would
/// refuse. The name of an interface may be any.
///
/// # Errors
/// The sentence says what is right.
#[doc(hidden)]
pub fn check_bind(text: &str) -> Result<(), String> {
    match text.contains('%') {
        true => Ok(()),
        false => parse_bind(text).map(drop),
    }
}

/// Checks the number of addresses, each address, and that none includes another.
///
/// # Errors
/// The first [`ConfigError`].
pub(super) fn check(binds: &[SocketAddr]) -> Result<(), ConfigError> {
    if binds.is_empty() || binds.len() > MAX_ENDPOINTS {
        return Err(ConfigError::Binds(binds.len()));
    }
    for (index, &address) in binds.iter().enumerate() {
        if let Some(remedy) = remedy(address) {
            return Err(ConfigError::UnsuitableBind { address, remedy });
        }
        // Port 0 selects another port each time.
        if address.port() != 0 {
            check_others(address, &binds[..index])?;
        }
    }
    Ok(())
}

/// Replaces the name of an interface by its number: `[fe80::1%eth0]:9999`.
fn with_zone_number(text: &str) -> Result<Cow<'_, str>, String> {
    let zone = text.split_once('%').and_then(|(ip, rest)| {
        let (zone, port) = rest.rsplit_once(']')?;
        (!zone.bytes().all(|byte| byte.is_ascii_digit())).then_some((ip, zone, port))
    });
    let Some((ip, zone, port)) = zone else {
        return Ok(text.into());
    };
    match if_nametoindex(zone) {
        Ok(number) => Ok(format!("{ip}%{number}]{port}").into()),
        Err(_) => Err(format!("this machine has no interface {zone}")),
    }
}

/// Returns what must be changed in an address that no server can listen on.
fn remedy(address: SocketAddr) -> Option<String> {
    let port = address.port();
    let (ip, zone) = match address {
        SocketAddr::V4(v4) if v4.ip().is_broadcast() => {
            return Some("must not be a broadcast address".into());
        }
        _ if address.ip().is_multicast() => {
            return Some("must not be a multicast address".into());
        }
        SocketAddr::V4(_) => return None,
        SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
    };
    if let Some(v4) = ip.to_ipv4_mapped() {
        return Some(format!("must be written as an IPv4 address, {v4}:{port}"));
    }
    match (ip.is_unicast_link_local(), zone) {
        (true, 0) => Some(format!(
            "must name its interface, such as [{ip}%eth0]:{port}"
        )),
        (false, 1..) => Some(format!(
            "must be [{ip}]:{port}: only a link-local address names its interface"
        )),
        _ => None,
    }
}

/// Checks that none of the addresses `before` is the same as `address`, or includes it.
fn check_others(address: SocketAddr, before: &[SocketAddr]) -> Result<(), ConfigError> {
    if before.contains(&address) {
        return Err(ConfigError::SameBind(address));
    }
    let includes = |wildcard: SocketAddr, address: SocketAddr| {
        wildcard.ip().is_unspecified()
            && wildcard.is_ipv4() == address.is_ipv4()
            && wildcard.port() == address.port()
    };
    for &other in before {
        for (wildcard, address) in [(address, other), (other, address)] {
            if includes(wildcard, address) {
                return Err(ConfigError::CoveredBind { wildcard, address });
            }
        }
    }
    Ok(())
}
