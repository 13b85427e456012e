//! Changes to the configuration of a server that goes on.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::config::{LimitsConfig, PerSecond, Proof, ServiceKind, Trust};
use bullhorn::stats::DropReason;
use common::{
    Folder, HOUR, Moderated, ServerProgram, TestServer, V4, request, server_command,
    unpinned_config, wait_until,
};
use nix::sys::signal::Signal;

fn config() -> ServerConfig {
    unpinned_config(2, V4)
}

#[test]
fn new_limits_count_for_the_next_peer_name_room_and_member() {
    let small = ServerConfig {
        max_peers: 2,
        max_names: 1,
        max_rooms: 1,
        max_room_members: 1,
        ..config()
    };
    let server = TestServer::start(small.clone());
    let [ann, bob] = server.clients();
    request(&ann, "/nick ann", "* you are ann");
    request(&ann, "/join den", "* you are in den (1 here)");
    request(&bob, "/nick bob", "* name limit reached (1)");
    request(&bob, "/join den", "* den is full (1)");
    request(
        &bob,
        "/join yard",
        "* cannot create \"yard\": room limit reached (1)",
    );
    let cem = server.unregistered_client();
    request(&cem, "hi", "* peer limit reached (2)");

    let large = ServerConfig {
        max_peers: 3,
        max_names: 2,
        max_rooms: 2,
        max_room_members: 2,
        ..config()
    };
    server.handle().reload(&large).unwrap();
    request(&cem, "/ping 1", "* pong 1");
    request(&bob, "/nick bob", "* you are bob");
    request(&bob, "/join yard", "* you are in yard (1 here)");
    request(&cem, "/join den", "* you are in den (2 here)");
    let listed = server.handle().limits();
    let max_peers = listed.iter().find(|limit| limit.flag == "max-peers");
    assert_eq!(max_peers.unwrap().max, Some(3));

    // What there is beyond a smaller limit stays.
    server.handle().reload(&small).unwrap();
    request(&cem, "/ping 2", "* pong 2");
    request(&cem, "/nick cem", "* name limit reached (1)");
    let dan = server.unregistered_client();
    request(&dan, "hi", "* peer limit reached (2)");
    assert_eq!(server.stats().peers, 3);
}

#[test]
fn new_rules_count_for_the_next_newcomer() {
    let server = TestServer::start(config());
    let ann = server.client();
    let reload = |change: fn(&mut ServerConfig)| {
        let mut config = config();
        change(&mut config);
        server.handle().reload(&config).unwrap();
    };
    reload(|config| config.deny = vec!["127.0.0.0/8".parse().unwrap()]);
    let dropped = |reason| server.stats().total().dropped(reason);
    server.unregistered_client().send(b"hi");
    wait_until("the drop", || dropped(DropReason::Denied) == 1);
    request(&ann, "/ping 1", "* pong 1");

    reload(|config| config.allow = vec!["10.0.0.0/8".parse().unwrap()]);
    server.unregistered_client().send(b"hi");
    wait_until("the drop", || dropped(DropReason::Denied) == 2);

    reload(|config| config.proof = Proof::Always);
    let bob = server.unregistered_client();
    bob.send(b"hi");
    assert!(bob.receive_text().starts_with("* say /in "));

    reload(|config| config.trust = vec![Trust::Nobody]);
    let cem = server.unregistered_client();
    cem.send(b"hi");
    assert!(cem.receive_text().starts_with("* say /in "));

    reload(|_| {});
    request(&cem, "/ping 2", "* pong 2");
}

