//! Admission of newcomers: which addresses may register, and which have to prove themselves.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::bans::Bans;
use crate::net::{OwnAddresses, PeerAddr};
use crate::server::ops::stats::DropReason;

/// The judge of newcomers. Peers that are registered are not judged again.
pub struct Admission {
    rules: ArcSwap<Rules>,
    /// The operator changes them while the server runs. Trusted addresses can be banned, too.
    bans: Arc<Bans>,
    own_addresses: Arc<OwnAddresses>,
}

/// The rules for newcomers.
#[derive(Debug)]
pub struct Rules {
    /// Newcomers that the operator trusts have to prove their address.
    pub asks_trusted: bool,
    /// All others have to.
    pub asks_others: bool,
    /// `None`: loopback addresses that write to a loopback address.
    pub trusted: Option<Vec<IpNet>>,
    /// Empty: all.
    pub allowed: Vec<IpNet>,
    pub denied: Vec<IpNet>,
}

/// The decision about a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may register without a proof.
    Admit {
        /// The operator trusts its address.
        is_trusted: bool,
    },
    /// It has to prove its address.
    Prove {
        /// The operator trusts its address.
        is_trusted: bool,
    },
    /// Its datagrams are dropped for this reason.
    Refuse(DropReason),
}

impl Admission {
    pub fn new(rules: Rules, bans: Arc<Bans>, own_addresses: Arc<OwnAddresses>) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            bans,
            own_addresses,
        }
    }

    /// Replaces the rules.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    #[cfg(test)]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Decides about the sender of a datagram, which is not registered.
    pub fn judge(&self, from: &PeerAddr) -> Verdict {
        let ip = from.socket_addr().ip().to_canonical();
        let includes = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&ip));
        let rules = self.rules.load();
        if includes(&rules.denied) || !(rules.allowed.is_empty() || includes(&rules.allowed)) {
            return Verdict::Refuse(DropReason::Denied);
        }
        if self.bans.includes(ip) {
            return Verdict::Refuse(DropReason::Banned);
        }
        let is_trusted = match &rules.trusted {
            Some(trusted) => includes(trusted),
            None => ip.is_loopback() && self.own_addresses.is_loopback(from.endpoint()),
        };
        if !is_trusted {
            let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            if is_broadcast || ip.is_multicast() || ip.is_unspecified() {
                return Verdict::Refuse(DropReason::NotUnicast);
            }
            if from.port() < MIN_PORT {
                return Verdict::Refuse(DropReason::LowPort);
            }
        }
        let is_asked = match is_trusted {
            true => rules.asks_trusted,
            false => rules.asks_others,
        };
        match is_asked {
            true => Verdict::Prove { is_trusted },
            false => Verdict::Admit { is_trusted },
        }
    }
}

/// Parses a network, such as `10.0.0.0/8`, or an address, which is a network of one.
pub fn parse_net(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).ok()
}

