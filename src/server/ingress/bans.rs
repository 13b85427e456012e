//! Bans: the networks whose peers may not register.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use humantime::{format_rfc3339_seconds, parse_rfc3339};
use ipnet::{IpNet, Ipv4Net};

/// The bans that are in force. A look-up takes no lock.
#[derive(Default)]
pub struct Bans {
    table: ArcSwap<Table>,
}

/// The ban of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    net: IpNet,
    end: Option<SystemTime>,
}

/// The maximum of networks, [`MAX_BANS`], is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_BANS} networks are banned, which is the maximum: unban some, or ban larger ones")]
pub struct TooManyBans;

#[derive(Debug, Clone, Default)]
struct Table {
    ends: HashMap<IpNet, Option<SystemTime>>,
    /// The lengths of the prefixes in it, of IPv4 and of IPv6. A look-up tries each of them.
    lengths: [Vec<u8>; 2],
}

impl Bans {
    /// Returns true if a ban that is not over includes `ip`.
    pub fn includes(&self, ip: IpAddr) -> bool {
        let table = self.table.load();
        table.bans_of(ip.into()).any(|ban| !ban.is_over())
    }

    /// Returns the smallest network with all of `net` for which there is a ban that is not over.
    pub fn find(&self, net: &IpNet) -> Option<Ban> {
        let table = self.table.load();
        table.bans_of(*net).find(|ban| !ban.is_over())
    }

    /// The bans that are not over, in the order of their networks.
    pub fn list(&self) -> Vec<Ban> {
        let table = self.table.load();
        let bans = table.ends.iter();
        let bans = bans.map(|(net, end)| Ban::new(*net, *end));
        let mut bans: Vec<_> = bans.filter(|ban| !ban.is_over()).collect();
        bans.sort_unstable_by_key(|ban| ban.net);
        bans
    }

    /// Adds a ban, or replaces that of the same network. One thread at a time may change the bans.
    ///
    /// # Errors
    /// [`TooManyBans`]; nothing changes.
    pub fn add(&self, ban: Ban) -> Result<(), TooManyBans> {
        let mut bans = self.list();
        bans.retain(|other| other.net != ban.net);
        if bans.len() >= MAX_BANS {
            return Err(TooManyBans);
        }
        bans.push(ban);
        self.replace(&bans);
        Ok(())
    }

    /// Removes the ban of `net`. Returns false if there was none. One thread at a time may change
    /// the bans.
    pub fn remove(&self, net: &IpNet) -> bool {
        let mut bans = self.list();
        let before = bans.len();
        bans.retain(|ban| ban.net != *net);
        self.replace(&bans);
        bans.len() < before
    }

    /// Replaces all bans.
    pub fn replace(&self, bans: &[Ban]) {
        let mut table = Table::default();
        for ban in bans {
            table.ends.insert(ban.net, ban.end);
            let lengths = &mut table.lengths[family(&ban.net)];
            if !lengths.contains(&ban.net.prefix_len()) {
                lengths.push(ban.net.prefix_len());
            }
        }
        for lengths in &mut table.lengths {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.table.store(table.into());
    }
}

impl Ban {
    /// Returns the ban of a network until `end`, or for ever.
    pub fn new(net: IpNet, end: Option<SystemTime>) -> Self {
        Self {
            net: canonical(net),
            end,
        }
    }

    /// Returns the ban that a line is, if it is one, as [`Display`] writes it.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (net, rest) = str::from_utf8(line).ok()?.split_once(' ')?;
        let end = match rest {
            "for ever" => None,
            rest => Some(parse_rfc3339(rest.strip_prefix("until ")?).ok()?),
        };
        Some(Self::new(net.parse().ok()?, end))
    }

    /// The network. It has no address bits after its prefix.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// The end of the ban, or `None` for one without end.
    pub fn end(&self) -> Option<SystemTime> {
        self.end
    }

    /// Returns true if its end has come.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| end <= SystemTime::now())
    }
}

impl Display for Ban {
    /// Writes `192.0.2.0/24 until 2027-01-31T12:00:00Z`, or `192.0.2.0/24 for ever`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "{} until {}", self.net, format_rfc3339_seconds(end)),
            None => write!(f, "{} for ever", self.net),
        }
    }
}

