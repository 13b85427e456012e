//! The notices that the notifier has to send.

use bullhorn::wire::v2::{self, ServerFrame, push_server_frame, push_server_header};
use bullhorn::wire::{Protocol, Reply, push_reply};

use crate::model::Address;
use crate::oracle::Oracle;

impl Oracle {
    /// Prepares the checks of a round of the notifier.
    pub(crate) fn begin_notices(&mut self) {
        self.notices = std::mem::take(&mut self.operator);
        for (subscribers, reply) in self.model.take_notices() {
            for subscriber in subscribers {
                let notice = self.notice(subscriber, &reply, false);
                self.notices.push((subscriber, notice));
            }
        }
    }

    pub(crate) fn end_notices(&mut self, counted: u64) {
        assert!(
            self.notices.is_empty(),
            "notices that were not sent: {:?}",
            self.notices
        );
        assert_eq!(self.notices_sent, counted, "notices");
    }

    /// Returns a notice of the notifier to a peer.
    pub(crate) fn notice(&self, to: Address, reply: &Reply<'_>, is_goodbye: bool) -> Vec<u8> {
        let (peer, mut notice) = (&self.model.peers[&to], Vec::new());
        if let Some(session) = peer.session {
            push_server_header(session, &mut notice);
            v2::push_reply(reply, &mut notice);
            if is_goodbye {
                push_server_frame(&ServerFrame::Goodbye, &mut notice);
            }
            return notice;
        }
        push_reply(reply, &mut notice);
        if peer.protocol() == Protocol::Lines {
            notice.push(b'\n');
        }
        notice
    }
}