/// Ports below belong to services such as DNS, NTP and echo, which answer what they receive.
const MIN_PORT: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::LocalTable;
    use crate::server::ingress::bans::Ban;

    /// Returns the verdict about a sender that writes to the server at `bind`.
    fn judge(case: &Case, from: &str, bind: &str) -> Verdict {
        let bound = [bind.parse().unwrap()];
        let own = OwnAddresses::new(&bound, &[], Arc::new(LocalTable::default()));
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
        let admission = Admission::new(
            Rules {
                asks_trusted: case.asks.0,
                asks_others: case.asks.1,
                trusted: case.trusted.map(nets),
                allowed: nets(case.allowed),
                denied: nets(case.denied),
            },
            bans(case.banned),
            Arc::new(own),
        );
        admission.judge(&PeerAddr::new(from.parse().unwrap(), 0))
    }

    #[derive(Clone, Copy)]
    struct Case {
        /// Those who are trusted, and the others.
        asks: (bool, bool),
        trusted: Option<&'static [&'static str]>,
        allowed: &'static [&'static str],
        denied: &'static [&'static str],
        banned: &'static [&'static str],
    }

    fn bans(nets: &[&str]) -> Arc<Bans> {
        let bans = Bans::default();
        let nets = nets.iter().map(|net| Ban::new(net.parse().unwrap(), None));
        bans.replace(&nets.collect::<Vec<_>>());
        Arc::new(bans)
    }

    const AUTO: Case = Case {
        asks: (false, true),
        trusted: None,
        allowed: &[],
        denied: &[],
        banned: &[],
    };

    const HERE: &str = "127.0.0.1:9999";
    const PUBLIC: &str = "192.0.2.1:9999";

    fn admit(is_trusted: bool) -> Verdict {
        Verdict::Admit { is_trusted }
    }

    fn prove(is_trusted: bool) -> Verdict {
        Verdict::Prove { is_trusted }
    }

    #[test]
    fn by_default_loopback_peers_are_trusted_if_they_write_to_a_loopback_address() {
        for (from, bind, verdict) in [
            ("127.0.0.1:5000", HERE, admit(true)),
            ("127.9.9.9:5000", HERE, admit(true)),
            ("[::1]:5000", "[::1]:9999", admit(true)),
            // A proxy on this machine.
            ("127.0.0.1:5000", PUBLIC, prove(false)),
            ("127.0.0.1:5000", "0.0.0.0:9999", prove(false)),
            ("10.0.0.1:5000", HERE, prove(false)),
            ("[fe80::1%2]:5000", "[::1]:9999", prove(false)),
        ] {
            assert_eq!(judge(&AUTO, from, bind), verdict, "{from} to {bind}");
        }
    }

    #[test]
    fn a_given_list_counts_as_it_is_and_may_be_empty() {
        let given = Case {
            trusted: Some(&["10.0.0.0/8", "2001:db8::/32"]),
            ..AUTO
        };
        for (from, verdict) in [
            ("10.255.0.1:5000", admit(true)),
            ("[2001:db8::9]:5000", admit(true)),
            ("127.0.0.1:5000", prove(false)),
        ] {
            assert_eq!(judge(&given, from, PUBLIC), verdict, "{from}");
        }
        let nobody = Case {
            trusted: Some(&[]),
            ..AUTO
        };
        assert_eq!(judge(&nobody, "127.0.0.1:5000", HERE), prove(false));
    }

    #[test]
    fn the_mode_decides_who_has_to_prove_an_address() {
        for (asks, here, there) in [
            ((false, true), admit(true), prove(false)),
            ((true, true), prove(true), prove(false)),
            ((false, false), admit(true), admit(false)),
        ] {
            let rules = Case { asks, ..AUTO };
            assert_eq!(judge(&rules, "127.0.0.1:5000", HERE), here, "{asks:?}");
            assert_eq!(judge(&rules, "10.0.0.1:5000", HERE), there, "{asks:?}");
        }
    }

    #[test]
    fn low_ports_multicast_and_broadcast_are_refused_unless_trusted() {
        for (from, reason) in [
            ("10.0.0.1:1023", DropReason::LowPort),
            ("10.0.0.1:7", DropReason::LowPort),
            ("224.0.0.1:5000", DropReason::NotUnicast),
            ("255.255.255.255:5000", DropReason::NotUnicast),
            ("0.0.0.0:5000", DropReason::NotUnicast),
            ("[ff02::1]:5000", DropReason::NotUnicast),
        ] {
            for asks in [(false, true), (true, true), (false, false)] {
                let verdict = judge(&Case { asks, ..AUTO }, from, PUBLIC);
                assert_eq!(verdict, Verdict::Refuse(reason), "{from}");
            }
        }
        let trusting = Case {
            trusted: Some(&["0.0.0.0/0"]),
            ..AUTO
        };
        assert_eq!(judge(&trusting, "10.0.0.1:53", PUBLIC), admit(true));
        assert_eq!(judge(&AUTO, "127.0.0.1:53", HERE), admit(true));
    }

    #[test]
    fn denied_networks_go_before_all_others() {
        let rules = Case {
            asks: (false, false),
            trusted: Some(&["10.0.0.0/8"]),
            denied: &["10.6.6.0/24"],
            ..AUTO
        };
        let denied = Verdict::Refuse(DropReason::Denied);
        assert_eq!(judge(&rules, "10.6.6.1:5000", PUBLIC), denied);
        assert_eq!(judge(&rules, "[::ffff:10.6.6.1]:5000", PUBLIC), denied);
        assert_eq!(judge(&rules, "10.6.7.1:5000", PUBLIC), admit(true));
        let rules = Case {
            allowed: &["10.0.0.0/8", "192.168.0.0/16"],
            ..rules
        };
        assert_eq!(judge(&rules, "192.168.1.1:5000", PUBLIC), admit(false));
        assert_eq!(judge(&rules, "10.6.6.1:5000", PUBLIC), denied);
        assert_eq!(judge(&rules, "11.0.0.1:5000", PUBLIC), denied);
    }

    #[test]
    fn banned_networks_are_refused_also_if_they_are_trusted() {
        let rules = Case {
            trusted: Some(&["10.0.0.0/8"]),
            banned: &["10.6.6.0/24", "192.0.2.1/32"],
            ..AUTO
        };
        let banned = Verdict::Refuse(DropReason::Banned);
        assert_eq!(judge(&rules, "10.6.6.1:5000", PUBLIC), banned);
        assert_eq!(judge(&rules, "192.0.2.1:5000", PUBLIC), banned);
        assert_eq!(judge(&rules, "10.6.7.1:5000", PUBLIC), admit(true));
        assert_eq!(judge(&rules, "192.0.2.2:5000", PUBLIC), prove(false));
    }
}
