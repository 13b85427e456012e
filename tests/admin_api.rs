//! Lists and changes of the operator, by the admin server.

#![cfg(feature = "admin")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::net::SocketAddr;

use bullhorn::ServerConfig;
use bullhorn::config::ServiceKind;
use bullhorn::wire::Reply;
use bullhorn::wire::v2::{ClientFrame, ServerFrame};
use common::admin::{get, send};
use common::operator::{TOKEN, TokenFile, post};
use common::v2_peer::V2Peer;
use common::{Moderated, TestServer, expect_frames, notice, request, wait_until};
use serde_json::{Value, json};

/// A server with an admin server.
struct Operated {
    host: Moderated,
    admin: SocketAddr,
    _token: TokenFile,
}

impl Operated {
    fn start(name: &str) -> Self {
        Self::start_with(name, |config| config)
    }

    fn start_with(name: &str, change: impl FnOnce(ServerConfig) -> ServerConfig) -> Self {
        let token = TokenFile::new(name);
        let host = Moderated::start_with(change(token.config()));
        Self {
            admin: host.server.admin_addr().unwrap(),
            host,
            _token: token,
        }
    }

    /// Carries out a change.
    #[track_caller]
    fn done(&self, path: &str, body: &Value) -> Value {
        post(self.admin, path, &body.to_string()).success()
    }

    /// Returns the status and the sentence of a change that is refused.
    #[track_caller]
    fn refused(&self, path: &str, body: &Value) -> (u16, String) {
        post(self.admin, path, &body.to_string()).refusal()
    }

    #[track_caller]
    fn list(&self, path: &str) -> Value {
        get(self.admin, path).success()
    }

    fn v2(&self) -> V2Peer {
        V2Peer::open(self.host.server.unregistered_client())
    }
}

#[test]
fn peers_and_rooms_are_listed_in_pages_and_by_a_part() {
    let operated = Operated::start("lists");
    let (ada, bob) = (operated.host.named("Ada"), operated.v2());
    bob.send(&[ClientFrame::Command(b"/join den")]);
    bob.client.receive();
    operated.done("/api/v1/mute", &json!({"whom": "ada", "time_s": 60}));
    assert_eq!(
        operated.list("/api/v1/peers?part=ADA"),
        json!({
            "peers": [{
                "address": ada.address().to_string(), "name": "Ada", "room": "lobby", "version": 1,
                "is_trusted": true, "is_muted": true, "silent_s": 0,
            }],
            "first": 0, "total": 1,
        })
    );
    let by_room = operated.list("/api/v1/peers?part=den");
    assert_eq!(by_room["peers"][0]["name"], Value::Null);
    assert_eq!(by_room["peers"][0]["version"], 2);
    let page = operated.list("/api/v1/peers?first=1&max=1");
    assert_eq!((&page["first"], &page["total"]), (&json!(1), &json!(2)));
    assert_eq!(page["peers"].as_array().unwrap().len(), 1);

    let den = json!({"name": "den", "members": 1, "v1": 0, "v2": 1});
    let lobby = json!({"name": "lobby", "members": 1, "v1": 1, "v2": 0});
    assert_eq!(
        operated.list("/api/v1/rooms"),
        json!({"rooms": [den, lobby], "first": 0, "total": 2})
    );
    assert_eq!(
        operated.list("/api/v1/rooms?part=LOB&max=1"),
        json!({"rooms": [lobby], "first": 0, "total": 1})
    );
    for (query, status) in [
        ("max=0", 422),
        ("max=1001", 422),
        ("first=10001", 422),
        (&format!("part={}", "x".repeat(129)), 422),
        ("max=many", 400),
        ("first=-1", 400),
        ("page=2", 400),
    ] {
        for path in ["peers", "rooms"] {
            let (found, sentence) =
                get(operated.admin, &format!("/api/v1/{path}?{query}")).refusal();
            assert_eq!(found, status, "{path}?{query}");
            assert!(
                sentence.contains("max") || sentence.contains("part") || sentence.contains("page")
            );
        }
    }
}

