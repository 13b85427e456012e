//! The operator bans networks. The bans outlive the server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bullhorn::moderation::{BanChange, IpNet, Kept, ModerationError};
use bullhorn::stats::DropReason;
use bullhorn::wire::Reply;
use bullhorn::wire::v2::{ClientFrame, ServerFrame};
use bullhorn::{Server, ServerConfig, StartError};
use common::v2_peer::{V2Peer, datagram, hello};
use common::{
    Client, Folder, HOUR, Moderated, V4, expect_frames, notice, request, unpinned_config,
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
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

impl Folder {
    fn config(&self) -> ServerConfig {
        ServerConfig {
            state_dir: Some(self.0.clone()),
            ..unpinned_config(1, V4)
        }
    }

    /// The lines of the file of the bans that are no comments.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.bans()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
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
        .map(|number| format!("{} for ever\n", Ipv4Addr::from(number)))
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
        assert!(!error.contains("bans.new"), "{error}");
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
