//! The operator's hold on peers: it lists, removes, mutes and bans them.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bullhorn::moderation::{BanChange, Kept, Moderation, ModerationError, PeerInfo};
use bullhorn::server::ServerHandle;
use bullhorn::stats::{Counts, DropReason};
use bullhorn::wire::Reply;
use bullhorn::wire::v2::{ClientFrame, Move, ServerFrame, SessionId, parse_server};
use bullhorn::{Server, ServerConfig, StartError};
use common::v2_peer::{V2Peer, datagram, hello};
use common::{Client, TestServer, Time, V4, proved, strict_config, unpinned_config, wait_until};

/// A server whose peers do not expire, and the time of its clock.
struct Moderated {
    server: TestServer,
    handle: ServerHandle,
    time: Time,
}

impl Moderated {
    fn start() -> Self {
        Self::start_with(unpinned_config(2, V4))
    }

    fn start_with(config: ServerConfig) -> Self {
        let config = ServerConfig {
            timeout: HOUR,
            ..config
        };
        let time = Time::default();
        let server = TestServer::start_with_clock(config, time.clock());
        let handle = server.handle();
        Self {
            server,
            handle,
            time,
        }
    }

    fn moderation(&self) -> &Moderation {
        self.handle.moderation().unwrap()
    }

    fn total(&self) -> Counts {
        self.server.stats().total()
    }

    /// Registers a v1 client with a name.
    fn named(&self, name: &str) -> Client {
        let client = self.server.client();
        request(
            &client,
            &format!("/nick {name}"),
            &format!("* you are {name}"),
        );
        client
    }

    /// Sends a datagram that must be dropped for `reason`, without a reply.
    #[track_caller]
    fn expect_drop(&self, client: &Client, datagram: &[u8], reason: DropReason) {
        let before = self.total().dropped(reason);
        client.send(datagram);
        wait_until(reason.name(), || self.total().dropped(reason) == before + 1);
        assert!(client.inbox_is_empty());
    }

    /// Sends a text or direct message that must be dropped, without a reply.
    #[track_caller]
    fn expect_muted(&self, client: &Client, datagram: &[u8]) {
        let before = self.total().messages_muted;
        client.send(datagram);
        wait_until("a muted message", || {
            self.total().messages_muted == before + 1
        });
        assert!(client.inbox_is_empty());
    }
}

#[track_caller]
fn request(client: &Client, line: &str, reply: &str) {
    client.send(line.as_bytes());
    assert_eq!(client.receive_text(), reply);
}

