//! Networks: the addresses that one customer of a provider has, as far as that can be known.

use std::net::IpAddr;

/// The network of an address: its first 24 bits, or the first 56 of IPv6. A home or a server is
/// commonly given a /56, and any of its addresses costs nothing (RIPE-690). A /24 of IPv4 is the
/// smallest network that the routers of the internet distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(u64);

impl Network {
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(V4 | u64::from(ip.to_bits() >> 8)),
            IpAddr::V6(ip) => Self((ip.to_bits() >> 72) as u64),
        }
    }
}

/// Set in networks of IPv4. The 56 bits of the others are below it.
const V4: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_with_the_same_first_bits() {
        let network = |ip: &str| Network::of(ip.parse().unwrap());
        for (a, b, are_same) in [
            ("192.0.2.1", "192.0.2.254", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("192.0.2.1", "::ffff:192.0.2.9", true),
            ("2001:db8:0:100::1", "2001:db8:0:1ff:ffff::1", true),
            ("2001:db8:0:100::1", "2001:db8:0:200::1", false),
            ("0.0.2.1", "::2:100:0:0:0", false),
        ] {
            assert_eq!(network(a) == network(b), are_same, "{a} {b}");
        }
    }
}
