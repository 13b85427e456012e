//! The state of each client of a thread.

use bullhorn::wire::v2::SessionId;

/// One client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Its session, in version 2.
    pub(crate) session: Option<SessionId>,
    /// The number of its room, in version 2, once it is there.
    pub(crate) room: Option<u32>,
    /// The time at which its last request to the greeting service was due.
    pub(crate) due_ns: u64,
    /// The time at which the last request was sent that [`Client::closed_ask`] or
    /// [`Client::under_way`] is about.
    pub(crate) sent_ns: u64,
    /// The time at which the server last received something from it, in milliseconds of the
    /// thread's clock.
    pub(crate) last_sent_ms: u32,
    /// The number of its next request.
    pub(crate) next_ask: u32,
    /// One more than the greatest number that was answered.
    pub(crate) received_ask: u32,
    /// The request, if any, whose answer a client would wait for that asks nothing else
    /// meanwhile.
    pub(crate) closed_ask: Option<u32>,
    /// The number of its last text in its room.
    pub(crate) last_text: Option<u32>,
    /// One more than the greatest number of a text that it received.
    pub(crate) received_text: u32,
    /// It should receive the texts of its room from this one on
    pub(crate) owed_from: u32,
    /// and up to this one, which it need not receive.
    pub(crate) owed_until: u32,
    /// Requests to the greeting service that were not answered so far.
    pub(crate) under_way: u16,
    /// Requests among these that were due before the recording.
    pub(crate) under_way_unrecorded: u16,
    /// Set if nothing else was under way when the last of them was sent.
    pub(crate) is_matched: bool,
    /// Attempts to register.
    pub(crate) tries: u8,
    pub(crate) phase: Phase,
    /// Set if the server has told it a limit.
    pub(crate) is_limited: bool,
}

/// The request that an answer of the greeting service belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) due_ns: u64,
    /// The time at which that request was sent before which nothing was under way.
    pub(crate) sent_ns: u64,
    /// Set if the request was due in the recorded time.
    pub(crate) is_recorded: bool,
    /// Set if these are one request, the only one, so that this must be its answer.
    pub(crate) is_matched: bool,
}

/// The phase of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The server does not know it.
    Out,
    /// It has asked for a session.
    Hello,
    /// It has asked for a room, or for a sign that the server knows it.
    Joining,
    /// The server knows it. With several targets, the others need not know it yet.
    Arriving,
    /// It is there, and takes part.
    Active,
    /// It takes part no more, and waits for what it should still receive.
    Leaving,
}

impl Client {
    /// One that the server does not know.
    pub(crate) fn new() -> Self {
        Self {
            session: None,
            room: None,
            due_ns: 0,
            sent_ns: 0,
            last_sent_ms: 0,
            next_ask: 0,
            received_ask: 0,
            closed_ask: None,
            last_text: None,
            received_text: 0,
            owed_from: 0,
            owed_until: 0,
            under_way: 0,
            under_way_unrecorded: 0,
            is_matched: false,
            tries: 0,
            phase: Phase::Out,
            is_limited: false,
        }
    }

    /// It has sent a request: the one whose answer it would wait for, if it waited, unless
    /// it does already, and not for too long.
    pub(crate) fn asked(&mut self, sequence: u32, now_ns: u64) {
        let is_given_up = now_ns.saturating_sub(self.sent_ns) > GIVEN_UP_NS;
        if self.closed_ask.is_none() || is_given_up {
            self.closed_ask = Some(sequence);
            self.sent_ns = now_ns;
        }
    }

    /// The greeting service has answered it for the first time. What it asked more than
    /// once may be answered more than once, and must not be taken for a later answer.
    pub(crate) fn greeted_first(&mut self) {
        self.under_way = self.tries.into();
        self.under_way_unrecorded = self.under_way;
    }

    /// Returns true if nothing is under way to the greeting service, or for so long that it is
    /// lost.
    pub(crate) fn may_ask_for_greeting(&self, now_ns: u64) -> bool {
        self.under_way == 0 || now_ns.saturating_sub(self.sent_ns) > LOST_NS
    }

