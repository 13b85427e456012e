//! Sessions as streams, for programs on tokio.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::{io, thread};

use futures_core::Stream;
use tokio::sync::mpsc;

use super::event::Event;
use super::session::Session;

/// A [`Session`] whose events are a [`Stream`]. It ends when it is dropped.
#[derive(Debug)]
pub struct EventStream {
    session: Session,
    events: mpsc::Receiver<Event>,
}

impl Session {
    /// Returns the session as a stream of its events. A thread hands them over, because the
    /// thread of the session knows no runtime.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn into_stream(self) -> io::Result<EventStream> {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let received = self.events().clone();
        let hand_over = move || {
            for event in received {
                // Fails when the stream has been dropped.
                if sender.blocking_send(event).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("session-events".to_owned())
            .spawn(hand_over)?;
        Ok(EventStream {
            session: self,
            events,
        })
    }
}

impl EventStream {
    /// The session, to say something. Its methods do not block, so tasks may call them.
    /// [`Ticket::wait`](super::Ticket::wait) does: a task takes results from the events.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(context)
    }
}

/// Number of events between the two threads. More wait in the channel of the session.
const MAX_EVENTS: usize = 64;
