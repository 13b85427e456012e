//! One connection to the bus.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_nats::connection::State;
use async_nats::{Client, Message, PublishError, SubscribeError};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_stream::StreamExt;

use super::connect::Events;
use crate::server::cluster::bus::{Subject, SubjectOf};
use crate::server::egress::outbox::Outbox;
use crate::server::ops::supervise::lock;
use crate::wire::cluster::ClusterName;

/// A connection, and the tasks that serve it. All that waits in it is gone with it.
pub(super) struct Link {
    client: Client,
    pub(super) events: Events,
    /// The messages of all subscriptions.
    pub(super) messages: Receiver<(Subject, Message)>,
    pub(super) operations: Arc<Operations>,
    writer: JoinHandle<()>,
}

/// The calls of the engine, in order.
pub(super) struct Operations {
    queue: Mutex<Queue>,
    wake: Arc<Notify>,
}

/// A call of the engine.
#[derive(Debug)]
pub(super) enum Operation {
    Publish(Subject, Vec<u8>),
    Subscribe(Subject),
    Unsubscribe(Subject),
}

#[derive(Default)]
struct Queue {
    operations: VecDeque<Operation>,
    /// Bytes of the messages in it.
    bytes: usize,
    is_closed: bool,
}

/// Carries operations and texts to the connection.
struct Writer {
    client: Client,
    cluster: ClusterName,
    operations: Arc<Operations>,
    outbox: Arc<Outbox>,
    messages: Sender<(Subject, Message)>,
    /// The task of each subscription.
    readers: HashMap<Subject, Reader>,
}

/// A task that ends with this.
struct Reader(AbortHandle);

/// The connection takes nothing any more, or all is done and nothing will follow.
struct Closed;

