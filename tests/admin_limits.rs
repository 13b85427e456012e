//! Clients of the admin server that hang or flood it: the chat goes on, and so does the operator.

#![cfg(feature = "admin")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::admin::{get, read_answer};
use common::operator::{TOKEN, TokenFile, post};
use common::{Client, ServerProgram, TIMEOUT, request, wait_until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The program with an admin server, and two peers.
struct Attacked {
    program: ServerProgram,
    admin: SocketAddr,
    peers: [Client; 2],
    rss_kib: u64,
    _token: TokenFile,
}

impl Attacked {
    fn start(name: &str) -> Self {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        let token = TokenFile::new(name);
        let admin = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let (address, path) = (admin.to_string(), token.path.to_str().unwrap());
        let program = ServerProgram::start(&[
            "--admin",
            &address,
            "--admin-token-file",
            path,
            "--workers",
            "2",
            "--no-pin",
            "--timeout",
            "1h",
        ]);
        let mut attacked = Self {
            peers: [program.client(), program.client()],
            program,
            admin,
            rss_kib: 0,
            _token: token,
        };
        for peer in &attacked.peers {
            request(peer, "/ping 1", "* pong 1");
        }
        assert_eq!(get(admin, "/api/v1/peers").status, 200);
        attacked.rss_kib = attacked.rss_kib();
        attacked
    }

    /// The chat and the operator are served.
    #[track_caller]
    fn expect_service(&self) {
        for text in 0..20 {
            let text = format!("text {text}");
            self.peers[0].send(text.as_bytes());
            for peer in &self.peers {
                peer.expect_text_from(&self.peers[0], &text);
            }
        }
        assert_eq!(get(self.admin, "/healthz").status, 200);
        assert_eq!(get(self.admin, "/api/v1/peers").success()["total"], 2);
        assert_eq!(
            post(self.admin, "/api/v1/say", "{\"text\": \"hi\"}").status,
            200
        );
        for peer in &self.peers {
            assert_eq!(peer.receive_text(), "* operator: hi");
        }
    }

    /// Memory of the program in KiB.
    fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The memory has not grown by more than the limits of the connections allow.
    #[track_caller]
    fn expect_bounded_memory(&self) {
        let grown = self.rss_kib().saturating_sub(self.rss_kib);
        assert!(grown < MAX_GROWTH_KIB, "{grown} KiB");
    }

    /// Number of sockets that the program has open.
    fn sockets(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.program.pid())).unwrap();
        let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Opens a stream of events, and reads its first ones.
    fn stream(&self) -> TcpStream {
        let mut stream = self.connect();
        stream
            .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"\n\n\r\n") {
            let read = stream.read(&mut bytes).unwrap();
            assert_ne!(read, 0, "the stream has ended");
            text.extend_from_slice(&bytes[..read]);
        }
        stream
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream
    }
}

#[test]
fn a_thousand_silent_connections_keep_nobody_out() {
    let attacked = Attacked::start("silent");
    let before = attacked.sockets();
    let mut silent: Vec<_> = (0..1_000).map(|_| attacked.connect()).collect();
    attacked.expect_service();
    // At most as many as there may be stay open, and the next one.
    wait_until("the others are closed", || {
        attacked.sockets() <= before + 65
    });
    attacked.expect_bounded_memory();
    // Those that are closed know it, the oldest first.
    assert_eq!(silent[0].read(&mut [0; 1]).unwrap_or(0), 0);
    // They come again, without end, and the operator is served in between.
    for _ in 0..5 {
        silent = (0..200).map(|_| attacked.connect()).collect();
        attacked.expect_service();
    }
    drop(silent);
    wait_until("all are closed", || attacked.sockets() <= before);
    attacked.expect_service();
}

#[test]
fn silent_connections_end_by_themselves() {
    let attacked = Attacked::start("end");
    let mut half = attacked.connect();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc")
        .unwrap();
    let mut whole = attacked.connect();
    whole
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    for stream in [&mut half, &mut whole] {
        // Up to the end of the connection, which the server makes.
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }
    attacked.expect_service();
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let attacked = Attacked::start("head");
    let mut stream = attacked.connect();
    let name = "x".repeat(20 << 10);
    let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nName: {name}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
}

#[test]
fn an_answer_under_way_is_not_closed_for_others_and_streams_leave_places_for_them() {
    let attacked = Attacked::start("streams");
    let before = attacked.sockets();
    let mut stream = attacked.stream();
    let _silent: Vec<_> = (0..200).map(|_| attacked.connect()).collect();
    attacked.expect_service();
    // The next second is still sent.
    stream.read_exact(&mut [0; 1]).unwrap();
    let _streams: Vec<_> = (1..32).map(|_| attacked.stream()).collect();
    let refused = get(attacked.admin, "/api/v1/events");
    assert_eq!(refused.status, 503);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(get(attacked.admin, "/healthz").status, 200);
                }
            });
        }
    });
    assert!(attacked.sockets() <= before + MAX_OPEN + 1);
    stream.read_exact(&mut [0; 1]).unwrap();
    attacked.expect_bounded_memory();
}