    /// It has asked the greeting service for an answer that was due at `due_ns`.
    pub(crate) fn asked_for_greeting(&mut self, due_ns: u64, sent_ns: u64, is_recorded: bool) {
        self.is_matched = self.may_ask_for_greeting(sent_ns);
        if self.is_matched {
            // What was not answered until now will not be.
            (self.under_way, self.under_way_unrecorded) = (0, 0);
            self.sent_ns = sent_ns;
        }
        self.due_ns = due_ns;
        self.under_way = self.under_way.saturating_add(1);
        if !is_recorded {
            self.under_way_unrecorded = self.under_way;
        }
    }

    /// The greeting service has answered; none: nothing was asked.
    pub(crate) fn greeted(&mut self) -> Option<Greeting> {
        self.under_way = self.under_way.checked_sub(1)?;
        let is_recorded = self.under_way_unrecorded == 0;
        self.under_way_unrecorded = self.under_way_unrecorded.saturating_sub(1);
        Some(Greeting {
            due_ns: self.due_ns,
            sent_ns: self.sent_ns,
            is_recorded,
            is_matched: self.is_matched,
        })
    }

    /// Returns true if it should receive this text of its room.
    pub(crate) fn is_owed(&self, sequence: u32) -> bool {
        (self.owed_from..self.owed_until).contains(&sequence)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// A client that waits for each answer asks again when none has come for so long.
const GIVEN_UP_NS: u64 = 1_000_000_000;

/// An answer that has not come by then is lost: as long as a run waits at its end.
const LOST_NS: u64 = 5_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of a client of the greeting service.
    enum Step {
        /// It asks at this second, for what was due then; whether that is recorded.
        Ask(u64, bool),
        /// It is answered: whether that counts, and whether it is known to what.
        Greeted(Option<(bool, bool)>),
    }

    /// An answer says nothing of what it answers: so only of one that is alone under way
    /// is it known.
    #[test]
    fn a_greeting_answers_the_one_request_that_is_under_way() {
        use Step::{Ask, Greeted};
        let recorded = Some((true, true));
        let unmatched = Some((true, false));
        for steps in [
            &[Greeted(None)][..],
            &[Ask(1, true), Greeted(recorded), Greeted(None)],
            &[Ask(1, false), Greeted(Some((false, true)))],
            // Two at once: neither is told from the other.
            &[
                Ask(1, true),
                Ask(1, true),
                Greeted(unmatched),
                Greeted(unmatched),
            ],
            // One after the other.
            &[
                Ask(1, true),
                Greeted(recorded),
                Ask(2, true),
                Greeted(recorded),
            ],
            // One was lost, and after a time that is certain.
            &[Ask(1, true), Ask(7, true), Greeted(recorded), Greeted(None)],
            &[Ask(1, true), Ask(6, true), Greeted(unmatched)],
            // What was asked before the recording is answered first.
            &[
                Ask(1, false),
                Ask(2, true),
                Greeted(Some((false, false))),
                Greeted(unmatched),
            ],
        ] {
            let mut client = Client::new();
            for (at, step) in steps.iter().enumerate() {
                match step {
                    Ask(second, is_recorded) => {
                        let at_ns = second * 1_000_000_000;
                        client.asked_for_greeting(at_ns, at_ns + 1, *is_recorded);
                    }
                    Greeted(expected) => {
                        let greeting = client.greeted();
                        let told = greeting.map(|it| (it.is_recorded, it.is_matched));
                        assert_eq!(told, *expected, "step {at} of {}", steps.len());
                    }
                }
            }
        }
    }

    /// One who asked to come three times is greeted up to three times for it.
    #[test]
    fn what_greets_a_client_that_asked_again_to_come_is_not_taken_for_an_answer() {
        let mut client = Client::new();
        client.tries = 2;
        client.greeted_first();
        for _ in 0..2 {
            let late = client.greeted().expect("it asked");
            assert!(!late.is_recorded);
        }
        assert_eq!(client.greeted(), None);
    }

    #[test]
    fn who_waits_for_each_answer_asks_the_next_one_only_then_or_after_a_second() {
        let mut client = Client::new();
        client.asked(1, 5);
        client.asked(2, 5 + GIVEN_UP_NS);
        assert_eq!(client.closed_ask, Some(1), "it waits");
        client.asked(3, 6 + GIVEN_UP_NS);
        assert_eq!(client.closed_ask, Some(3), "it has given up");
    }
}
