//! The commands of the console.

use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use humantime::{format_duration, parse_duration};
use ipnet::IpNet;

use super::Listing;
use crate::server::ingress::admission::parse_net;
use crate::server::moderation::{
    BanChange, DEFAULT_MUTE, KICK_TIME, Kept, Page, PeerInfo, PeerList, RoomList,
};
use crate::server::ops::log;
use crate::server::ops::operated::Operated;
use crate::server::ops::stats::LimitInForce;
use crate::wire::reply::Thousands;
use crate::wire::{RoomName, push_printable};

/// A command other than `quit`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Lists the peers whose address, name or room contains this part.
    Peers(String),
    /// Lists the rooms whose name contains this part.
    Rooms(String),
    /// Says something to a room, or to all peers.
    Say(Option<RoomName>, String),
    /// Refuses newcomers, and stops the server after this time.
    Drain(Duration),
    Kick(String),
    Mute(String, Duration),
    Unmute(String),
    /// Without a time, for ever.
    Ban(IpNet, Option<Duration>),
    Unban(IpNet),
    Bans,
    Limits,
    Stats,
    Help,
    /// Sets what is logged.
    Log(String),
}

impl Command {
    /// Parses a line. Returns `None` if its first word is no command, and the usage of the command if
    /// its arguments are wrong.
    pub(super) fn parse(line: &[u8]) -> Option<Result<Self, String>> {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace();
        let verb = words.next()?.to_ascii_lowercase();
        let entry = MANUAL.iter().find(|entry| entry.verb() == verb)?;
        let words: Vec<&str> = words.collect();
        Some(parse(&verb, &words).ok_or_else(|| entry.usage()))
    }

    /// Executes the command. Returns the answer, which is printable.
    pub(super) fn execute(self, server: &impl Operated) -> String {
        let answer = self.answer(server);
        let answer = answer.unwrap_or_else(|error| error.to_string());
        let mut printable = Vec::new();
        for line in answer.lines() {
            if !printable.is_empty() {
                printable.push(b'\n');
            }
            push_printable(line.as_bytes(), usize::MAX, &mut printable);
        }
        String::from_utf8_lossy(&printable).into_owned()
    }

    fn answer(self, server: &impl Operated) -> Result<String, Box<dyn Error>> {
        let moderation = || {
            server
                .moderation()
                .ok_or("the greeting service has no peers")
        };
        Ok(match self {
            Self::Stats => Listing(&server.stats()).to_string(),
            Self::Limits => limits(&server.limits()),
            Self::Help => help(),
            Self::Log(filter) => {
                log::set_filter(&filter)?;
                format!("logging {filter}")
            }
            Self::Peers(part) => peers(&moderation()?.peers(&part, Page::FIRST)),
            Self::Rooms(part) => rooms(&moderation()?.rooms(&part, Page::FIRST)),
            Self::Say(room, text) => said_to(moderation()?.say(room, &text)?),
            Self::Drain(time) => {
                let told = said_to(moderation()?.drain(time)?);
                let time = format_duration(time);
                format!("newcomers are refused, and the server stops in {time}: {told}")
            }
            Self::Kick(whom) => {
                let (kicked, time) = (moderation()?.kick(&whom)?, format_duration(KICK_TIME));
                format!("{kicked} is removed, and refused for {time}")
            }
            Self::Mute(whom, time) => {
                let muted = moderation()?.mute(&whom, time)?;
                format!("{muted} is muted for {}", format_duration(time))
            }
            Self::Unmute(whom) => format!("{} is not muted any more", moderation()?.unmute(&whom)?),
            Self::Ban(net, time) => banned(&moderation()?.ban(net, time)?),
            Self::Unban(net) => unbanned(&moderation()?.unban(net)?),
            Self::Bans => {
                let bans = moderation()?.bans();
                let mut text = format!("bans: {}", bans.len());
                bans.iter().for_each(|ban| text += &format!("\n{ban}"));
                text
            }
        })
    }
}

fn parse(verb: &str, words: &[&str]) -> Option<Command> {
    Some(match (verb, words) {
        ("peers", []) => Command::Peers(String::new()),
        ("peers", [part]) => Command::Peers((*part).to_owned()),
        ("rooms", []) => Command::Rooms(String::new()),
        ("rooms", [part]) => Command::Rooms((*part).to_owned()),
        ("say", ["*", text @ ..]) if !text.is_empty() => Command::Say(None, text.join(" ")),
        ("say", [room, text @ ..]) if !text.is_empty() => {
            Command::Say(Some(room.parse().ok()?), text.join(" "))
        }
        ("drain", time @ [_, ..]) => Command::Drain(parse_time(time)?),
        ("kick", [whom]) => Command::Kick((*whom).to_owned()),
        ("mute", [whom]) => Command::Mute((*whom).to_owned(), DEFAULT_MUTE),
        ("mute", [whom, time @ ..]) => Command::Mute((*whom).to_owned(), parse_time(time)?),
        ("unmute", [whom]) => Command::Unmute((*whom).to_owned()),
        ("ban", [net]) => Command::Ban(parse_net(net)?, None),
        ("ban", [net, time @ ..]) => Command::Ban(parse_net(net)?, Some(parse_time(time)?)),
        ("unban", [net]) => Command::Unban(parse_net(net)?),
        ("bans", []) => Command::Bans,
        ("limits", []) => Command::Limits,
        ("stats", []) => Command::Stats,
        ("help", []) => Command::Help,
        ("log", [filter]) => Command::Log((*filter).to_owned()),
        _ => return None,
    })
}

