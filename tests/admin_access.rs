//! The rules of who may read the admin server, and change something by it.

#![cfg(feature = "admin")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use bullhorn::ServerConfig;
use bullhorn::config::AdminConfig;
use common::admin::{Response, get, send};
use common::operator::{TOKEN, TokenFile, post};
use common::{ServerProgram, TestServer, V4, server_command, unpinned_config};

/// Sends a request with these headers.
#[track_caller]
fn ask(admin: SocketAddr, line: &str, headers: &[(&str, &str)]) -> Response {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    send(admin, line, &headers, "")
}

#[test]
fn the_token_decides_who_may_change_something() {
    let token = TokenFile::new("access");
    let server = TestServer::start(token.config());
    let admin = server.admin_addr().unwrap();
    let host = admin.to_string();
    let host = ("Host", &*host);
    let right = format!("Bearer {TOKEN}");
    let (right, short) = (("Authorization", &*right), &right[..right.len() - 1]);
    let wrong = format!("{short}X");
    for (headers, status) in [
        (&[host][..], 401),
        (&[host, ("Authorization", &wrong)], 401),
        (&[host, ("Authorization", short)], 401),
        (&[host, ("Authorization", TOKEN)], 401),
        // The token is right, and there is no body.
        (&[host, right], 415),
        (&[("Host", "admin.example"), right], 415),
    ] {
        let answer = ask(admin, "POST /api/v1/kick", headers);
        let (found, sentence) = answer.refusal();
        assert_eq!(found, status, "{headers:?}: {sentence}");
        let asks = answer.header("www-authenticate");
        assert_eq!(asks, (status == 401).then_some("Bearer"));
        assert!(status != 401 || sentence.contains("--admin-token-file"));
    }
    assert_eq!(get(admin, "/api/v1/peers").status, 200, "without a token");
    assert_eq!(
        ask(admin, "GET /metrics", &[host, ("Authorization", &wrong)]).status,
        401
    );
    // The wrong ones have not kept the right one out.
    assert_eq!(post(admin, "/api/v1/say", "{\"text\": \"hi\"}").status, 200);
    server.stop();
}

#[test]
fn without_a_token_file_nothing_can_be_changed() {
    let server = TestServer::start(ServerConfig {
        admin: AdminConfig {
            address: Some(V4.parse().unwrap()),
            token_file: None,
        },
        ..unpinned_config(1, V4)
    });
    let admin = server.admin_addr().unwrap();
    let (status, sentence) = post(admin, "/api/v1/drain", "{\"time_s\": 0}").refusal();
    assert_eq!(status, 403);
    assert!(sentence.contains("--admin-token-file FILE"), "{sentence}");
    assert_eq!(get(admin, "/api/v1/peers").status, 200);
    server.stop();
}

#[test]
fn a_public_address_needs_the_token_for_everything() {
    let token = TokenFile::new("public");
    let config = token.config();
    let server = TestServer::start(ServerConfig {
        admin: AdminConfig {
            address: Some("0.0.0.0:0".parse().unwrap()),
            ..config.admin
        },
        ..config
    });
    let admin = SocketAddr::from(([127, 0, 0, 1], server.admin_addr().unwrap().port()));
    let (host, right) = (admin.to_string(), format!("Bearer {TOKEN}"));
    for path in ["/metrics", "/api/v1/peers", "/api/v1/openapi.json", "/x"] {
        let line = format!("GET {path}");
        assert_eq!(get(admin, path).refusal().0, 401, "{path}");
        let with = ask(admin, &line, &[("Host", &host), ("Authorization", &right)]);
        assert_eq!(with.status, if path == "/x" { 404 } else { 200 }, "{path}");
        let by_name = [
            ("Host", "bullhorn.internal:9990"),
            ("Authorization", &*right),
        ];
        assert_ne!(ask(admin, &line, &by_name).status, 421, "{path}");
    }
    // Probes have no token.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            ask(admin, &format!("GET {path}"), &[]).status,
            200,
            "{path}"
        );
    }
    server.stop();
}