#[test]
fn a_body_without_end_is_refused() {
    let attacked = Attacked::start("body");
    let head = |length: &str| {
        format!(
            "POST /api/v1/say HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\n{length}\r\n\r\n",
            attacked.admin
        )
    };
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let mut endless = attacked.connect();
    endless
        .write_all(head("Transfer-Encoding: chunked").as_bytes())
        .unwrap();
    let started = Instant::now();
    // Until the server closes the connection.
    while endless.write_all(chunk.as_bytes()).is_ok() {
        assert!(started.elapsed() < TIMEOUT, "it reads without end");
    }
    // Also on paths that read no body, and with a length that is a lie.
    for line in ["GET /healthz", "POST /nothing", "POST /api/v1/peers"] {
        let mut stream = attacked.connect();
        let request = head("Transfer-Encoding: chunked").replace("POST /api/v1/say", line);
        stream.write_all(request.as_bytes()).unwrap();
        let started = Instant::now();
        while stream.write_all(chunk.as_bytes()).is_ok() {
            assert!(started.elapsed() < TIMEOUT, "it reads without end");
        }
    }
    let mut large = attacked.connect();
    large
        .write_all(head("Content-Length: 1000000000000").as_bytes())
        .unwrap();
    let answer = read_answer(&mut large).unwrap();
    assert_eq!(answer.refusal().0, 413);
    attacked.expect_bounded_memory();
    attacked.expect_service();
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let attacked = Attacked::start("slow-body");
    let mut slow: Vec<_> = (0..MAX_OPEN).map(|_| attacked.connect()).collect();
    for stream in &mut slow {
        let head = format!(
            "POST /api/v1/say HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{{",
            attacked.admin
        );
        stream.write_all(head.as_bytes()).unwrap();
    }
    // All connections have a request under way, and the operator is served.
    attacked.expect_service();
    let answers: Vec<_> = slow.iter_mut().map(read_answer).collect();
    let statuses: Vec<_> = answers
        .iter()
        .flatten()
        .map(|answer| answer.status)
        .collect();
    // Those that made room for the operator have no answer.
    assert!(statuses.len() >= MAX_OPEN - 10, "{}", statuses.len());
    assert!(statuses.iter().all(|status| *status == 408), "{statuses:?}");
    attacked.expect_service();
}

#[test]
fn a_reader_that_does_not_read_is_closed() {
    let attacked = Attacked::start("reader");
    let before = attacked.sockets();
    let mut lazy: Vec<_> = (0..MAX_OPEN).map(|_| attacked.connect()).collect();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", attacked.admin);
    let requests = request.repeat(50);
    for stream in &mut lazy {
        // It asks for more and more, and reads nothing, until the server takes nothing any more.
        stream
            .set_write_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        for _ in 0..20 {
            if stream.write_all(requests.as_bytes()).is_err() {
                break;
            }
        }
    }
    attacked.expect_service();
    attacked.expect_bounded_memory();
    wait_until("they are closed", || attacked.sockets() <= before);
    attacked.expect_service();
}

#[test]
fn wrong_tokens_do_not_keep_the_right_one_out() {
    let mut attacked = Attacked::start("guesses");
    let mut guesses: Vec<_> = (0..200).map(|_| attacked.connect()).collect();
    for stream in &mut guesses {
        let guess = format!(
            "POST /api/v1/say HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            attacked.admin,
            TOKEN.to_uppercase()
        );
        // Some are closed to make room.
        let _ = stream.write_all(guess.as_bytes());
    }
    let started = Instant::now();
    let mut wrong = attacked.connect();
    wrong
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(read_answer(&mut wrong).unwrap().status, 401);
    assert!(started.elapsed() >= Duration::from_millis(500));
    attacked.expect_service();
    let answers = guesses.iter_mut().filter_map(|stream| {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok().map(|()| answer)
    });
    let answers: Vec<_> = answers.collect();
    assert!(!answers.is_empty());
    assert!(answers.iter().all(|answer| answer == b"HTTP/1.1 401"));
    attacked.expect_service();
    let log = attacked.program.log();
    log.find("requests to the admin server with a wrong token");
}

/// As many connections as may be open.
const MAX_OPEN: usize = 64;

/// Each of the connections may have 16 KiB for the head, and as much for a body and an answer.
const MAX_GROWTH_KIB: u64 = 16 << 10;
