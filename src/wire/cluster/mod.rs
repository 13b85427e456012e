//! Messages of the nodes of a cluster to each other over its bus.
//!
//! Texts have a form of their own, as there are millions per second. All else is rare, and is encoded by
//! [postcard](https://postcard.jamesmunns.com/wire-format).

mod change;
mod texts;

pub use change::{Change, Claim, ClusterName, NodeId};
pub use texts::{
    BatchHead, CheckedBatch, MAX_BATCH_BYTES, MalformedBatch, NodeText, Texts, begin_batch,
    parse_batch, push_node_text, set_batch_len,
};

/// Version of the messages. Nodes of another version are another cluster.
pub const VERSION: u8 = 1;
