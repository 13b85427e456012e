//! The commands of the model.

use std::net::SocketAddr;

use super::model::{Model, Peer, Room};
use super::{Action, Received, address};

impl Model {
    /// Handles a text or a command of a registered peer.
    pub(super) fn act(&mut self, peer: usize, action: &Action, line: &str) {
        match action {
            Action::Text(_) | Action::NotCommand(_) => self.broadcast(peer, line),
            Action::Help => self.confirm(peer, "help", HELP),
            Action::Nick(name) if is_label(name, 24) => self.rename(peer, name),
            Action::Nick(_) => self.misuse(peer, "usage: /nick NAME (1 to 24 of A-Z a-z 0-9 _ -)"),
            Action::Join(name) if is_label(name, 32) => self.join(peer, name),
            Action::Join(_) => self.misuse(peer, "usage: /join ROOM (1 to 32 of A-Z a-z 0-9 _ -)"),
            Action::Leave => self.join(peer, "lobby"),
            Action::Who(first) => self.who(peer, *first),
            Action::Rooms(first) => self.list_rooms(peer, *first),
            Action::Msg(..) => {
                let (to, text) = line[5..].split_once(' ').expect("two words");
                self.private(peer, to, text);
            }
            Action::Token(1..=32) => {
                let token = line.strip_prefix("/ping ").expect("it has a token");
                self.confirm(peer, "ping", &format!("pong {token}"));
            }
            Action::Token(_) => self.misuse(peer, "usage: /ping TOKEN (1 to 32 bytes)"),
            Action::Presence(is_on) => {
                self.peer(peer).wants_presence = *is_on;
                let room = self.peers[&peer].room;
                self.drop_unwanted_events(room);
                let word = if *is_on { "on" } else { "off" };
                self.confirm(peer, "presence set", &format!("presence is {word}"));
            }
            Action::Misuse(_, usage) => self.misuse(peer, usage),
            Action::Heartbeat | Action::Ping | Action::Bye => panic!("not a command"),
        }
    }

    fn rename(&mut self, peer: usize, name: &str) {
        let is_it = |other: &Peer| is_called(other, name);
        let holder = self.peers.iter().find(|(_, other)| is_it(other));
        let holder = holder.map(|(number, _)| *number);
        let names = self.peers.values().filter(|peer| peer.name.is_some());
        let max = self.limits.max_names;
        let is_full = names.count() >= max && self.peers[&peer].name.is_none();
        if holder.is_some_and(|holder| holder != peer) {
            return self.refuse(peer, "name taken", &format!("{name} is taken"));
        }
        if holder.is_none() && is_full {
            let text = format!("name limit reached ({max})");
            return self.refuse(peer, "too many names", &text);
        }
        let before = self.display_name(peer);
        self.peer(peer).name = Some(name.to_owned());
        if before != name {
            if before.eq_ignore_ascii_case(name) {
                self.count("own name in another case");
            }
            let room = self.peers[&peer].room;
            self.record(room, "renamed", format!("{before} is now {name}"));
        }
        self.confirm(peer, "renamed", &format!("you are {name}"));
    }

    fn join(&mut self, peer: usize, name: &str) {
        let is_it = |room: &&Room| room.name.eq_ignore_ascii_case(name);
        let before = self.peers[&peer].room;
        let now = if let Some(room) = self.rooms.iter().find(is_it) {
            let max = self.limits.max_room_members as usize;
            if room.number != 0 && room.number != before && room.members.len() >= max {
                let text = format!("{} is full ({max})", room.name);
                return self.refuse(peer, "room full", &text);
            }
            room.number
        } else {
            let max = self.limits.max_rooms;
            if self.rooms.len() > max {
                let text = format!("cannot create \"{name}\": room limit reached ({max})");
                return self.refuse(peer, "too many rooms", &text);
            }
            self.last_room += 1;
            self.rooms.push(Room::new(self.last_room, name));
            self.last_room
        };
        if before != now {
            // The new room has a member before the old one may vanish.
            self.room(now).members.push(peer);
            self.exit(peer, "left");
            self.room(now).members.pop();
            self.enter(peer, now);
        }
        let room = self.room(now);
        let (name, members) = (room.name.clone(), room.members.len());
        if self.peers[&peer].session.is_some() {
            self.reply(peer, Received::Room(now, name.clone()));
        }
        self.confirm(
            peer,
            "joined",
            &format!("you are in {name} ({members} here)"),
        );
    }

    fn who(&mut self, peer: usize, first: usize) {
        let room = self.peers[&peer].room;
        let (name, members) = (
            self.room(room).name.clone(),
            self.room(room).members.clone(),
        );
        let entries = members.iter().map(|member| self.display_name(*member));
        let entries: Vec<String> = entries.collect();
        self.list(
            peer,
            &format!("{} in {name}", entries.len()),
            first,
            &entries,
        );
    }

    fn list_rooms(&mut self, peer: usize, first: usize) {
        let entry = |room: &Room| format!("{} ({})", room.name, room.members.len());
        let entries: Vec<String> = self.rooms.iter().map(entry).collect();
        let plural = if entries.len() == 1 { "" } else { "s" };
        let head = format!("{} room{plural}", entries.len());
        self.list(peer, &head, first, &entries);
    }

    fn list(&mut self, peer: usize, head: &str, first: usize, entries: &[String]) {
        if self.lists_left == 0 {
            self.shed += 1;
            let text = "too many lists in one datagram";
            return self.refuse(peer, "too many lists", text);
        }
        self.lists_left -= 1;
        let total = entries.len();
        if first > total {
            let text = format!("{head}, none from {first} on");
            return self.confirm(peer, "empty page", &text);
        }
        let list = entries[first - 1..].join(" ");
        let text = if first == 1 {
            format!("{head}: {list}")
        } else {
            format!("{head}, {first} to {total}: {list}")
        };
        self.confirm(peer, "list", &text);
    }

    fn private(&mut self, peer: usize, to: &str, text: &str) {
        let all = self.peers.iter();
        let found = if let Ok(socket) = to.parse::<SocketAddr>() {
            let is_it = |number: &usize| address(*number).socket_addr() == socket;
            let own = address(peer).endpoint();
            let endpoint = |number: &usize| address(*number).endpoint();
            let candidates = all.map(|(number, _)| *number).filter(is_it);
            candidates.min_by_key(|number| (endpoint(number) != own, endpoint(number)))
        } else {
            let found = all.filter(|(_, other)| is_called(other, to));
            found.map(|(number, _)| *number).next()
        };
        let Some(found) = found else {
            return self.refuse(peer, "no such peer", &format!("no such peer: {to}"));
        };
        if self.privates_left == 0 {
            self.shed += 1;
            let text = "too many messages in one datagram";
            return self.refuse(peer, "too many messages", text);
        }
        self.privates_left -= 1;
        self.send_private(peer, found, text);
        self.confirm(peer, "private", &format!("to {to}: {text}"));
    }
}

fn is_called(peer: &Peer, name: &str) -> bool {
    let own = peer.name.as_deref();
    own.is_some_and(|own| own.eq_ignore_ascii_case(name))
}

fn is_label(text: &str, max: usize) -> bool {
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
    (1..=max).contains(&text.len()) && text.chars().all(is_allowed)
}

const HELP: &str = "/nick NAME, /join ROOM, /leave to the lobby, /who [FROM], \
    /rooms [FROM], /msg NAME TEXT, /ping TOKEN, /presence on|off";