/// Receives the next datagram of a v2 peer, which must be these frames.
#[track_caller]
fn expect_frames(peer: &V2Peer, expected: &[ServerFrame<'_>]) {
    let answer = peer.client.receive();
    let frames: Vec<_> = parse_server(&answer).unwrap().collect();
    assert_eq!(frames, expected);
}

/// Returns the frame with a sentence.
fn notice<'a>(reply: &Reply<'_>, text: &'a mut Vec<u8>) -> ServerFrame<'a> {
    reply.push(text);
    ServerFrame::Notice(reply.code(), text)
}

fn net(text: &str) -> bullhorn::moderation::IpNet {
    text.parse().unwrap()
}

#[test]
fn peers_are_listed_by_a_part_of_their_address_name_or_room() {
    let host = Moderated::start();
    let ada = host.named("Ada");
    let bob = V2Peer::open(host.server.unregistered_client());
    bob.send(&[ClientFrame::Command(b"/join den")]);
    bob.client.receive();
    host.moderation().mute("ada", HOUR).unwrap();
    host.time.set(3_999);
    bob.send(&[ClientFrame::Ping(b"1")]);
    bob.client.receive();

    let of_ada = PeerInfo {
        address: ada.address(),
        name: Some("Ada".parse().unwrap()),
        room: "lobby".parse().unwrap(),
        version: 1,
        is_trusted: true,
        is_muted: true,
        silent_s: 3,
    };
    let of_bob = PeerInfo {
        address: bob.client.address(),
        name: None,
        room: "den".parse().unwrap(),
        version: 2,
        is_trusted: true,
        is_muted: false,
        silent_s: 0,
    };
    let (port, both) = (bob.client.address().port().to_string(), "127.0.0.1");
    for (part, expected) in [
        ("aDA", vec![&of_ada]),
        ("LOBB", vec![&of_ada]),
        ("den", vec![&of_bob]),
        (&port, vec![&of_bob]),
        ("eve", vec![]),
        (both, vec![&of_ada, &of_bob]),
        ("", vec![&of_ada, &of_bob]),
    ] {
        let list = host.moderation().peers(part);
        let mut expected: Vec<_> = expected.into_iter().cloned().collect();
        expected.sort_by_key(|peer| peer.address);
        assert_eq!((list.peers, list.more), (expected, 0), "{part}");
    }
}

#[test]
fn a_hundred_peers_are_listed_and_the_others_are_counted() {
    let host = Moderated::start();
    let clients: Vec<_> = (0..103).map(|_| host.server.client()).collect();
    let list = host.moderation().peers("127.0.0.1");
    assert_eq!((list.peers.len(), list.more), (100, 3));
    assert!(list.peers.is_sorted_by_key(|peer| peer.address));
    drop(clients);
}

#[test]
fn strangers_are_not_trusted() {
    let host = Moderated::start_with(strict_config(1, V4));
    let _ann = proved(host.server.unregistered_client());
    assert!(!host.moderation().peers("").peers[0].is_trusted);
}

#[test]
fn a_v1_peer_is_removed_and_its_address_is_refused_for_half_a_minute() {
    let host = Moderated::start();
    let (ada, bob) = (host.named("ada"), host.named("bob"));
    request(&bob, "/presence on", "* presence is on");
    let kicked = host.moderation().kick("ADA").unwrap();
    assert_eq!(
        (kicked.address, kicked.name),
        (ada.address(), "ada".parse().ok())
    );
    assert_eq!(ada.receive_text(), "* removed by the operator");
    assert_eq!(bob.receive_text(), "* ada left (1 here)");
    request(&bob, "/nick ada", "* you are ada");
    assert_eq!(host.server.stats().peers, 1);

    host.expect_drop(&ada, b"@im@", DropReason::Removed);
    host.time.set(30_000);
    host.expect_drop(&ada, b"hi", DropReason::Removed);
    host.expect_drop(&ada, &hello(), DropReason::Removed);
    // Others of the same host may come.
    host.server.client();
    host.time.set(31_000);
    request(&ada, "/ping 1", "* pong 1");
    assert_eq!(
        host.moderation().kick("eve"),
        Err(ModerationError::NoSuchPeer("eve".parse().unwrap()))
    );
    assert_eq!(
        host.moderation().kick("a b"),
        Err(ModerationError::NotAPeer("a b".into()))
    );
}

#[test]
fn a_session_is_told_that_it_was_removed_and_ends() {
    let host = Moderated::start();
    let ann = V2Peer::open(host.server.unregistered_client());
    ann.send(&[ClientFrame::Command(b"/nick ann")]);
    ann.client.receive();
    host.moderation()
        .kick(&ann.client.address().to_string())
        .unwrap();
    let mut text = Vec::new();
    let removed = notice(&Reply::Removed, &mut text);
    expect_frames(&ann, &[removed, ServerFrame::Goodbye]);
    let heartbeat = datagram(ann.number, &[ClientFrame::Heartbeat(None)]);
    host.expect_drop(&ann.client, &heartbeat, DropReason::Removed);
    host.expect_drop(&ann.client, &hello(), DropReason::Removed);

    // It may come from another port, but its session is gone.
    let again = V2Peer::open(host.server.unregistered_client());
    again.send(&[ClientFrame::Move(former(&ann)), ClientFrame::Ping(b"1")]);
    again.client.receive();
    let list = host.moderation().peers("");
    assert_eq!(list.peers.len(), 1);
    assert_eq!(list.peers[0].name, None);
}

fn former(peer: &V2Peer) -> Move {
    Move {
        session: SessionId::new(peer.number).unwrap(),
        address: peer.client.address(),
    }
}

#[test]
fn a_muted_peer_is_told_once_and_only_its_messages_are_dropped() {
    let host = Moderated::start();
    let (ada, bob) = (host.named("ada"), host.named("bob"));
    host.moderation().mute("ada", MINUTE).unwrap();
    assert_eq!(ada.receive_text(), "* muted by the operator for 60 s");
    host.expect_muted(&ada, b"hi");
    host.expect_muted(&ada, b"/msg bob hi");
    request(&ada, "/nick eve", "* you are eve");
    request(&ada, "/join den", "* you are in den (1 here)");
    host.expect_muted(&ada, b"hi den");
    // It receives as before.
    request(&bob, "/msg eve hi", "* to eve: hi");
    assert_eq!(ada.receive_text(), "bob in private: hi");

    host.time.set(60_000);
    ada.send(b"hi again");
    assert_eq!(ada.receive_text(), "eve hi again");
    assert!(bob.inbox_is_empty());
    assert_eq!(
        host.moderation().unmute("eve"),
        Err(ModerationError::NotMuted("eve".parse().unwrap()))
    );
}

#[test]
fn a_peer_that_leaves_and_comes_back_is_still_muted() {
    let host = Moderated::start();
    let ada = host.server.client();
    let address = ada.address().to_string();
    host.moderation().mute(&address, MINUTE).unwrap();
    ada.receive_text();
    ada.send(b"quit");
    host.expect_muted(&ada, b"hi");
    ada.send(b"quit");
    wait_until("it has left", || host.server.stats().peers == 0);
    // The address is enough.
    host.moderation().unmute(&address).unwrap();
    ada.send(b"hi");
    ada.expect_text_from(&ada, "hi");
}

#[test]
fn a_session_stays_muted_when_its_options_or_its_address_change() {
    let host = Moderated::start();
    let ann = V2Peer::open(host.server.unregistered_client());
    let mute = || {
        host.moderation()
            .mute(&ann.client.address().to_string(), MINUTE)
    };
    mute().unwrap();
    let mut text = Vec::new();
    expect_frames(&ann, &[notice(&Reply::Muted(60), &mut text)]);
    let say = |peer: &V2Peer| datagram(peer.number, &[ClientFrame::Say(b"hi")]);
    host.expect_muted(&ann.client, &say(&ann));
    let options = bullhorn::wire::v2::Hello {
        options: bullhorn::wire::v2::SessionOptions {
            echo: false,
            ..Default::default()
        },
        ..Default::default()
    };
    ann.send(&[ClientFrame::Hello(options)]);
    ann.client.receive();
    host.expect_muted(&ann.client, &say(&ann));

    let moved = V2Peer::open(host.server.unregistered_client());
    moved.send(&[ClientFrame::Move(former(&ann))]);
    moved.client.receive();
    host.expect_muted(&moved.client, &say(&moved));
    // It is muted at both addresses, and cannot take over a session that is not.
    let other = V2Peer::open(host.server.unregistered_client());
    moved.send(&[ClientFrame::Move(former(&other))]);
    moved.client.receive();
    host.expect_muted(&moved.client, &say(&moved));
    moved.send(&[ClientFrame::Bye]);
    wait_until("it has left", || host.server.stats().peers == 0);
    for client in [&ann.client, &moved.client] {
        host.expect_muted(client, b"back");
    }
}

#[test]
fn an_unmuted_peer_is_told_and_heard() {
    let host = Moderated::start();
    let ada = host.named("ada");
    host.moderation().mute("ada", MINUTE).unwrap();
    ada.receive_text();
    host.expect_muted(&ada, b"hi");
    let unmuted = host.moderation().unmute("ada").unwrap();
    assert_eq!(unmuted.to_string(), format!("ada at {}", ada.address()));
    assert_eq!(ada.receive_text(), "* not muted any more");
    ada.send(b"hi");
    assert_eq!(ada.receive_text(), "ada hi");
    for time in [Duration::ZERO, Duration::MAX] {
        assert_eq!(
            host.moderation().mute("ada", time),
            Err(ModerationError::Time)
        );
    }
}

#[test]
fn the_peers_of_a_banned_network_are_removed_and_do_not_come_back() {
    let host = Moderated::start();
    let ada = host.named("ada");
    let ann = V2Peer::open(host.server.unregistered_client());
    let near: SocketAddr = "127.1.0.1:0".parse().unwrap();
    let near = Client::connect_from(near, host.server.local_addr());
    request(&near, "/ping 1", "* pong 1");

    let BanChange { ban, removed, kept } =
        host.moderation().ban(net("127.0.0.9/16"), None).unwrap();
    assert_eq!(
        (ban.to_string(), removed),
        ("127.0.0.0/16 for ever".into(), 2)
    );
    assert!(matches!(kept, Kept::InMemory), "{kept:?}");
    assert_eq!(ada.receive_text(), "* removed by the operator");
    let mut text = Vec::new();
    let removed = notice(&Reply::Removed, &mut text);
    expect_frames(&ann, &[removed, ServerFrame::Goodbye]);
    host.expect_drop(&ada, b"@im@", DropReason::Banned);
    host.expect_drop(
        &host.server.unregistered_client(),
        b"hi",
        DropReason::Banned,
    );
    host.expect_drop(&ann.client, &hello(), DropReason::Banned);
    let heartbeat = datagram(ann.number, &[ClientFrame::Heartbeat(None)]);
    host.expect_drop(&ann.client, &heartbeat, DropReason::Banned);
    // Other networks may.
    near.send(b"hi");
    near.expect_text_from(&near, "hi");
    assert_eq!(host.moderation().bans(), [ban]);

    let by = Some(ban);
    assert!(matches!(
        host.moderation().unban(net("127.0.0.0/24")),
        Err(ModerationError::NotBanned { by: found, .. }) if found == by
    ));
    host.moderation().unban(net("127.0.0.1/16")).unwrap();
    assert_eq!(host.moderation().bans(), []);
    // A ban refuses nobody after its end.
    request(&ada, "/nick ada", "* you are ada");
}

#[test]
fn an_earlier_ban_of_a_network_is_replaced() {
    let host = Moderated::start();
    let banned = net("192.0.2.0/24");
    host.moderation().ban(banned, Some(HOUR)).unwrap();
    assert!(host.moderation().bans()[0].end().is_some());
    host.moderation().ban(banned, None).unwrap();
    let bans = host.moderation().bans();
    assert_eq!((bans.len(), bans[0].end()), (1, None));
    let too_long = host.moderation().ban(banned, Some(Duration::MAX));
    assert!(matches!(too_long, Err(ModerationError::Time)));
}

/// A folder of a test, which is removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn config(&self) -> ServerConfig {
        ServerConfig {
            state_dir: Some(self.0.clone()),
            ..unpinned_config(1, V4)
        }
    }

    fn bans(&self) -> PathBuf {
        self.0.join("bans")
    }

    /// The lines of the file that are no comments.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.bans()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn bans_stand_in_the_state_dir_and_outlive_the_server() {
    let folder = Folder::new("bans_outlive");
    let host = Moderated::start_with(folder.config());
    let change = host.moderation().ban(net("127.0.0.0/8"), None).unwrap();
    assert!(matches!(change.kept, Kept::InFile), "{:?}", change.kept);
    let day = Some(24 * HOUR);
    let until = host
        .moderation()
        .ban(net("2001:db8::/32"), day)
        .unwrap()
        .ban;
    assert_eq!(
        folder.lines(),
        ["127.0.0.0/8 for ever".into(), until.to_string()]
    );
    assert!(until.to_string().starts_with("2001:db8::/32 until 2"));
    host.server.stop();

    let host = Moderated::start_with(folder.config());
    host.expect_drop(
        &host.server.unregistered_client(),
        b"hi",
        DropReason::Banned,
    );
    assert_eq!(host.moderation().bans().len(), 2);
    host.moderation().unban(net("127.0.0.0/8")).unwrap();
    assert_eq!(folder.lines(), [until.to_string()]);
    host.server.client();
}

