//! Moderation: the operator lists peers and rooms, removes, mutes and bans peers, says something to
//! them, and drains the server.
//!
//! These functions wait for locks and for the disk. No worker calls them.

mod announcement;
mod ban_file;
mod listing;

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime::format_duration;

use super::clock::Clock;
use super::egress::notifier::{MAX_TOLD_AT_ONCE, OperatorNotices};
use super::ingress::bans::Bans;
use super::ops::log::WeakLog;
use super::ops::stats::PeerCounts;
use super::ops::supervise::lock;
use super::registry::{MAX_MUTED, REMOVED_S, Recipient, Registry};
use crate::net::PeerAddr;
use crate::sync::Mutex;
use crate::wire::{DisplayName, Name, Reply, RoomName};

pub use self::announcement::{DRAIN_TIMES, MAX_SAID_BYTES};
pub use self::ban_file::{BanFile, StateError};
pub use self::listing::{
    MAX_FIRST, MAX_LISTED_PEERS, MAX_PAGE, Page, PeerInfo, PeerList, RoomInfo, RoomList,
};
pub use super::ingress::bans::{Ban, TooManyBans};
pub use ipnet::IpNet;

/// The operator's hold on the peers of a chat server.
pub struct Moderation {
    registry: Arc<Registry>,
    bans: Arc<Bans>,
    /// One thread at a time changes the bans, and writes them. `None`: they are in memory only.
    file: Mutex<Option<BanFile>>,
    notices: OperatorNotices,
    /// One thread at a time drains the server, so that the last one sets the time.
    draining: Mutex<()>,
    clock: Clock,
    log: WeakLog,
}

/// A peer that the operator has removed, muted or unmuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moderated {
    /// Its address.
    pub address: SocketAddr,
    /// Its name, if it has taken one.
    pub name: Option<Name>,
}

/// A change of the bans.
#[derive(Debug)]
pub struct BanChange {
    /// The ban that was added or removed.
    pub ban: Ban,
    /// Number of peers that were removed.
    pub removed: usize,
    /// The place where the bans are now.
    pub kept: Kept,
}

/// The place where the bans are kept.
#[derive(Debug)]
pub enum Kept {
    /// In the file of `--state-dir`.
    InFile,
    /// In memory, as there is no `--state-dir`.
    InMemory,
    /// In memory, as the file could not be written.
    Failed(StateError),
}

/// The reason why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModerationError {
    /// It is neither a name nor an address.
    #[error("{0:?} is neither a name nor an address such as 192.0.2.7:5000")]
    NotAPeer(String),
    /// No such peer is registered.
    #[error("no such peer: {0}")]
    NoSuchPeer(DisplayName),
    /// The peer is not muted.
    #[error("{0} is not muted")]
    NotMuted(DisplayName),
    /// The maximum of addresses is muted.
    #[error("{MAX_MUTED} addresses are muted, which is the maximum: unmute some, or ban networks")]
    TooManyMutes,
    /// The time is out of bounds.
    #[error("a time must lie between 1s and 100years")]
    Time,
    /// A drain's time is out of bounds.
    #[error("the time until the server stops must be at most 1h")]
    DrainTime,
    /// The page is out of bounds.
    #[error(
        "a page has 1 to {MAX_PAGE} entries, and at most {MAX_FIRST} before it: give a part to search for"
    )]
    Page,
    /// There is no such room.
    #[error("no such room: {0}")]
    NoSuchRoom(RoomName),
    /// The text of the operator is empty, too long, or not printable.
    #[error("a text has 1 to {MAX_SAID_BYTES} bytes, in one line and without control characters")]
    Text,
    /// The maximum of networks is banned.
    #[error(transparent)]
    TooManyBans(#[from] TooManyBans),
    /// The network has no ban of its own.
    #[error("{net} is not banned{}", .by.map(|by| format!(" by itself, but as part of {by}")).unwrap_or_default())]
    NotBanned {
        /// The network.
        net: IpNet,
        /// The ban of a network that has all of it.
        by: Option<Ban>,
    },
}

impl Moderation {
    /// `bans` are those of the file, if there is one.
    pub(super) fn new(
        registry: Arc<Registry>,
        bans: Arc<Bans>,
        file: Option<BanFile>,
        notices: OperatorNotices,
        clock: Clock,
        log: WeakLog,
    ) -> Self {
        Self {
            registry,
            bans,
            file: Mutex::new(file),
            notices,
            draining: Mutex::new(()),
            clock,
            log,
        }
    }

