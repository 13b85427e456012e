//! Batches of texts for a room.
//!
//! All numbers are big-endian. A batch is one message of the bus, whose subject names the room:
//!
//! | bytes | content |
//! | --- | --- |
//! | 2 | [`MARK`], with the version |
//! | 8 | incarnation of the node, which is another one after each start |
//! | 8 | incarnation of the room on that node |
//! | 1 | stream, which is the worker |
//! | 4 | number of the first text in its stream |
//! | 2 | number of texts, at least 1 |
//! | | the texts |
//!
//! A text is:
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | length of the sender's name, or 254 for an address of IPv4 and 255 for one of IPv6 |
//! | | the name, or the address and the port |
//! | 2 | length of the text |
//! | | the text |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::VERSION;
use crate::wire::v2::MAX_PAYLOAD_BYTES;
use crate::wire::{DisplayName, MAX_NAME_BYTES, Name};

/// The head of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// Incarnation of the node that has received the texts.
    pub node: u64,
    /// Incarnation of the room on that node.
    pub room: u64,
    /// The worker that has received the texts. It keeps the order of each sender.
    pub stream: u8,
    /// Number of the first text in its stream.
    pub first: u32,
    /// Number of texts.
    pub texts: u16,
}

/// A text of a peer of another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeText<'a> {
    /// The sender. The zone of an address has no meaning on other nodes, and gets lost.
    pub from: DisplayName,
    /// The text, of at most [`MAX_PAYLOAD_BYTES`].
    pub text: &'a [u8],
}

/// The texts of a batch, all of which were checked.
#[derive(Debug, Clone)]
pub struct Texts<'a> {
    rest: &'a [u8],
}

/// A batch that was checked once, as a whole.
#[derive(Debug)]
pub struct CheckedBatch<B: ?Sized> {
    head: BatchHead,
    bytes: B,
}

/// A message of the bus that is no batch of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a malformed batch of texts")]
pub struct MalformedBatch;

/// Begins a batch in an empty buffer. [`set_batch_len`] sets the number of texts, which is 0 here.
pub fn begin_batch(head: &BatchHead, out: &mut Vec<u8>) {
    debug_assert!(out.is_empty());
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&head.node.to_be_bytes());
    out.extend_from_slice(&head.room.to_be_bytes());
    out.push(head.stream);
    out.extend_from_slice(&head.first.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
}

