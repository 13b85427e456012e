//! Batches of texts between the nodes of a cluster.

use bullhorn::wire::cluster::{
    MAX_BATCH_BYTES, begin_batch, parse_batch, push_node_text, set_batch_len,
};

/// Any bytes are a batch or an error. A batch has as many texts as its head says, and the bytes that its
/// texts are encoded to.
pub fn batches(data: &[u8]) {
    let Ok((head, texts)) = parse_batch(data) else {
        return;
    };
    assert!(data.len() <= MAX_BATCH_BYTES);
    let mut encoded = Vec::new();
    begin_batch(&head, &mut encoded);
    let mut count = 0;
    let mut is_full = false;
    for text in texts {
        count += 1;
        // The encoder is full a little earlier than the parser.
        is_full |= !push_node_text(&text, &mut encoded);
    }
    assert_eq!(count, head.texts);
    set_batch_len(count, &mut encoded);
    assert!(is_full || encoded == data, "{data:?}");
}