#[test]
fn new_rates_count_for_peers_that_are_registered() {
    let untrusting = ServerConfig {
        proof: Proof::Never,
        trust: vec![Trust::Nobody],
        limits: LimitsConfig::off(),
        ..config()
    };
    let server = TestServer::start(untrusting.clone());
    let ann = server.client();
    let limited = ServerConfig {
        limits: LimitsConfig {
            texts_per_peer: PerSecond(NonZero::new(1)),
            ..LimitsConfig::off()
        },
        ..untrusting.clone()
    };
    let sent = || {
        let before = server.stats().total();
        for text in 0..10 {
            ann.send(format!("text {text}").as_bytes());
        }
        let handled = || {
            let after = server.stats().total();
            let dropped = |counts: &bullhorn::stats::Counts| counts.dropped(DropReason::TextLimit);
            let texts = after.texts - before.texts;
            let dropped = dropped(&after) - dropped(&before);
            (texts, dropped)
        };
        wait_until("the texts", || handled().0 + handled().1 == 10);
        handled()
    };
    assert_eq!(sent(), (10, 0));
    server.handle().reload(&limited).unwrap();
    let (texts, dropped) = sent();
    assert!(texts >= 3 && dropped > 0, "{texts} and {dropped}");
    server.handle().reload(&untrusting).unwrap();
    assert_eq!(sent(), (10, 0));
}

#[test]
fn a_new_timeout_counts_for_peers_that_are_silent() {
    let hour = ServerConfig {
        timeout: HOUR,
        reap_interval: Duration::from_millis(10),
        ..config()
    };
    let server = TestServer::start(hour.clone());
    let _ann = server.client();
    let short = ServerConfig {
        timeout: Duration::from_millis(100),
        ..hour
    };
    server.handle().reload(&short).unwrap();
    wait_until("the expiry", || server.stats().expired == 1);
}

#[test]
fn bans_are_read_again_and_their_peers_removed() {
    let folder = Folder::new("reload_bans");
    let config = ServerConfig {
        state_dir: Some(folder.0.clone()),
        ..config()
    };
    let host = Moderated::start_with(config.clone());
    let ada = host.named("ada");
    fs::write(folder.bans(), "127.0.0.0/8 for ever\n").unwrap();
    host.server.handle().reload(&config).unwrap();
    assert_eq!(ada.receive_text(), "* removed by the operator");
    host.expect_drop(&ada, b"@im@", DropReason::Banned);

    fs::write(folder.bans(), "# none\n").unwrap();
    host.server.handle().reload(&config).unwrap();
    request(&ada, "/nick ada", "* you are ada");
}

#[test]
fn a_mistake_changes_nothing() {
    let folder = Folder::new("reload_mistakes");
    let before = ServerConfig {
        state_dir: Some(folder.0.clone()),
        max_peers: 1,
        ..config()
    };
    let host = Moderated::start_with(before.clone());
    let _ada = host.named("ada");
    let after = ServerConfig {
        max_peers: 2,
        ..before.clone()
    };
    let refused = |config: &ServerConfig, mistake: &str| {
        let error = host.server.handle().reload(config).unwrap_err().to_string();
        assert!(error.contains(mistake), "{error}");
        let bob = host.server.unregistered_client();
        request(&bob, "hi", "* peer limit reached (1)");
    };
    let wrong = ServerConfig {
        max_rooms: 0,
        ..after.clone()
    };
    refused(&wrong, "--max-rooms must lie between 1 and");
    fs::write(folder.bans(), "# mine\n127.0.0.0/8 for now\n").unwrap();
    refused(&after, "bans:2: must be a ban such as");
    fs::write(folder.bans(), "").unwrap();
    host.server.handle().reload(&after).unwrap();
    request(&host.server.unregistered_client(), "/ping 1", "* pong 1");
}

