//! Networks: the addresses that one customer of a provider has, as far as that can be known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;

/// The network of an address: its first 24 bits, or the first 56 of IPv6. A home or a server is
/// commonly given a /56, and any of its addresses costs nothing (RIPE-690). A /24 of IPv4 is the
/// smallest network that the routers of the internet distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(NonZero<u64>);

impl Network {
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(V4 | u64::from(ip.to_bits() >> 8)),
            IpAddr::V6(ip) => Self(V6 | (ip.to_bits() >> 72) as u64),
        }
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        let bits = self.0.get();
        match bits & V6.get() {
            0 => Ipv4Addr::from_bits((bits << 8) as u32).into(),
            _ => Ipv6Addr::from_bits(u128::from(bits) << 72).into(),
        }
    }
}

/// Set in networks of IPv4, whose 24 bits are below it.
const V4: NonZero<u64> = NonZero::new(1 << 24).unwrap();

/// Set in networks of IPv6, whose 56 bits are below it.
const V6: NonZero<u64> = NonZero::new(1 << 56).unwrap();

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
        for address in ["192.0.2.0", "0.0.0.0", "2001:db8:0:100::", "::"] {
            assert_eq!(network(address).address().to_string(), address);
        }
    }
}
