//! Servers and services that answer each other, after somebody forged the first datagram. Judged by
//! counts.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::config::{ServiceKind, Switch};
use bullhorn::wire::v2::ClientFrame;
use common::v2_peer::{datagram, hello};
use common::{Client, Strangers, TestServer, bound_to_address_of};

#[test]
fn rings_of_servers_do_not_go_on() {
    use Kind::{Chat, ChatWithoutCommands, Greet};
    Strangers::in_both_modes(|strangers| {
        for kinds in [
            // With itself.
            &[Chat][..],
            &[ChatWithoutCommands],
            &[Greet],
            &[Chat, Chat],
            &[Chat, ChatWithoutCommands],
            &[ChatWithoutCommands, ChatWithoutCommands],
            &[Chat, Greet],
            &[ChatWithoutCommands, Greet],
            &[Greet, Greet],
            &[Chat, Chat, Chat],
            &[
                ChatWithoutCommands,
                ChatWithoutCommands,
                ChatWithoutCommands,
            ],
            &[Chat, ChatWithoutCommands, Greet],
            &[Greet, Greet, Greet],
        ] {
            for forged in [
                &b"@im@"[..],
                b"/nick eve",
                b"hi",
                b"",
                &hello(),
                b"/in 00000000",
            ] {
                expect_no_ring(strangers, kinds, forged);
            }
        }
    });
}

/// Forges a datagram in the name of each server to the next one, and then somebody says something.
fn expect_no_ring(strangers: &Strangers, kinds: &[Kind], forged: &[u8]) {
    let servers: Vec<_> = kinds.iter().map(|kind| kind.start(strangers)).collect();
    let speakers: Vec<_> = kinds
        .iter()
        .zip(&servers)
        .map(|(kind, server)| kind.speaker(strangers, server))
        .collect();
    for (number, server) in servers.iter().enumerate() {
        let next = &servers[(number + 1) % servers.len()];
        let forger = bound_to_address_of(server);
        forger.send_to(forged, &next.local_addr().into()).unwrap();
    }
    for (kind, speaker) in kinds.iter().zip(&speakers) {
        if !matches!(kind, Kind::Greet) {
            speaker.send(b"round and round");
            speaker.expect_text_from(speaker, "round and round");
        }
    }
    for (server, speaker) in servers.iter().zip(&speakers) {
        let datagrams = expect_quiet(server, speaker);
        assert!(datagrams <= 20, "{datagrams} for {forged:02x?} {kinds:?}");
        assert!(server.stats().peers <= 1, "{forged:02x?} {kinds:?}");
    }
}

#[test]
fn echo_services_are_sent_few_datagrams() {
    Strangers::in_both_modes(|strangers| {
        for count in [1, 2, 8] {
            let server = strangers.start();
            let lobby = [(); 3].map(|()| strangers.proved(&server));
            let echoes = forged_echoes(strangers, &server, count);
            for number in 0..10 {
                let text = format!("text {number}");
                lobby[0].send(text.as_bytes());
                for member in &lobby {
                    member.expect_text_from(&lobby[0], &text);
                }
            }
            expect_quiet(&server, &lobby[0]);
            stop(echoes);
            assert_eq!(server.stats().peers, 3);
        }
        let greet = Kind::Greet.start(strangers);
        let echoes = forged_echoes(strangers, &greet, 3);
        expect_quiet(&greet, &strangers.connect(&greet));
        stop(echoes);
    });
}

/// Starts echo services, and forges datagrams in their names.
fn forged_echoes(strangers: &Strangers, server: &TestServer, count: usize) -> Vec<Echo> {
    let forged = [&b"@im@"[..], b"hi\n", &hello()];
    let forged = forged.iter().cycle().take(count);
    let echoes = forged.map(|forged| {
        let echo = Echo::start(strangers.connect(server));
        for _ in 0..3 {
            echo.client.send(forged);
        }
        echo.client.send(b"/nick echo");
        echo.client.send(&datagram(7, &[ClientFrame::Say(b"hi")]));
        echo
    });
    echoes.collect()
}

#[track_caller]
fn stop(echoes: Vec<Echo>) {
    for echo in echoes {
        let echoed = echo.stop();
        assert!(echoed <= 20, "{echoed}");
    }
}

/// Waits until nothing comes to the server any more but the requests of `speaker`. Returns the number
/// of other datagrams since its start.
#[track_caller]
fn expect_quiet(server: &TestServer, speaker: &Client) -> u64 {
    let (mut requests, mut quiet, mut before) = (0, 0, 0);
    while quiet < 50 {
        // It has a reply from every service, in every configuration.
        speaker.send(b"/in");
        loop {
            let reply = speaker.receive();
            if reply.starts_with(b"* you are in ") || reply.starts_with(b"hello,(") {
                break;
            }
        }
        requests += 1;
        let others = server.stats().total().datagrams_in - requests;
        quiet = if others == before { quiet + 1 } else { 0 };
        before = others;
        assert!(others < 10_000, "a loop");
    }
    before
}

/// A kind of server.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Chat,
    ChatWithoutCommands,
    Greet,
}

impl Kind {
    fn start(self, strangers: &Strangers) -> TestServer {
        let mut config: ServerConfig = strangers.config.clone();
        match self {
            Self::Chat => {}
            Self::ChatWithoutCommands => config.commands = Switch::Off,
            Self::Greet => config.service = ServiceKind::Greet,
        }
        TestServer::start(config)
    }

    /// Returns a client that the server answers.
    fn speaker(self, strangers: &Strangers, server: &TestServer) -> Client {
        match self {
            Self::Greet => strangers.connect(server),
            Self::Chat | Self::ChatWithoutCommands => strangers.proved(server),
        }
    }
}

/// A service that sends everything back.
struct Echo {
    client: Arc<Client>,
    echoed: Arc<AtomicU64>,
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Echo {
    fn start(client: Client) -> Self {
        let client = Arc::new(client);
        let (echoed, is_stopping) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let socket = client.socket().try_clone().unwrap();
        let (count, stop) = (Arc::clone(&echoed), Arc::clone(&is_stopping));
        let thread = thread::spawn(move || {
            socket
                .set_read_timeout(Some(Duration::from_millis(10)))
                .unwrap();
            let mut buffer = [0; 2048];
            while !stop.load(SeqCst) {
                if let Ok(len) = socket.recv(&mut buffer) {
                    count.fetch_add(1, SeqCst);
                    socket.send(&buffer[..len]).unwrap();
                }
            }
        });
        Self {
            client,
            echoed,
            is_stopping,
            thread,
        }
    }

    /// Returns the number of datagrams that it sent back.
    fn stop(self) -> u64 {
        self.is_stopping.store(true, SeqCst);
        self.thread.join().unwrap();
        self.echoed.load(SeqCst)
    }
}
