//! Tickets, with which the results of requests are waited for.

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::event::{Answer, RequestError, TicketId};

/// A request to the server, or a text to the room, that a session has taken.
///
/// Its result is a `T`. That of a request also comes as an
/// [`Event::Answer`](super::Event::Answer), and a text that is not delivered as an
/// [`Event::Undelivered`](super::Event::Undelivered). So a ticket may be dropped.
pub struct Ticket<T> {
    id: TicketId,
    sent: Receiver<Outcome>,
    /// The result, once it has been received.
    received: OnceLock<Outcome>,
    answer: PhantomData<fn() -> T>,
}

type Outcome = Result<Answer, RequestError>;

/// The session's end of a ticket.
#[derive(Debug)]
pub struct Responder {
    /// The number of the request or text.
    pub id: TicketId,
    result: Sender<Outcome>,
}

impl<T: TryFrom<Answer>> Ticket<T> {
    /// The number of the request or text.
    pub fn id(&self) -> TicketId {
        self.id
    }

    /// Waits for the result, for at most `timeout`. A result that has come stays. It also
    /// comes as an event.
    ///
    /// # Errors
    /// [`RequestError`]. It is [`RequestError::Waiting`] if there is no result yet.
    pub fn wait(&self, timeout: Duration) -> Result<T, RequestError> {
        if self.received.get().is_none() {
            let result = match self.sent.recv_timeout(timeout) {
                Ok(result) => result,
                Err(RecvTimeoutError::Timeout) => return Err(RequestError::Waiting),
                Err(RecvTimeoutError::Disconnected) => Err(RequestError::Ended),
            };
            // Fails when another thread has received it, which is the same result.
            let _ = self.received.set(result);
        }
        let answer = self.received.get().cloned().ok_or(RequestError::Ended)??;
        let Ok(answer) = T::try_from(answer) else {
            unreachable!("each request has its own kind of answer");
        };
        Ok(answer)
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.id.0).finish()
    }
}

impl Responder {
    /// Returns both ends of the ticket with this number.
    pub fn new<T>(number: u64) -> (Self, Ticket<T>) {
        let (sender, result) = bounded(1);
        let id = TicketId(number);
        let responder = Self { id, result: sender };
        let ticket = Ticket {
            id,
            sent: result,
            received: OnceLock::new(),
            answer: PhantomData,
        };
        (responder, ticket)
    }

    /// Hands the result to the ticket.
    pub fn respond(self, result: Result<Answer, RequestError>) {
        // Fails when nobody holds the ticket.
        let _ = self.result.send(result);
    }
}

#[cfg(test)]
mod tests;
