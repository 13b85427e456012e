//! A server whose operator lists, removes, mutes and bans peers.

use std::time::Duration;

use bullhorn::moderation::Moderation;
use bullhorn::stats::{Counts, DropReason};
use bullhorn::wire::Reply;
use bullhorn::wire::v2::{ServerFrame, parse_server};
use bullhorn::{ServerConfig, ServerHandle};

use super::v2_peer::V2Peer;
use super::{Client, TestServer, Time, V4, unpinned_config, wait_until};

/// A server whose peers do not expire, and the time of its clock.
pub(crate) struct Moderated {
    pub(crate) server: TestServer,
    handle: ServerHandle,
    pub(crate) time: Time,
}

impl Moderated {
    pub(crate) fn start() -> Self {
        Self::start_with(unpinned_config(2, V4))
    }

    pub(crate) fn start_with(config: ServerConfig) -> Self {
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

    pub(crate) fn moderation(&self) -> &Moderation {
        self.handle.moderation().unwrap()
    }

    pub(crate) fn total(&self) -> Counts {
        self.server.stats().total()
    }

    /// Registers a v1 client with a name.
    pub(crate) fn named(&self, name: &str) -> Client {
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
    pub(crate) fn expect_drop(&self, client: &Client, datagram: &[u8], reason: DropReason) {
        let before = self.total().dropped(reason);
        client.send(datagram);
        wait_until(reason.name(), || self.total().dropped(reason) == before + 1);
        assert!(client.inbox_is_empty());
    }

    /// Sends a text or direct message that must be dropped, without a reply.
    #[track_caller]
    pub(crate) fn expect_muted(&self, client: &Client, datagram: &[u8]) {
        let before = self.total().messages_muted;
        client.send(datagram);
        wait_until("a muted message", || {
            self.total().messages_muted == before + 1
        });
        assert!(client.inbox_is_empty());
    }
}

#[track_caller]
pub(crate) fn request(client: &Client, line: &str, reply: &str) {
    client.send(line.as_bytes());
    assert_eq!(client.receive_text(), reply);
}

/// Receives the next datagram of a v2 peer, which must be these frames.
#[track_caller]
pub(crate) fn expect_frames(peer: &V2Peer, expected: &[ServerFrame<'_>]) {
    let answer = peer.client.receive();
    let frames: Vec<_> = parse_server(&answer).unwrap().collect();
    assert_eq!(frames, expected);
}

/// Returns the frame with a sentence.
pub(crate) fn notice<'a>(reply: &Reply<'_>, text: &'a mut Vec<u8>) -> ServerFrame<'a> {
    reply.push(text);
    ServerFrame::Notice(reply.code(), text)
}

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