    /// Counts the registered peers. This visits all of them.
    pub fn count_peers(&self) -> PeerCounts {
        let mut counts = PeerCounts::default();
        self.registry.visit_peers(|_, peer| {
            let count = match (peer.session(), peer.is_trusted()) {
                (None, true) => &mut counts.v1_trusted,
                (None, false) => &mut counts.v1_untrusted,
                (Some(_), true) => &mut counts.v2_trusted,
                (Some(_), false) => &mut counts.v2_untrusted,
            };
            *count += 1;
        });
        counts
    }

    /// Removes a peer, given by its name or its address and port. It is told, and its address and
    /// port are refused for [`KICK_TIME`].
    ///
    /// # Errors
    /// It is not registered.
    pub fn kick(&self, whom: &str) -> Result<Moderated, ModerationError> {
        let now_ms = self.clock.now_ms();
        let kick = |address: &PeerAddr| self.registry.kick(address, now_ms);
        let kicked = self.for_each(whom, &Reply::Removed, true, kick)?;
        self.log
            .info(format!("{kicked} is removed by the operator"));
        Ok(kicked)
    }

    /// Drops the texts and direct messages of a peer from now on, given by its name or its address
    /// and port, also if it leaves and comes back. It is told.
    ///
    /// # Errors
    /// The peer is not registered, the time is not one of [`TIMES`], or 10,000 addresses are muted.
    pub fn mute(&self, whom: &str, time: Duration) -> Result<Moderated, ModerationError> {
        if !TIMES.contains(&time) {
            return Err(ModerationError::Time);
        }
        let now_ms = self.clock.now_ms();
        let until_ms = now_ms + time.as_millis() as u64;
        let mut is_full = false;
        let mute = |address: &PeerAddr| {
            let muted = self.registry.mute(address, until_ms, now_ms);
            is_full |= muted.is_err();
            muted.ok().flatten()
        };
        let muted = self.for_each(whom, &Reply::Muted(time.as_secs()), false, mute);
        match muted {
            Err(ModerationError::NoSuchPeer(_)) if is_full => Err(ModerationError::TooManyMutes),
            muted => {
                let muted = muted?;
                let time = format_duration(time);
                self.log
                    .info(format!("{muted} is muted by the operator for {time}"));
                Ok(muted)
            }
        }
    }

    /// Ends the mute of a peer, given by its name or its address and port. It is told. A peer that is
    /// not registered is given by its address.
    ///
    /// # Errors
    /// It is not muted, or has no such name.
    pub fn unmute(&self, whom: &str) -> Result<Moderated, ModerationError> {
        let display_name = parse(whom)?;
        let now_ms = self.clock.now_ms();
        let found = self.registry.find_all(&display_name);
        let address = match (display_name, found.first()) {
            (DisplayName::Address(address), _) => address,
            (DisplayName::Name(_), Some(found)) => found.socket_addr(),
            (DisplayName::Name(_), None) => {
                return Err(ModerationError::NoSuchPeer(display_name));
            }
        };
        if !self.registry.unmute(&address, now_ms) {
            return Err(ModerationError::NotMuted(display_name));
        }
        let unmute = |address: &PeerAddr| self.registry.unmute_peer(address);
        let unmuted = self.for_each(whom, &Reply::Unmuted, false, unmute);
        let unmuted = unmuted.unwrap_or(Moderated {
            address,
            name: None,
        });
        self.log.info(format!("{unmuted} is not muted any more"));
        Ok(unmuted)
    }

    /// Keeps the peers of a network from registering, trusted ones too, for a time or for ever. Those
    /// that are registered are removed, and told. An earlier ban of the same network is replaced.
    ///
    /// # Errors
    /// The time is not one of [`TIMES`], or 10,000 networks are banned.
    pub fn ban(&self, net: IpNet, time: Option<Duration>) -> Result<BanChange, ModerationError> {
        if !time.is_none_or(|time| TIMES.contains(&time)) {
            return Err(ModerationError::Time);
        }
        let ban = Ban::new(net, time.map(|time| SystemTime::now() + time));
        let mut file = lock(&self.file);
        // First, so that no peer of the network registers after the others were removed.
        self.bans.add(ban)?;
        let removed = self.remove_all(|ip| ban.net().contains(&ip));
        self.log
            .info(format!("banned {ban}, peers removed: {removed}"));
        let kept = self.keep(&mut file);
        Ok(BanChange { ban, removed, kept })
    }