/// Returns a line per command.
fn help() -> String {
    let lines = MANUAL.map(
        |Entry {
             syntax, meaning, ..
         }| format!("{syntax:<18} {meaning}"),
    );
    let quit = format!("{:<18} stop the server", "quit");
    lines.join("\n") + "\n" + &quit
}

impl Entry {
    fn verb(&self) -> &'static str {
        self.syntax.split(' ').next().unwrap_or_default()
    }

    fn usage(&self) -> String {
        let comma = if self.hint.is_empty() { "" } else { ", " };
        format!("usage: {}{comma}{}", self.syntax, self.hint)
    }
}

/// Parses a time such as `2h 30m`.
fn parse_time(words: &[&str]) -> Option<Duration> {
    parse_duration(&words.join(" ")).ok()
}

fn peers(list: &PeerList) -> String {
    let mut text = format!("peers: {}", Thousands(list.total as u64));
    for peer in &list.peers {
        let PeerInfo { address, room, .. } = peer;
        let name = peer
            .name
            .map_or_else(|| "-".to_owned(), |name| name.to_string());
        let trusted = if peer.is_trusted { "  trusted" } else { "" };
        let muted = if peer.is_muted { "  muted" } else { "" };
        let _ = write!(
            text,
            "\n{address:<21}  {name:<12}  in {room:<12}  v{}  silent for {} s{trusted}{muted}",
            peer.version, peer.silent_s
        );
    }
    let more = list.total.saturating_sub(list.peers.len());
    if more > 0 {
        let more = Thousands(more as u64);
        let _ = write!(
            text,
            "\nand {more} more: give a part of an address, name or room"
        );
    }
    text
}

fn rooms(list: &RoomList) -> String {
    let mut text = format!("rooms: {}", Thousands(list.total as u64));
    for room in &list.rooms {
        let _ = write!(
            text,
            "\n{:<16} {:>10}",
            room.name,
            Thousands(room.members as u64)
        );
    }
    let more = list.total - list.rooms.len();
    if more > 0 {
        let more = Thousands(more as u64);
        let _ = write!(text, "\nand {more} more: give a part of a name");
    }
    text
}

fn said_to(peers: usize) -> String {
    let plural = if peers == 1 { "" } else { "s" };
    format!("said to {} peer{plural}", Thousands(peers as u64))
}

fn banned(change: &BanChange) -> String {
    let plural = if change.removed == 1 { "" } else { "s" };
    let removed = Thousands(change.removed as u64);
    let kept = kept(change);
    format!(
        "banned {}, {removed} peer{plural} removed{kept}",
        change.ban
    )
}

fn unbanned(change: &BanChange) -> String {
    let kept = match change.kept {
        // Nothing else had the ban.
        Kept::InMemory => String::new(),
        Kept::InFile | Kept::Failed(_) => kept(change),
    };
    format!("{} is not banned any more{kept}", change.ban.net())
}

/// Returns a remark about the place of the bans, unless it is the file.
fn kept(change: &BanChange) -> String {
    match &change.kept {
        Kept::InFile => String::new(),
        Kept::InMemory => ": in memory only, as there is no --state-dir".to_owned(),
        Kept::Failed(error) => format!(": in memory only, as it cannot be written: {error}"),
    }
}

fn limits(limits: &[LimitInForce]) -> String {
    let mut text = String::from("limits:");
    for LimitInForce { flag, max, is_rate } in limits {
        let max = max.map_or_else(|| "off".to_owned(), |max| Thousands(max).to_string());
        let unit = if *is_rate { " per second" } else { "" };
        let _ = write!(text, "\n{flag:<25} {max:>10}{unit}");
    }
    text
}

/// A command other than `quit`, in words.
struct Entry {
    /// The first word is that of the command.
    syntax: &'static str,
    /// The rest of its usage.
    hint: &'static str,
    meaning: &'static str,
}