impl Link {
    /// Serves a connection. `texts` is notified when there are texts in the outbox.
    pub(super) fn open(
        client: Client,
        events: Events,
        cluster: ClusterName,
        outbox: Arc<Outbox>,
        texts: Arc<Notify>,
    ) -> Self {
        let (sender, messages) = channel(MAX_MESSAGES_FOR_ENGINE);
        let operations = Arc::new(Operations {
            queue: Mutex::default(),
            wake: texts,
        });
        let writer = Writer {
            client: client.clone(),
            cluster,
            operations: Arc::clone(&operations),
            outbox,
            messages: sender,
            readers: HashMap::new(),
        };
        Self {
            client,
            events,
            messages,
            operations,
            writer: tokio::spawn(writer.run()),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected && !self.writer.is_finished()
    }

    /// Sends what waits, and ends.
    pub(super) async fn close(&mut self) {
        self.operations.close();
        let _ = (&mut self.writer).await;
        let _ = self.client.flush().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Operations {
    /// Adds an operation. Returns false if it is a message that has no space.
    pub(super) fn push(&self, operation: Operation) -> bool {
        let mut queue = lock(&self.queue);
        if let Operation::Publish(_, message) = &operation {
            if queue.bytes + message.len() > MAX_BYTES {
                return false;
            }
            queue.bytes += message.len();
        }
        queue.operations.push_back(operation);
        drop(queue);
        self.wake.notify_one();
        true
    }

    fn pop(&self) -> Option<Operation> {
        let mut queue = lock(&self.queue);
        let operation = queue.operations.pop_front()?;
        if let Operation::Publish(_, message) = &operation {
            queue.bytes -= message.len();
        }
        Some(operation)
    }

    /// Ends the writer when it has done all.
    fn close(&self) {
        lock(&self.queue).is_closed = true;
        self.wake.notify_one();
    }

    fn is_closed(&self) -> bool {
        lock(&self.queue).is_closed
    }
}

impl Writer {
    async fn run(mut self) {
        while self.step().await.is_ok() {}
    }

    /// Performs an operation, and publishes a batch: a long list of members holds up no texts.
    async fn step(&mut self) -> Result<(), Closed> {
        let operation = self.operations.pop();
        let has_operation = operation.is_some();
        if let Some(operation) = operation {
            self.perform(operation).await?;
        }
        match self.outbox.pop(Instant::now()) {
            Some(batch) => self.publish(Subject::Room(batch.room), batch.bytes).await,
            None if has_operation => Ok(()),
            None if self.operations.is_closed() => Err(Closed),
            None => {
                self.operations.wake.notified().await;
                Ok(())
            }
        }
    }

    async fn perform(&mut self, operation: Operation) -> Result<(), Closed> {
        match operation {
            Operation::Publish(subject, message) => self.publish(subject, message).await?,
            Operation::Subscribe(subject) => {
                let reader = self.subscribe(subject).await?;
                self.readers.insert(subject, reader);
            }
            Operation::Unsubscribe(subject) => drop(self.readers.remove(&subject)),
        }
        Ok(())
    }

    async fn publish(&self, subject: Subject, message: Vec<u8>) -> Result<(), Closed> {
        let subject = self.written(subject);
        Ok(self.client.publish(subject, message.into()).await?)
    }

    /// Subscribes to a subject, and returns the task that takes its messages.
    async fn subscribe(&self, subject: Subject) -> Result<Reader, Closed> {
        let mut subscriber = self.client.subscribe(self.written(subject)).await?;
        let (messages, cluster) = (self.messages.clone(), self.cluster);
        let reader = tokio::spawn(async move {
            while let Some(message) = subscriber.next().await {
                if let Some(subject) = subject_of(&cluster, subject, &message.subject)
                    && messages.send((subject, message)).await.is_err()
                {
                    break;
                }
            }
        });
        Ok(Reader(reader.abort_handle()))
    }

    fn written(&self, subject: Subject) -> String {
        let cluster = &self.cluster;
        SubjectOf { cluster, subject }.to_string()
    }
}

/// Returns the subject of a message that has come by a subscription. A shard has many rooms.
fn subject_of(cluster: &ClusterName, subscribed: Subject, written: &str) -> Option<Subject> {
    match subscribed {
        Subject::Shard(_) => Subject::parse(cluster, written),
        subject => Some(subject),
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl From<PublishError> for Closed {
    fn from(_: PublishError) -> Self {
        Self
    }
}

impl From<SubscribeError> for Closed {
    fn from(_: SubscribeError) -> Self {
        Self
    }
}

/// Maximum number of bytes of messages that wait for the connection. The list of a million members has
/// these.
const MAX_BYTES: usize = 64 << 20;

/// Maximum number of messages that wait for the engine, which never waits.
const MAX_MESSAGES_FOR_ENGINE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_beyond_the_bound_are_refused_until_others_are_sent() {
        let operations = Operations {
            queue: Mutex::default(),
            wake: Arc::default(),
        };
        let publish = |len| Operation::Publish(Subject::Nodes, vec![0; len]);
        assert!(operations.push(publish(MAX_BYTES)));
        assert!(!operations.push(publish(1)));
        let subscribe = Operation::Subscribe(Subject::Nodes);
        assert!(operations.push(subscribe), "it has no bytes");
        assert!(matches!(operations.pop(), Some(Operation::Publish(..))));
        assert!(operations.push(publish(MAX_BYTES)));
        assert!(matches!(operations.pop(), Some(Operation::Subscribe(_))));
    }

    #[test]
    fn a_message_of_a_shard_is_that_of_its_room() {
        let cluster = "test".parse().unwrap();
        let room = Subject::Room("den".parse().unwrap());
        let subject = |subscribed, written| subject_of(&cluster, subscribed, written);
        assert_eq!(subject(Subject::Shard(7), "bh.test.room.7.den"), Some(room));
        assert_eq!(subject(Subject::Shard(7), "bh.other.room.7.den"), None);
        assert_eq!(subject(room, "bh.test.room.7.den"), Some(room));
    }
}