#[test]
fn bans_that_are_over_are_not_loaded() {
    let folder = Folder::new("bans_over");
    let text = "# mine\n\n127.0.0.0/8 until 2020-01-31T12:00:00Z\n192.0.2.7 for ever\n";
    fs::write(folder.bans(), text.replace("192.0.2.7", "192.0.2.7/32")).unwrap();
    let host = Moderated::start_with(folder.config());
    host.server.client();
    assert_eq!(folder.lines(), ["192.0.2.7/32 for ever"]);
}

#[test]
fn a_damaged_file_or_folder_is_an_error_of_the_start() {
    let folder = Folder::new("bans_damaged");
    let start = |config| match Server::start(config) {
        Ok(_) => panic!("it starts"),
        Err(error @ StartError::State(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
    };
    for line in [
        "192.0.2.0/24",
        "192.0.2.0/24 until tomorrow",
        "192.0.2.0/33 for ever",
        "192.0.2.0/24 for now",
        "ada for ever",
    ] {
        fs::write(folder.bans(), format!("10.0.0.0/8 for ever\n{line}\n")).unwrap();
        let error = start(folder.config());
        let place = format!("--state-dir: {}:2: must be", folder.bans().display());
        assert!(error.starts_with(&place), "{error}");
        assert!(error.contains("`192.0.2.0/24 for ever`"), "{error}");
    }
    fs::write(folder.bans(), b"\xFF\xFE for ever\n").unwrap();
    assert!(start(folder.config()).contains("bans:1: must be"));
    let many: String = (0..=10_000_u32)
        .map(|number| format!("{} for ever\n", std::net::Ipv4Addr::from(number)))
        .map(|line| line.replace(" for", "/32 for"))
        .collect();
    fs::write(folder.bans(), many).unwrap();
    assert!(start(folder.config()).contains("more than 10000 bans"));

    let file = folder.0.join("file");
    fs::write(&file, "").unwrap();
    for path in [folder.0.join("missing"), file] {
        let config = ServerConfig {
            state_dir: Some(path.clone()),
            ..folder.config()
        };
        let error = start(config);
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_ban_that_cannot_be_written_holds_in_memory() {
    let folder = Folder::new("bans_unwritable");
    let host = Moderated::start_with(folder.config());
    fs::remove_dir_all(&folder.0).unwrap();
    let change = host.moderation().ban(net("127.0.0.0/8"), None).unwrap();
    let Kept::Failed(error) = change.kept else {
        panic!("{:?}", change.kept);
    };
    assert!(error.to_string().contains("No such file"), "{error}");
    host.expect_drop(
        &host.server.unregistered_client(),
        b"hi",
        DropReason::Banned,
    );
    // It is written with the next change that can be.
    fs::create_dir(&folder.0).unwrap();
    host.moderation().ban(net("192.0.2.0/24"), None).unwrap();
    assert_eq!(folder.lines().len(), 2);
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