#[test]
fn workers_and_limits_are_listed() {
    let operated = Operated::start("workers");
    let ada = operated.host.server.client();
    ada.send(b"hi");
    ada.receive();
    let mut list = Value::Null;
    wait_until("the next sample", || {
        list = operated.list("/api/v1/workers");
        let workers = list["workers"].as_array().unwrap();
        let texts = workers
            .iter()
            .map(|worker| worker["counts"]["texts"].as_u64());
        texts.flatten().sum::<u64>() == 1
    });
    let workers = list["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2);
    for (worker, name) in workers.iter().zip(["worker-0", "worker-1"]) {
        assert_eq!(worker["name"], name);
        assert_eq!(
            (&worker["core"], &worker["is_stuck"]),
            (&Value::Null, &json!(false))
        );
        assert!((0.0..=1.0).contains(&worker["busy"].as_f64().unwrap()));
        assert_eq!(worker["drops"]["draining"], 0);
    }
    let limits = operated.list("/api/v1/limits");
    let limits = limits["limits"].as_array().unwrap();
    let in_force = operated.host.server.handle();
    assert_eq!(limits.len(), in_force.limits().len());
    for (limit, expected) in limits.iter().zip(in_force.limits().iter()) {
        assert_eq!(limit["flag"], expected.flag);
        assert_eq!(limit["max"].as_u64(), expected.max);
        assert_eq!(limit["is_per_second"], expected.is_rate);
    }
}

#[test]
fn what_the_operator_says_is_heard_by_v1_and_v2_peers() {
    let operated = Operated::start("say");
    let (ada, bob) = (operated.host.named("ada"), operated.v2());
    let told = operated.done(
        "/api/v1/say",
        &json!({"room": "Lobby", "text": "hi \"all\" ü"}),
    );
    assert_eq!(told, json!({"told": 2}));
    assert_eq!(ada.receive_text(), "* operator: hi \"all\" ü");
    let mut text = Vec::new();
    let said = Reply::Operator("hi \"all\" ü".as_bytes());
    expect_frames(&bob, &[notice(&said, &mut text)]);
    let told = operated.done("/api/v1/say", &json!({"text": "x".repeat(500)}));
    assert_eq!(told, json!({"told": 2}));
    for (body, status) in [
        (json!({"room": "den", "text": "hi"}), 404),
        (json!({"room": "a b", "text": "hi"}), 422),
        (json!({"text": ""}), 422),
        (json!({"text": "a\nb"}), 422),
        (json!({"text": "\u{1b}[2J"}), 422),
        (json!({"text": "x".repeat(501)}), 422),
        (json!({"room": "lobby"}), 422),
        (json!({"text": 5}), 422),
        (json!({"text": "hi", "to": "ada"}), 422),
    ] {
        let (found, sentence) = operated.refused("/api/v1/say", &body);
        assert_eq!(found, status, "{body}: {sentence}");
    }
}

#[test]
fn a_peer_is_kicked_by_its_name() {
    let operated = Operated::start("kick");
    let (ada, bob) = (operated.host.named("ada"), operated.v2());
    let kicked = operated.done("/api/v1/kick", &json!({"whom": "ADA"}));
    let expected = json!({"address": ada.address().to_string(), "name": "ada", "time_s": 30});
    assert_eq!(kicked, expected);
    assert_eq!(ada.receive_text(), "* removed by the operator");
    let address = bob.client.address().to_string();
    let kicked = operated.done("/api/v1/kick", &json!({"whom": address}));
    assert_eq!(kicked["name"], Value::Null);
    let mut text = Vec::new();
    let removed = notice(&Reply::Removed, &mut text);
    expect_frames(&bob, &[removed, ServerFrame::Goodbye]);
    assert_eq!(
        operated.refused("/api/v1/kick", &json!({"whom": "ada"})),
        (404, "no such peer: ada".to_owned())
    );
    assert_eq!(
        operated.refused("/api/v1/kick", &json!({"whom": "a b"})).0,
        422
    );
    assert_eq!(operated.refused("/api/v1/kick", &json!({})).0, 422);
}

#[test]
fn a_peer_is_muted_and_unmuted() {
    let operated = Operated::start("mute");
    let ada = operated.host.named("ada");
    let muted = operated.done("/api/v1/mute", &json!({"whom": "ada"}));
    assert_eq!(muted["time_s"], 600);
    assert_eq!(ada.receive_text(), "* muted by the operator for 600 s");
    operated.host.expect_muted(&ada, b"hi");
    let unmuted = operated.done("/api/v1/unmute", &json!({"whom": "ada"}));
    assert_eq!(
        unmuted,
        json!({"address": ada.address().to_string(), "name": "ada"})
    );
    assert_eq!(ada.receive_text(), "* not muted any more");
    request(&ada, "/ping 1", "* pong 1");
    for (path, body, status) in [
        ("/api/v1/unmute", json!({"whom": "ada"}), 409),
        ("/api/v1/unmute", json!({"whom": "eve"}), 404),
        ("/api/v1/mute", json!({"whom": "eve"}), 404),
        ("/api/v1/mute", json!({"whom": "ada", "time_s": 0}), 422),
        (
            "/api/v1/mute",
            json!({"whom": "ada", "time_s": u64::MAX}),
            422,
        ),
        ("/api/v1/mute", json!({"whom": "ada", "time_s": "1h"}), 422),
    ] {
        assert_eq!(operated.refused(path, &body).0, status, "{path} {body}");
    }
}

#[test]
fn a_network_is_banned_and_unbanned_and_the_file_keeps_it() {
    let folder = std::env::temp_dir().join(format!("bullhorn-api-bans-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let state_dir = Some(folder.clone());
    let operated = Operated::start_with("ban", |config| ServerConfig {
        state_dir,
        ..config
    });
    let ada = operated.host.named("ada");
    let banned = operated.done("/api/v1/ban", &json!({"net": "127.0.0.1"}));
    let expected = json!({
        "net": "127.0.0.1/32", "until": null, "removed": 1, "kept": "file", "problem": null,
    });
    assert_eq!(banned, expected);
    assert_eq!(ada.receive_text(), "* removed by the operator");
    let later = operated.done(
        "/api/v1/ban",
        &json!({"net": "192.0.2.9/24", "time_s": 3600}),
    );
    assert_eq!(
        (&later["net"], &later["removed"]),
        (&json!("192.0.2.0/24"), &json!(0))
    );
    let bans = operated.list("/api/v1/bans");
    assert_eq!(
        bans["bans"][0],
        json!({"net": "127.0.0.1/32", "until": null})
    );
    assert_eq!(bans["bans"][1]["until"], later["until"]);
    let file = fs::read_to_string(folder.join("bans")).unwrap();
    assert!(file.contains("127.0.0.1/32 for ever\n"), "{file}");
    let ended = operated.done("/api/v1/unban", &json!({"net": "127.0.0.1"}));
    assert_eq!(
        (&ended["net"], &ended["kept"]),
        (&json!("127.0.0.1/32"), &json!("file"))
    );
    for (path, body, status) in [
        ("/api/v1/unban", json!({"net": "127.0.0.1"}), 409),
        ("/api/v1/unban", json!({"net": "everyone"}), 422),
        ("/api/v1/ban", json!({"net": "192.0.2.0/33"}), 422),
        (
            "/api/v1/ban",
            json!({"net": "192.0.2.0/24", "time_s": 0}),
            422,
        ),
    ] {
        assert_eq!(operated.refused(path, &body).0, status, "{path} {body}");
    }
    // The file cannot be replaced any more, and the ban holds nevertheless.
    fs::remove_dir_all(&folder).unwrap();
    let banned = operated.done("/api/v1/ban", &json!({"net": "198.51.100.0/24"}));
    assert_eq!(banned["kept"], "failed");
    assert!(banned["problem"].as_str().unwrap().contains("bans.new"));
}

#[test]
fn a_server_is_drained() {
    let operated = Operated::start("drain");
    let (ada, bob) = (operated.host.named("ada"), operated.v2());
    for body in [json!({"time_s": 3601}), json!({"time_s": -1}), json!({})] {
        assert_eq!(operated.refused("/api/v1/drain", &body).0, 422, "{body}");
    }
    assert_eq!(get(operated.admin, "/readyz").status, 200);
    let told = operated.done("/api/v1/drain", &json!({"time_s": 60}));
    assert_eq!(told, json!({"told": 2}));
    assert_eq!(ada.receive_text(), "* the server stops in 60 s");
    let mut text = Vec::new();
    expect_frames(&bob, &[notice(&Reply::Stopping(60), &mut text)]);
    let ready = get(operated.admin, "/readyz");
    assert_eq!((ready.status, &*ready.body), (503, "draining\n"));
    let eve = operated.host.server.unregistered_client();
    eve.send(b"@im@");
    assert_eq!(eve.receive_text(), "* stopping soon, no newcomers");
    operated.host.time.set(60_000);
    operated.host.server.wait_for_end().unwrap();
    expect_frames(&bob, &[ServerFrame::Goodbye]);
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let operated = Operated::start("bodies");
    let post_as = |kind: &str, body: &str| {
        let headers = format!(
            "Host: {}\r\nAuthorization: Bearer {TOKEN}\r\n{kind}Content-Length: {}\r\n",
            operated.admin,
            body.len()
        );
        send(operated.admin, "POST /api/v1/say", &headers, body)
            .refusal()
            .0
    };
    let (json, text) = ("Content-Type: application/json\r\n", "{\"text\": \"hi\"}");
    for (kind, body, status) in [
        (json, "", 400),
        (json, "{\"text\": ", 400),
        (json, "{\"text\": \"hi\"} x", 400),
        (json, "[]", 422),
        (json, "null", 422),
        ("", text, 415),
        ("Content-Type: text/plain\r\n", text, 415),
        (
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "text=hi",
            415,
        ),
        (
            json,
            &format!("{{\"text\": \"{}\"}}", "x".repeat(17 << 10)),
            413,
        ),
    ] {
        assert_eq!(post_as(kind, body), status, "{kind}{}", body.len());
    }
    // The same without a length.
    let headers = format!(
        "Host: {}\r\nAuthorization: Bearer {TOKEN}\r\n{json}Transfer-Encoding: chunked\r\n",
        operated.admin
    );
    let chunks = format!("4000\r\n{}\r\n", " ".repeat(0x4000)).repeat(3);
    let refused = send(operated.admin, "POST /api/v1/say", &headers, &chunks);
    assert_eq!(refused.refusal().0, 413);
    let charset = "Content-Type: Application/JSON; charset=utf-8\r\n";
    let headers = format!(
        "Host: {}\r\nAuthorization: Bearer {TOKEN}\r\n{charset}Content-Length: {}\r\n",
        operated.admin,
        text.len()
    );
    assert_eq!(
        send(operated.admin, "POST /api/v1/say", &headers, text).status,
        200
    );
}

#[test]
fn other_paths_and_methods_are_refused() {
    let operated = Operated::start("paths");
    for path in [
        "/api",
        "/api/v1/",
        "/api/v2/peers",
        "/api/v1/peers/",
        "/api/v1/../v1/peers",
    ] {
        let (status, sentence) = get(operated.admin, path).refusal();
        assert_eq!(status, 404, "{path}");
        assert!(sentence.contains("/api/v1/openapi.json"));
    }
    let read = get(operated.admin, "/api/v1/kick");
    assert_eq!(
        (read.refusal().0, read.header("allow")),
        (405, Some("POST"))
    );
    let changed = post(operated.admin, "/api/v1/peers", "{}");
    assert_eq!(
        (changed.refusal().0, changed.header("allow")),
        (405, Some("GET,HEAD"))
    );
}

#[test]
fn a_greeting_server_has_no_peers_and_says_so() {
    let token = TokenFile::new("greet");
    let server = TestServer::start(ServerConfig {
        service: ServiceKind::Greet,
        ..token.config()
    });
    let admin = server.admin_addr().unwrap();
    for path in ["/api/v1/workers", "/api/v1/limits", "/healthz", "/readyz"] {
        assert_eq!(get(admin, path).status, 200, "{path}");
    }
    let none = (409, "the greeting service has no peers".to_owned());
    for path in ["/api/v1/peers", "/api/v1/rooms", "/api/v1/bans"] {
        assert_eq!(get(admin, path).refusal(), none, "{path}");
    }
    for (path, body) in [
        ("/api/v1/say", json!({"text": "hi"})),
        ("/api/v1/kick", json!({"whom": "ada"})),
        ("/api/v1/drain", json!({"time_s": 0})),
        ("/api/v1/ban", json!({"net": "192.0.2.7"})),
    ] {
        assert_eq!(
            post(admin, path, &body.to_string()).refusal(),
            none,
            "{path}"
        );
    }
    server.stop();
}