/// The commands in the order of `help`.
const MANUAL: [Entry; 14] = [
    Entry {
        syntax: "stats",
        hint: "",
        meaning: "statistics (so does every other line)",
    },
    Entry {
        syntax: "peers [PART]",
        hint: "of an address, name or room",
        meaning: "peers whose address, name or room contains PART",
    },
    Entry {
        syntax: "rooms [PART]",
        hint: "of a name",
        meaning: "rooms whose name contains PART, the largest first",
    },
    Entry {
        syntax: "say ROOM TEXT",
        hint: "or say * TEXT for all peers, up to 500 bytes",
        meaning: "say something to a room, or to all peers (say * TEXT)",
    },
    Entry {
        syntax: "kick WHOM",
        hint: "a name or an address such as 192.0.2.7:5000",
        meaning: "remove a peer, by its name or address, and refuse it for 30 s",
    },
    Entry {
        syntax: "mute WHOM [TIME]",
        hint: "such as mute ada 10m",
        meaning: "drop the texts of a peer for 10m, or another time",
    },
    Entry {
        syntax: "unmute WHOM",
        hint: "a name or an address such as 192.0.2.7:5000",
        meaning: "end that",
    },
    Entry {
        syntax: "ban CIDR [TIME]",
        hint: "such as ban 192.0.2.0/24 2h",
        meaning: "remove and refuse the peers of a network, for ever or for a time",
    },
    Entry {
        syntax: "unban CIDR",
        hint: "such as unban 192.0.2.0/24",
        meaning: "end that",
    },
    Entry {
        syntax: "bans",
        hint: "",
        meaning: "the bans",
    },
    Entry {
        syntax: "limits",
        hint: "",
        meaning: "the limits in force",
    },
    Entry {
        syntax: "log FILTER",
        hint: "a level or levels by target, such as info,bullhorn::text=off",
        meaning: "log from now on as --log FILTER does",
    },
    Entry {
        syntax: "drain TIME",
        hint: "0s to 1h, such as drain 30s",
        meaning: "refuse newcomers, and stop after TIME, or when nobody is left",
    },
    Entry {
        syntax: "help",
        hint: "",
        meaning: "this list",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_by_its_first_word_in_any_case() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        for (line, command) in [
            ("peers", Command::Peers(String::new())),
            ("  PEERS  Ada\r\n", Command::Peers("Ada".into())),
            (
                "kick 192.0.2.7:5000",
                Command::Kick("192.0.2.7:5000".into()),
            ),
            ("mute ada", Command::Mute("ada".into(), minutes(10))),
            ("mute ada 1h 30m", Command::Mute("ada".into(), minutes(90))),
            ("unmute ada", Command::Unmute("ada".into())),
            ("ban 192.0.2.7", Command::Ban(net("192.0.2.7/32"), None)),
            ("Ban ::/8 2h", Command::Ban(net("::/8"), Some(minutes(120)))),
            ("unban 192.0.2.7", Command::Unban(net("192.0.2.7/32"))),
            ("rooms", Command::Rooms(String::new())),
            ("rooms de", Command::Rooms("de".into())),
            ("say *  hi  all", Command::Say(None, "hi all".into())),
            (
                "say den hi",
                Command::Say(Some("den".parse().unwrap()), "hi".into()),
            ),
            ("drain 1m 30s", Command::Drain(Duration::from_secs(90))),
            ("stats", Command::Stats),
            ("HELP", Command::Help),
            ("log warn", Command::Log("warn".into())),
            ("bans", Command::Bans),
            ("limits", Command::Limits),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Some(Ok(command)), "{line}");
        }
        for line in [
            "",
            " ",
            "who is there?",
            "quit now",
            "peer",
            "kickada",
            "\t",
        ] {
            assert_eq!(Command::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_command_with_wrong_arguments_has_a_usage() {
        for line in [
            "peers ada bob",
            "kick",
            "kick ada bob",
            "mute",
            "mute ada soon",
            "unmute",
            "ban",
            "ban everyone",
            "ban 192.0.2.0/33",
            "ban 192.0.2.0/24 10",
            "unban",
            "unban ada",
            "bans 1",
            "limits off",
            "rooms a b",
            "say",
            "say den",
            "say *",
            "say d%n hi",
            "drain",
            "drain soon",
            "stats all",
            "help me",
            "log",
        ] {
            let usage = Command::parse(line.as_bytes()).unwrap().unwrap_err();
            let verb = line.split(' ').next().unwrap();
            assert!(
                usage.starts_with(&format!("usage: {verb}")),
                "{line}: {usage}"
            );
        }
    }

    #[test]
    fn a_list_tells_how_many_peers_it_lacks() {
        let peer = PeerInfo {
            address: "192.0.2.7:5000".parse().unwrap(),
            name: Some("ada".parse().unwrap()),
            room: "den".parse().unwrap(),
            version: 2,
            is_trusted: false,
            is_muted: true,
            silent_s: 3,
        };
        let list = PeerList {
            peers: vec![peer],
            total: 1_235,
        };
        assert_eq!(
            peers(&list),
            "peers: 1,235\n\
             192.0.2.7:5000         ada           in den           v2  silent for 3 s  muted\n\
             and 1,234 more: give a part of an address, name or room"
        );
    }
}