#[cfg(feature = "admin")]
#[test]
fn the_token_is_read_again() {
    use common::operator::{TOKEN, TokenFile, post};

    let token = TokenFile::new("reload");
    let server = TestServer::start(token.config());
    let admin = server.admin_addr().unwrap();
    let status = || post(admin, "/api/v1/say", r#"{"text":"hi"}"#).status;
    assert_eq!(status(), 200);
    let reload = || server.handle().reload(&token.config());
    for wrong in ["short", "0123456789abcde\u{e9}"] {
        fs::write(&token.path, wrong).unwrap();
        let error = reload().unwrap_err().to_string();
        assert!(error.contains("a token has 16 to 256 visible"), "{error}");
        assert_eq!(status(), 200);
    }
    fs::write(&token.path, format!("{TOKEN}{TOKEN}")).unwrap();
    reload().unwrap();
    assert_eq!(status(), 401);
    fs::write(&token.path, TOKEN).unwrap();
    reload().unwrap();
    assert_eq!(status(), 200);
}

#[cfg(feature = "admin")]
#[test]
fn a_new_token_is_not_in_force_at_a_mistake_in_the_bans() {
    use common::operator::{TOKEN, TokenFile, post};

    let folder = Folder::new("reload_token");
    let token = TokenFile::new("reload_bans");
    let config = ServerConfig {
        state_dir: Some(folder.0.clone()),
        ..token.config()
    };
    let server = TestServer::start(config.clone());
    let admin = server.admin_addr().unwrap();
    let status = || post(admin, "/api/v1/say", r#"{"text":"hi"}"#).status;
    fs::write(&token.path, format!("{TOKEN}{TOKEN}")).unwrap();
    fs::write(folder.bans(), "everyone\n").unwrap();
    let error = server.handle().reload(&config).unwrap_err().to_string();
    assert!(error.contains("bans:1: must be a ban"), "{error}");
    assert_eq!(status(), 200);
    fs::write(folder.bans(), "").unwrap();
    server.handle().reload(&config).unwrap();
    assert_eq!(status(), 401);
}

#[test]
fn a_greeting_server_has_new_rules() {
    let greet = ServerConfig {
        service: ServiceKind::Greet,
        ..config()
    };
    let server = TestServer::start(greet.clone());
    let client = server.unregistered_client();
    client.send(b"hi");
    assert!(client.receive_text().starts_with("hello,"));
    let denying = ServerConfig {
        deny: vec!["127.0.0.1/32".parse().unwrap()],
        ..greet
    };
    server.handle().reload(&denying).unwrap();
    client.send(b"hi");
    let dropped = || server.stats().total().dropped(DropReason::Denied);
    wait_until("the drop", || dropped() == 1);
}

#[test]
fn the_program_goes_on_after_sighup_and_writes_its_statistics_at_sigusr1() {
    let folder = Folder::new("reload_signals");
    let mut server = ServerProgram::start(&["--state-dir", folder.path()]);
    let log = server.log();
    let ann = server.client();
    server.expect_echo(&ann, "hi");
    server.signal(Signal::SIGUSR1);
    log.find("peers: 1 now, 0 expired");
    log.find("datagrams: 1 = 1 texts");
    fs::write(folder.bans(), "192.0.2.0/24 for ever\n").unwrap();
    server.signal(Signal::SIGHUP);
    log.find("bans read again: 1, before: 0, peers removed: 0");
    log.find("configuration read again");
    fs::write(folder.bans(), "192.0.2.0/24\n").unwrap();
    server.signal(Signal::SIGHUP);
    log.find("configuration not read again: --state-dir: ");
    server.expect_echo(&ann, "it goes on");
    server.signal(Signal::SIGTERM);
    server.expect_success();
    let last = log.rest();
    let totals = "2 datagrams received, 2 deliveries sent of 2, 0 datagrams dropped";
    assert!(last.last().unwrap().ends_with(totals), "{last:#?}");
}

#[test]
fn the_program_reads_its_file_again_and_says_what_waits_for_the_next_start() {
    let folder = Folder::new("reload_file");
    let file = folder.0.join("server.toml");
    // As editors do: the name is that of another file then.
    let replace = |text: &str| {
        let new = folder.0.join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    replace("max-peers = 1\nworkers = 2\nlog = \"warn\"\n");
    let mut command = server_command(&["--bind", V4, "--config"]);
    command.arg(&file);
    // With this log, it would not say its address.
    command.args(["--log", "info"]);
    let mut server = ServerProgram::start_command(command);
    let log = server.log();
    let ann = server.client();
    server.expect_echo(&ann, "hi");
    let bob = server.client();
    request(&bob, "hi", "* peer limit reached (1)");

    replace("max-peers = 2\nworkers = 3\n");
    server.signal(Signal::SIGHUP);
    log.find("read again: changed max-peers; changes at the next start: workers");
    request(&bob, "/ping 1", "* pong 1");
    server.signal(Signal::SIGHUP);
    log.find("read again: changes at the next start: workers");

    for (text, mistake) in [
        (
            "max-peers = 3\n\nmax-pears = 4\n",
            "server.toml:3: max-pears: unknown key",
        ),
        (
            "max-peers = 3\ntimeout = 5\n",
            "server.toml:2: timeout: must be",
        ),
        (
            "max-peers = 0\n",
            "server.toml:1: --max-peers must lie between 1",
        ),
        ("max-peers = \n", "server.toml:1: "),
    ] {
        replace(text);
        server.signal(Signal::SIGHUP);
        let line = log.find("configuration not read again: ");
        assert!(line.contains(mistake), "{line}");
    }
    let cem = server.client();
    request(&cem, "hi", "* peer limit reached (2)");
    fs::remove_file(&file).unwrap();
    server.signal(Signal::SIGHUP);
    log.find("server.toml: cannot be read: No such file");

    // Since the start, `workers` is the same again.
    replace("max-peers = 2\nworkers = 2\n");
    server.signal(Signal::SIGHUP);
    let line = log.find("configuration read again: ");
    assert!(line.ends_with("no flag has changed"), "{line}");
    request(&ann, "/ping 2", "* pong 2");
}

#[test]
fn a_file_that_is_a_link_into_another_folder_is_read_again() {
    let (links, files) = (Folder::new("reload_link"), Folder::new("reload_target"));
    let (link, file) = (links.0.join("server.toml"), files.0.join("server.toml"));
    fs::write(&file, "max-peers = 1\n").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mut command = server_command(&["--bind", V4, "--config"]);
    command.arg(&link);
    let mut server = ServerProgram::start_command(command);
    let log = server.log();
    fs::write(&file, "max-peers = 2\n").unwrap();
    server.signal(Signal::SIGHUP);
    log.find("configuration read again: changed max-peers");
}

#[test]
fn what_is_logged_changes_and_texts_stay_out_of_the_log_of_a_public_server() {
    let folder = Folder::new("reload_log");
    let file = folder.0.join("server.toml");
    fs::write(&file, "").unwrap();
    let mut command = server_command(&["--bind", "0.0.0.0:0", "--config"]);
    command.arg(&file);
    let mut server = ServerProgram::start_command(command);
    server.address.set_ip(Ipv4Addr::LOCALHOST.into());
    let log = server.log();
    let ann = server.client();
    // Who writes to a loopback address is trusted.
    ann.send(b"secret");
    ann.expect_text_from(&ann, "secret");
    log.find("is here");
    fs::write(
        &file,
        "log = \"warn,bullhorn::server=info,bullhorn::text=info\"\n",
    )
    .unwrap();
    server.signal(Signal::SIGHUP);
    let next = log.next();
    assert!(
        next.ends_with("configuration read again: changed log"),
        "{next}"
    );
    ann.send(b"secret");
    ann.expect_text_from(&ann, "secret");
    ann.send(b"quit");
    // The worker that answers has handled the leave, and has sent its lines to the log.
    request(&ann, "/ping 1", "* pong 1");
    server.signal(Signal::SIGUSR1);
    let mut lines = vec![log.next()];
    while !lines.last().unwrap().contains("datagrams: 4 = ") {
        lines.push(log.next());
    }
    for unwanted in ["secret", "is down", "is here"] {
        let has_it = lines.iter().any(|line| line.contains(unwanted));
        assert!(!has_it, "{unwanted}: {lines:#?}");
    }
}

#[test]
fn what_is_logged_stays_the_same_at_a_mistake_in_another_file() {
    let folder = Folder::new("reload_log_mistake");
    let file = folder.0.join("server.toml");
    fs::write(&file, "").unwrap();
    let mut command = server_command(&["--bind", V4, "--state-dir", folder.path(), "--config"]);
    command.arg(&file);
    let mut server = ServerProgram::start_command(command);
    let log = server.log();
    let ann = server.client();
    server.expect_echo(&ann, "hi");
    fs::write(&file, "log = \"warn,bullhorn::server=info\"\n").unwrap();
    fs::write(folder.bans(), "everyone\n").unwrap();
    server.signal(Signal::SIGHUP);
    log.find("configuration not read again: --state-dir: ");
    ann.send(b"quit");
    request(&ann, "/ping 1", "* pong 1");
    assert!(log.next().ends_with("is down"));

    // The next reload finds the change.
    fs::write(folder.bans(), "").unwrap();
    server.signal(Signal::SIGHUP);
    log.find("configuration read again: changed log");
}