#[test]
fn a_page_of_another_site_can_neither_read_nor_change_anything() {
    let token = TokenFile::new("sites");
    let server = TestServer::start(token.config());
    let admin = server.admin_addr().unwrap();
    let (host, right) = (admin.to_string(), format!("Bearer {TOKEN}"));
    let host = ("Host", &*host);
    // A name of the attacker that has the address of this server (DNS rebinding).
    for name in [
        "evil.example",
        "localhost.evil.example:9990",
        "127.0.0.1.evil.example",
    ] {
        for path in ["/metrics", "/api/v1/peers", "/api/v1/limits"] {
            let answer = ask(admin, &format!("GET {path}"), &[("Host", name)]);
            let (status, sentence) = answer.refusal();
            assert_eq!(status, 421, "{name}");
            assert!(sentence.contains("localhost"), "{sentence}");
        }
    }
    let port = admin.port();
    for name in [
        "localhost".to_owned(),
        format!("localhost:{port}"),
        "[::1]:1".to_owned(),
    ] {
        assert_eq!(
            ask(admin, "GET /api/v1/limits", &[("Host", &name)]).status,
            200,
            "{name}"
        );
    }
    assert_eq!(ask(admin, "GET /api/v1/limits", &[]).status, 400);
    assert_eq!(
        ask(
            admin,
            "GET /api/v1/limits",
            &[host, ("Host", "evil.example")]
        )
        .status,
        400
    );

    let own = format!("http://{admin}");
    for (origin, status) in [(&*own, 415), ("http://evil.example", 403), ("null", 403)] {
        let headers = [host, ("Authorization", &*right), ("Origin", origin)];
        let (found, sentence) = ask(admin, "POST /api/v1/kick", &headers).refusal();
        assert_eq!(found, status, "{origin}: {sentence}");
    }
    // A browser asks before it lets another site send JSON or a token.
    let preflight = [
        host,
        ("Origin", "http://evil.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    let answer = ask(admin, "OPTIONS /api/v1/kick", &preflight);
    assert_eq!(answer.status, 401);
    for path in ["/metrics", "/api/v1/peers", "/healthz", "/nothing"] {
        let headers = [host, ("Origin", "http://evil.example")];
        let answer = ask(admin, &format!("GET {path}"), &headers);
        let is_cors = |(name, _): &(String, String)| name.starts_with("access-control-");
        assert!(!answer.headers.iter().any(is_cors), "{answer:?}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(
            !policy.contains("-inline") && !policy.contains("-eval"),
            "{policy}"
        );
    }
    server.stop();
}

/// Runs the program, which must not start.
#[track_caller]
fn fails(arguments: &[&str]) -> (Option<i32>, String) {
    let output: Output = server_command(&["--bind", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), errors)
}

#[test]
fn flags_that_expose_the_server_are_refused() {
    let (code, errors) = fails(&["--admin", "0.0.0.0:0"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("--admin-token-file"), "{errors}");
    let (code, errors) = fails(&["--admin-token-file", "/nowhere"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("--admin"), "{errors}");
    let (code, errors) = fails(&["--admin", "localhost"]);
    assert_eq!(code, Some(2), "{errors}");
}

#[test]
fn an_address_in_use_and_a_bad_token_file_end_the_start() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let (code, errors) = fails(&["--admin", &address]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        errors.contains(&format!("--admin {address}: Address already in use")),
        "{errors}"
    );

    let admin = ["--admin", "127.0.0.1:0", "--admin-token-file"];
    let with = |file: &str| fails(&[&admin[..], &[file]].concat());
    let (code, errors) = with("/nowhere/token");
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        errors.contains("--admin-token-file /nowhere/token: No such file"),
        "{errors}"
    );
    for (name, content) in [
        ("short", "0123456789abcde"),
        ("long", &"x".repeat(257)),
        ("blank", "0123456789 abcdef"),
        ("empty", ""),
        ("control", "0123456789abcdef\x07"),
    ] {
        let file = TokenFile::write(name, content);
        let (code, errors) = with(file.path.to_str().unwrap());
        assert_eq!(code, Some(1), "{name}: {errors}");
        assert!(errors.contains("16 to 256 visible characters"), "{errors}");
        assert!(
            content.is_empty() || !errors.contains(content),
            "it is secret: {errors}"
        );
    }
}

#[test]
fn a_token_that_others_may_read_is_a_warning_at_the_start() {
    let token = TokenFile::new("mode");
    let path = token.path.to_str().unwrap();
    for (mode, is_warned) in [(0o644, true), (0o620, true), (0o600, false)] {
        fs::set_permissions(&token.path, fs::Permissions::from_mode(mode)).unwrap();
        let server = ServerProgram::start(&["--admin", V4, "--admin-token-file", path]);
        let warning = format!("{path}: other users may read or change it: chmod 600 {path}");
        let lines = &server.startup_lines;
        let has_it = lines.iter().any(|line| line.trim_end().ends_with(&warning));
        assert_eq!(has_it, is_warned, "{mode:o}: {lines:#?}");
    }
}

#[test]
fn the_program_takes_changes_in_its_strict_sandbox() {
    let token = TokenFile::new("program");
    // As the user may have it.
    fs::set_permissions(&token.path, fs::Permissions::from_mode(0o600)).unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (admin, path) = (free.to_string(), token.path.to_str().unwrap());
    let mut program = ServerProgram::start(&["--admin", &admin, "--admin-token-file", path]);
    let client = program.client();
    program.expect_echo(&client, "hi");
    assert_eq!(get(free, "/api/v1/peers").success()["total"], 1);
    assert_eq!(
        post(free, "/api/v1/say", "{\"text\": \"hello\"}").success()["told"],
        1
    );
    assert_eq!(client.receive_text(), "* operator: hello");
    assert_eq!(
        post(free, "/api/v1/ban", "{\"net\": \"192.0.2.7\"}").status,
        200
    );
    assert_eq!(post(free, "/api/v1/drain", "{\"time_s\": 0}").status, 200);
    assert_eq!(client.receive_text(), "* the server stops in 0 s");
    program.expect_success();
}