/// Appends a text to a batch. Returns false, and appends nothing, if it would be longer than
/// [`MAX_BATCH_BYTES`].
///
/// # Panics
/// If the text is longer than [`MAX_PAYLOAD_BYTES`].
pub fn push_node_text(text: &NodeText<'_>, out: &mut Vec<u8>) -> bool {
    assert!(text.text.len() <= MAX_PAYLOAD_BYTES, "a text of a peer");
    if out.len() + MAX_TEXT_HEAD_BYTES + text.text.len() > MAX_BATCH_BYTES {
        return false;
    }
    match text.from {
        DisplayName::Name(name) => {
            out.push(name.as_bytes().len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
        DisplayName::Address(address) => {
            match address.ip() {
                IpAddr::V4(ip) => {
                    out.push(IPV4);
                    out.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(IPV6);
                    out.extend_from_slice(&ip.octets());
                }
            }
            out.extend_from_slice(&address.port().to_be_bytes());
        }
    }
    out.extend_from_slice(&(text.text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.text);
    true
}

/// Sets the number of texts in a batch.
///
/// # Panics
/// If [`begin_batch`] has not begun it.
pub fn set_batch_len(texts: u16, batch: &mut [u8]) {
    batch[HEAD_BYTES - 2..HEAD_BYTES].copy_from_slice(&texts.to_be_bytes());
}

/// Returns the head and the texts of a batch.
///
/// # Errors
/// [`MalformedBatch`], also if only one of the texts is malformed.
pub fn parse_batch(batch: &[u8]) -> Result<(BatchHead, Texts<'_>), MalformedBatch> {
    let mut rest = batch;
    if take(&mut rest)? != MARK || batch.len() > MAX_BATCH_BYTES {
        return Err(MalformedBatch);
    }
    let head = BatchHead {
        node: u64::from_be_bytes(take(&mut rest)?),
        room: u64::from_be_bytes(take(&mut rest)?),
        stream: u8::from_be_bytes(take(&mut rest)?),
        first: u32::from_be_bytes(take(&mut rest)?),
        texts: u16::from_be_bytes(take(&mut rest)?),
    };
    let texts = Texts { rest };
    for _ in 0..head.texts {
        take_text(&mut rest)?;
    }
    match head.texts > 0 && rest.is_empty() {
        true => Ok((head, texts)),
        false => Err(MalformedBatch),
    }
}

impl<B: AsRef<[u8]>> CheckedBatch<B> {
    /// Checks a batch.
    ///
    /// # Errors
    /// [`MalformedBatch`], as [`parse_batch`].
    pub fn new(bytes: B) -> Result<Self, MalformedBatch> {
        let (head, _) = parse_batch(bytes.as_ref())?;
        Ok(Self { head, bytes })
    }
}

impl<B: AsRef<[u8]> + ?Sized> CheckedBatch<B> {
    /// Returns the head.
    pub fn head(&self) -> &BatchHead {
        &self.head
    }

    /// Returns all bytes, with those of the head.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Returns the texts, without another check of the whole batch.
    pub fn texts(&self) -> Texts<'_> {
        let rest = self.bytes().get(HEAD_BYTES..).unwrap_or_default();
        Texts { rest }
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = NodeText<'a>;

    fn next(&mut self) -> Option<NodeText<'a>> {
        take_text(&mut self.rest).ok()
    }
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Result<NodeText<'a>, MalformedBatch> {
    let from = match take(rest)? {
        [IPV4] => {
            let ip = IpAddr::V4(Ipv4Addr::from(take::<4>(rest)?));
            DisplayName::Address(SocketAddr::new(ip, u16::from_be_bytes(take(rest)?)))
        }
        [IPV6] => {
            let ip = IpAddr::V6(Ipv6Addr::from(take::<16>(rest)?));
            DisplayName::Address(SocketAddr::new(ip, u16::from_be_bytes(take(rest)?)))
        }
        [len] => {
            let name = take_slice(rest, len.into())?;
            DisplayName::Name(Name::parse(name).ok_or(MalformedBatch)?)
        }
    };
    let len = usize::from(u16::from_be_bytes(take(rest)?));
    if len > MAX_PAYLOAD_BYTES {
        return Err(MalformedBatch);
    }
    Ok(NodeText {
        from,
        text: take_slice(rest, len)?,
    })
}

fn take<const LEN: usize>(rest: &mut &[u8]) -> Result<[u8; LEN], MalformedBatch> {
    let (taken, others) = rest.split_first_chunk().ok_or(MalformedBatch)?;
    *rest = others;
    Ok(*taken)
}

fn take_slice<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], MalformedBatch> {
    let (taken, others) = rest.split_at_checked(len).ok_or(MalformedBatch)?;
    *rest = others;
    Ok(taken)
}

/// First bytes of a batch. One of another version has another second byte, and is dropped.
const MARK: [u8; 2] = [0xB7, VERSION];

/// Marks of addresses. No name is that long.
const IPV4: u8 = 254;
const IPV6: u8 = 255;

const HEAD_BYTES: usize = 2 + 8 + 8 + 1 + 4 + 2;

/// Maximum length of a text without the text itself.
const MAX_TEXT_HEAD_BYTES: usize = 1 + MAX_NAME_BYTES + 2;

/// Maximum length of a batch. It has space for 28 texts of the greatest length, and for 800 short ones. In
/// a server of the bus, whose limit is 1 MiB, a longer message holds up those behind it.
pub const MAX_BATCH_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: BatchHead = BatchHead {
        node: 0x0102_0304_0506_0708,
        room: 9,
        stream: 3,
        first: u32::MAX,
        texts: 0,
    };

    fn text() -> NodeText<'static> {
        NodeText {
            from: DisplayName::Name(Name::parse(b"ada").unwrap()),
            text: b"hi",
        }
    }

    #[test]
    fn a_batch_has_its_documented_bytes() {
        let mut batch = Vec::new();
        begin_batch(&HEAD, &mut batch);
        assert!(push_node_text(&text(), &mut batch));
        set_batch_len(1, &mut batch);
        let expected = [
            &[0xB7, 1][..],
            &[1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 3],
            &[255, 255, 255, 255, 0, 1],
            b"\x03ada\x00\x02hi",
        ];
        assert_eq!(batch, expected.concat());
        for (address, bytes) in [
            ("192.0.2.1:80", &[254, 192, 0, 2, 1, 0, 80, 0, 2][..]),
            (
                "[::1]:9",
                &[
                    255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9, 0, 2,
                ],
            ),
        ] {
            batch.truncate(HEAD_BYTES);
            let from = DisplayName::Address(address.parse().unwrap());
            push_node_text(&NodeText { from, ..text() }, &mut batch);
            assert_eq!(batch[HEAD_BYTES..], [bytes, b"hi"].concat());
        }
    }

    #[test]
    fn a_batch_is_full_before_it_is_too_long() {
        let mut batch = Vec::new();
        begin_batch(&HEAD, &mut batch);
        let long = NodeText {
            text: &[b'x'; MAX_PAYLOAD_BYTES],
            ..text()
        };
        let mut texts = 0;
        while push_node_text(&long, &mut batch) {
            texts += 1;
        }
        set_batch_len(texts, &mut batch);
        assert!(batch.len() <= MAX_BATCH_BYTES);
        let (head, parsed) = parse_batch(&batch).unwrap();
        assert_eq!((head.texts, texts), (28, 28));
        assert!(parsed.eq([long; 28]));
    }

    #[test]
    fn a_batch_that_is_too_long_is_refused() {
        let mut batch = Vec::new();
        begin_batch(&HEAD, &mut batch);
        push_node_text(&text(), &mut batch);
        let text = batch[HEAD_BYTES..].to_vec();
        let mut texts = 1;
        while batch.len() + text.len() <= MAX_BATCH_BYTES {
            batch.extend(&text);
            texts += 1;
        }
        set_batch_len(texts, &mut batch);
        assert!(parse_batch(&batch).is_ok());
        batch.extend(&text);
        set_batch_len(texts + 1, &mut batch);
        assert_eq!(parse_batch(&batch).err(), Some(MalformedBatch));
    }

    #[test]
    fn a_damaged_batch_is_refused() {
        let mut batch = Vec::new();
        begin_batch(&HEAD, &mut batch);
        assert_eq!(parse_batch(&batch).err(), Some(MalformedBatch), "no text");
        push_node_text(&text(), &mut batch);
        set_batch_len(1, &mut batch);
        assert!(parse_batch(&batch).is_ok());
        for len in 0..batch.len() {
            assert_eq!(
                parse_batch(&batch[..len]).err(),
                Some(MalformedBatch),
                "{len}"
            );
        }
        batch.push(0);
        assert_eq!(
            parse_batch(&batch).err(),
            Some(MalformedBatch),
            "a byte too many"
        );
        batch.pop();
        // The mark, the length of the name, the name, and the length of the text.
        for (at, byte) in [
            (0, 0),
            (1, 2),
            (25, 0),
            (25, 2),
            (25, 253),
            (26, b' '),
            (29, 255),
        ] {
            let mut damaged = batch.clone();
            damaged[at] = byte;
            assert_eq!(parse_batch(&damaged).err(), Some(MalformedBatch), "{at}");
        }
    }

    fn any_text() -> impl Strategy<Value = (DisplayName, Vec<u8>)> {
        let address = any::<SocketAddr>().prop_map(|address| {
            // Without a zone and a flow label.
            DisplayName::Address(SocketAddr::new(address.ip(), address.port()))
        });
        let name = "[A-Za-z0-9_-]{1,24}".prop_map(|name| DisplayName::Name(name.parse().unwrap()));
        let text = prop::collection::vec(any::<u8>(), 0..80);
        (prop_oneof![address, name], text)
    }

    proptest! {
        #[test]
        fn texts_come_out_as_they_went_in(texts in prop::collection::vec(any_text(), 1..200)) {
            let texts: Vec<NodeText<'_>> = texts
                .iter()
                .map(|(from, text)| NodeText { from: *from, text })
                .collect();
            let mut batch = Vec::new();
            begin_batch(&HEAD, &mut batch);
            let pushed = texts.iter().take_while(|text| push_node_text(text, &mut batch));
            let pushed = pushed.count();
            set_batch_len(pushed as u16, &mut batch);
            let (head, parsed) = parse_batch(&batch).unwrap();
            prop_assert_eq!(head, BatchHead { texts: pushed as u16, ..HEAD });
            prop_assert!(parsed.eq(texts[..pushed].iter().copied()));
            let checked = CheckedBatch::new(batch).unwrap();
            prop_assert!(checked.texts().eq(texts[..pushed].iter().copied()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut batch = MARK.to_vec();
            batch.extend(bytes);
            let checked = CheckedBatch::new(&batch);
            prop_assert_eq!(checked.is_ok(), parse_batch(&batch).is_ok());
            if let (Ok(checked), Ok((head, texts))) = (checked, parse_batch(&batch)) {
                prop_assert_eq!(texts.clone().count(), usize::from(head.texts));
                prop_assert_eq!(checked.head(), &head);
                prop_assert!(checked.texts().eq(texts));
            }
        }
    }
}
