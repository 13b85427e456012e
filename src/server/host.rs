//! What this machine gives a server: sockets, addresses and cores.

use std::net::{IpAddr, SocketAddr};

use core_affinity::CoreId;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::net::{BindError, BufferSizes, PeerAddr, SocketGroup, bind_group};
use crate::server::config::ServerConfig;
use crate::server::ops::log::Journal;
use crate::wire::{push_greeting, push_text};

/// Sockets for every worker at every address, and a warning where they have less
/// than was asked for.
pub(super) fn bind_all(
    config: &ServerConfig,
    journal: &Journal,
) -> Result<Vec<SocketGroup>, BindError> {
    let wanted = BufferSizes {
        receive_bytes: usize::try_from(config.receive_buffer.as_u64()).unwrap_or(usize::MAX),
        send_bytes: usize::try_from(config.send_buffer.as_u64()).unwrap_or(usize::MAX),
    };
    let bind = |address: &SocketAddr| {
        let group = bind_group(*address, usize::from(config.workers), wanted)?;
        warn_of_small_buffers(wanted, group.granted, journal);
        Ok(group)
    };
    config.bind.iter().map(bind).collect()
}

fn warn_of_small_buffers(wanted: BufferSizes, granted: BufferSizes, journal: &Journal) {
    for (what, sysctl, wanted, granted) in [
        (
            "receive",
            "net.core.rmem_max",
            wanted.receive_bytes,
            granted.receive_bytes,
        ),
        (
            "send",
            "net.core.wmem_max",
            wanted.send_bytes,
            granted.send_bytes,
        ),
    ] {
        // The kernel takes one byte off the most that fits.
        if granted + 1 < wanted {
            journal.warn(format!(
                "the kernel grants a {what} buffer of {granted} bytes, not {wanted}: \
                 raise it with `sysctl -w {sysctl}={wanted}`, or ask for less with --{what}-buffer"
            ));
        }
    }
}

/// Every address from which a datagram would be one of the server's own: those
/// that it listens on, and for one that stands for all, all of this machine as
/// they are now.
pub(super) fn own_addresses(local_addrs: &[SocketAddr], journal: &Journal) -> Vec<PeerAddr> {
    let mut own = Vec::new();
    for local in local_addrs {
        own.push(*local);
        if local.ip().is_unspecified() {
            let interfaces = local_ips(journal).into_iter();
            let same_family = interfaces.filter(|ip| ip.is_ipv4() == local.is_ipv4());
            own.extend(same_family.map(|ip| SocketAddr::new(ip, local.port())));
        }
    }
    own.into_iter().map(|addr| PeerAddr::new(addr, 0)).collect()
}

/// Returns the starts of the texts that other servers make of messages from `own`: a chat
/// server repeats them, a greeting server greets their sender. As texts, these would go
/// back and forth without end.
pub(super) fn echo_prefixes(own: SocketAddr) -> [Vec<u8>; 2] {
    let (mut repeated, mut greeting) = (Vec::new(), Vec::new());
    push_text(own, b"", &mut repeated);
    push_greeting(own, &mut greeting);
    [repeated, greeting]
}

/// The addresses of the interfaces of this machine.
fn local_ips(journal: &Journal) -> Vec<IpAddr> {
    let interfaces = match getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            journal.warn(format!(
                "cannot list the addresses of this machine: {error}"
            ));
            return Vec::new();
        }
    };
    let ip = |address: SockaddrStorage| match address.as_sockaddr_in() {
        Some(v4) => Some(IpAddr::from(v4.ip())),
        None => address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())),
    };
    interfaces
        .filter_map(|interface| ip(interface.address?))
        .collect()
}

/// Which core each worker is pinned to; workers beyond the cores begin again
/// with the first one.
pub(super) fn plan_cores(config: &ServerConfig, journal: &Journal) -> Vec<Option<CoreId>> {
    let workers = usize::from(config.workers);
    if config.no_pin {
        return vec![None; workers];
    }
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.is_empty() {
        journal.warn("the cores of this machine cannot be listed: no worker is pinned".into());
        return vec![None; workers];
    }
    if workers > cores.len() {
        journal.warn(format!("{workers} workers share {} cores", cores.len()));
    }
    cores.into_iter().cycle().take(workers).map(Some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_server_would_make_of_our_messages_is_known() {
        let own: SocketAddr = "127.0.0.1:9999".parse().unwrap();
        let prefixes = echo_prefixes(own);
        for echo in ["127.0.0.1:9999 127.0.0.1:5 hi", "hello,('127.0.0.1', 9999)"] {
            let is_start = |prefix: &Vec<u8>| echo.as_bytes().starts_with(prefix);
            assert!(prefixes.iter().any(is_start), "{echo}");
        }
        let other = b"127.0.0.1:9998 hi";
        assert!(!prefixes.iter().any(|prefix| other.starts_with(prefix)));
    }
}