    /// Ends the ban of a network.
    ///
    /// # Errors
    /// The network has no ban of its own.
    pub fn unban(&self, net: IpNet) -> Result<BanChange, ModerationError> {
        let net = Ban::new(net, None).net();
        let mut file = lock(&self.file);
        let found = self.bans.find(&net);
        let Some(ban) = found.filter(|ban| ban.net() == net) else {
            return Err(ModerationError::NotBanned { net, by: found });
        };
        self.bans.remove(&net);
        self.log.info(format!("{net} is not banned any more"));
        let kept = self.keep(&mut file);
        Ok(BanChange {
            ban,
            removed: 0,
            kept,
        })
    }

    /// Reads the file of bans again, which replaces those in force. Peers of networks that are banned
    /// now are removed, and told. Without a file, nothing changes.
    ///
    /// # Errors
    /// [`StateError`]; nothing changes.
    pub fn reload_bans(&self) -> Result<(), StateError> {
        let file = lock(&self.file);
        let Some(bans) = file.as_ref().map(BanFile::read).transpose()? else {
            return Ok(());
        };
        let before = self.bans.list();
        self.bans.replace(&bans);
        let removed = self.remove_all(|ip| self.bans.includes(ip));
        let after = self.bans.list();
        if before != after {
            let (before, after) = (before.len(), after.len());
            self.log.info(format!(
                "bans read again: {after}, before: {before}, peers removed: {removed}"
            ));
        }
        Ok(())
    }

    /// The bans that are not over, in the order of their networks.
    pub fn bans(&self) -> Vec<Ban> {
        self.bans.list()
    }

    /// Calls `change` with each address that `whom` may mean, and tells those that it returns.
    fn for_each(
        &self,
        whom: &str,
        reply: &Reply<'_>,
        is_goodbye: bool,
        change: impl FnMut(&PeerAddr) -> Option<(Option<Name>, Recipient)>,
    ) -> Result<Moderated, ModerationError> {
        let whom = parse(whom)?;
        let found = self.registry.find_all(&whom);
        let changed: Vec<_> = found.iter().filter_map(change).collect();
        let Some((name, first)) = changed.first() else {
            return Err(ModerationError::NoSuchPeer(whom));
        };
        let moderated = Moderated {
            address: first.address.socket_addr(),
            name: *name,
        };
        let peers = changed.iter().map(|(_, peer)| *peer).collect();
        self.notices.tell(peers, reply, is_goodbye);
        Ok(moderated)
    }

    /// Removes the peers whose addresses are banned. Returns their number.
    fn remove_all(&self, is_banned: impl Fn(IpAddr) -> bool) -> usize {
        let mut found = Vec::new();
        self.registry.visit_peers(|address, _| {
            if is_banned(address.socket_addr().ip().to_canonical()) {
                found.push(address);
            }
        });
        let mut count = 0;
        for found in found.chunks(MAX_TOLD_AT_ONCE) {
            let removed = found
                .iter()
                .filter_map(|address| self.registry.remove(address));
            let removed: Vec<_> = removed.map(|(_, peer)| peer).collect();
            count += removed.len();
            self.notices.tell(removed, &Reply::Removed, true);
        }
        count
    }

    fn keep(&self, file: &mut Option<BanFile>) -> Kept {
        match file {
            None => Kept::InMemory,
            Some(file) => match file.write(&self.bans.list()) {
                Ok(()) => Kept::InFile,
                Err(error) => Kept::Failed(error),
            },
        }
    }
}

impl Display for Moderated {
    /// Writes `ada at 192.0.2.7:5000`, or `192.0.2.7:5000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{name} at {}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

fn parse(whom: &str) -> Result<DisplayName, ModerationError> {
    whom.parse()
        .map_err(|_| ModerationError::NotAPeer(whom.to_owned()))
}

/// The times for which a peer can be muted, and a network can be banned.
pub const TIMES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(100 * SECONDS_PER_YEAR);

/// The time for which a peer is muted if none is given.
pub const DEFAULT_MUTE: Duration = Duration::from_secs(600);

/// The time for which the address of a peer that was removed is refused.
pub const KICK_TIME: Duration = Duration::from_secs(REMOVED_S);

/// A year of 365.25 days, as humantime reads it.
const SECONDS_PER_YEAR: u64 = 31_557_600;