impl Table {
    /// Returns the bans of the networks that have all of `net`, the smallest first.
    fn bans_of(&self, net: IpNet) -> impl Iterator<Item = Ban> {
        let net = canonical(net);
        let lengths = self.lengths[family(&net)].iter();
        let lengths = lengths.filter(move |length| **length <= net.prefix_len());
        lengths.filter_map(move |length| {
            let net = IpNet::new(net.addr(), *length).ok()?.trunc();
            let end = self.ends.get(&net)?;
            Some(Ban { net, end: *end })
        })
    }
}

/// Returns the network of IPv4 that `net` stands for, if it does, without address bits after its
/// prefix.
fn canonical(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let Some(ip) = v6.addr().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(96)
        && let Ok(v4) = Ipv4Net::new(ip, length)
    {
        return IpNet::V4(v4.trunc());
    }
    net.trunc()
}

fn family(net: &IpNet) -> usize {
    match net {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => 1,
    }
}

/// Maximum number of bans. A longer list belongs into a firewall.
pub const MAX_BANS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn bans(nets: &[&str]) -> Bans {
        let bans = Bans::default();
        for text in nets {
            bans.add(Ban::new(net(text), None)).unwrap();
        }
        bans
    }

    #[test]
    fn a_ban_includes_the_addresses_of_its_network() {
        let bans = bans(&[
            "192.0.2.0/24",
            "198.51.100.7/32",
            "2001:db8::/32",
            "::ffff:203.0.113.0/120",
        ]);
        for (ip, is_banned) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.9", true),
            ("198.51.100.7", true),
            ("198.51.100.6", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("203.0.113.5", true),
            ("::1", false),
        ] {
            assert_eq!(bans.includes(ip.parse().unwrap()), is_banned, "{ip}");
        }
        assert!(!Bans::default().includes("192.0.2.1".parse().unwrap()));
        assert!(self::bans(&["0.0.0.0/0"]).includes("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn a_network_in_a_banned_one_stays_banned_without_a_ban_of_its_own() {
        let bans = bans(&["10.0.0.0/8", "10.6.0.1/16"]);
        let found = |text: &str| bans.find(&net(text)).map(|ban| ban.net());
        assert_eq!(found("10.6.1.0/24"), Some(net("10.6.0.0/16")));
        assert_eq!(found("10.6.0.0/16"), Some(net("10.6.0.0/16")));
        assert!(bans.remove(&net("10.6.0.0/16")));
        assert!(!bans.remove(&net("10.6.0.0/16")));
        assert_eq!(found("10.6.1.0/24"), Some(net("10.0.0.0/8")));
        assert_eq!(found("0.0.0.0/0"), None);
        assert!(bans.remove(&net("10.0.0.0/8")));
        assert!(!bans.includes("10.6.0.1".parse().unwrap()));
    }

    #[test]
    fn a_ban_that_is_over_bans_nobody_and_leaves_its_place() {
        let bans = Bans::default();
        let (past, future) = (
            SystemTime::now() - Duration::from_secs(1),
            SystemTime::now() + Duration::from_secs(3600),
        );
        bans.add(Ban::new(net("10.0.0.0/8"), Some(future))).unwrap();
        bans.add(Ban::new(net("10.6.0.0/16"), Some(past))).unwrap();
        bans.add(Ban::new(net("192.0.2.0/24"), Some(past))).unwrap();
        assert!(bans.includes("10.6.0.1".parse().unwrap()));
        assert!(!bans.includes("192.0.2.1".parse().unwrap()));
        let listed: Vec<_> = bans.list().iter().map(Ban::net).collect();
        assert_eq!(listed, [net("10.0.0.0/8")]);
        bans.add(Ban::new(net("10.0.0.0/8"), Some(past))).unwrap();
        assert!(!bans.includes("10.6.0.1".parse().unwrap()));
    }

    #[test]
    fn there_are_at_most_ten_thousand() {
        let bans = Bans::default();
        let ban = |number: u32| Ban::new(IpAddr::from(number.to_be_bytes()).into(), None);
        bans.replace(&(0..9_999).map(ban).collect::<Vec<_>>());
        bans.add(ban(9_999)).unwrap();
        assert_eq!(bans.add(ban(10_000)), Err(TooManyBans));
        assert_eq!(bans.add(ban(5)), Ok(()), "it is there already");
        bans.remove(&ban(7).net());
        assert_eq!(bans.add(ban(10_000)), Ok(()));
        assert_eq!(bans.list().len(), MAX_BANS);
    }
}
