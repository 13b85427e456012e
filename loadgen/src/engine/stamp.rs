//! The stamp of each request and each text: its sender, and when it was due.

use data_encoding::BASE64URL_NOPAD;

/// The contents of a stamp. Times are nanoseconds since the load began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The run. Datagrams of an earlier one are told apart.
    pub run: u32,
    /// The client that sent it, by its number.
    pub client: u32,
    /// The number of a request of its client, or of a text in its room.
    pub sequence: u32,
    /// The time at which it was due, at most [`MAX_TIME_NS`].
    pub due_ns: u64,
    /// The delay until its batch was begun, at most [`MAX_TIME_NS`].
    pub lag_ns: u64,
}

impl Stamp {
    /// Encodes it in letters, digits, `-` and `_`, which no server changes.
    pub fn encode(&self, out: &mut [u8; STAMP_BYTES]) {
        let mut bytes = [0; RAW_BYTES];
        bytes[..4].copy_from_slice(&self.run.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.client.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[12..18].copy_from_slice(&six_bytes(self.due_ns));
        bytes[18..].copy_from_slice(&six_bytes(self.lag_ns));
        BASE64URL_NOPAD.encode_mut(&bytes, out);
    }

    /// The stamp at the beginning of `bytes`, if there is one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let encoded: &[u8; STAMP_BYTES] = bytes.first_chunk()?;
        let mut raw = [0; RAW_BYTES];
        BASE64URL_NOPAD.decode_mut(encoded, &mut raw).ok()?;
        let number = |range: std::ops::Range<usize>| {
            let bytes = raw[range].iter();
            bytes.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        Some(Self {
            run: number(0..4) as u32,
            client: number(4..8) as u32,
            sequence: number(8..12) as u32,
            due_ns: number(12..18),
            lag_ns: number(18..24),
        })
    }

    /// Returns the time at which its batch was begun, at whose end it was sent.
    pub fn sent_ns(&self) -> u64 {
        self.due_ns + self.lag_ns
    }
}

fn six_bytes(time_ns: u64) -> [u8; 6] {
    let [_, _, bytes @ ..] = time_ns.min(MAX_TIME_NS).to_be_bytes();
    bytes
}

/// The longest token that the server's ping takes back, in text: what a stamp must fit
/// into.
pub const STAMP_BYTES: usize = 32;

/// The number of a request by which a client asks whether the server knows it: no request
/// of the load gets so far.
pub const ADMISSION_SEQUENCE: u32 = u32::MAX;

/// 78 hours in 48 bits.
pub const MAX_TIME_NS: u64 = (1 << 48) - 1;

/// Four characters stand for three bytes.
const RAW_BYTES: usize = STAMP_BYTES / 4 * 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_stamped_is_read_back(
            run: u32, client: u32, sequence: u32,
            due_ns in 0..=MAX_TIME_NS, lag_ns in 0..=MAX_TIME_NS,
        ) {
            let stamp = Stamp { run, client, sequence, due_ns, lag_ns };
            let mut bytes = [0; STAMP_BYTES];
            stamp.encode(&mut bytes);
            prop_assert_eq!(Stamp::decode(&bytes), Some(stamp));
            prop_assert!(bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let stamp = Stamp::decode(&bytes);
            prop_assert!(stamp.is_none() || bytes.len() >= STAMP_BYTES);
        }
    }

    #[test]
    fn a_time_that_does_not_fit_is_the_longest() {
        let stamp = Stamp {
            run: 1,
            client: 2,
            sequence: 3,
            due_ns: u64::MAX,
            lag_ns: 4,
        };
        let mut bytes = [0; STAMP_BYTES];
        stamp.encode(&mut bytes);
        let read = Stamp::decode(&bytes).unwrap();
        assert_eq!((read.due_ns, read.lag_ns), (MAX_TIME_NS, 4));
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        assert_eq!(Stamp::decode(&[b'A'; STAMP_BYTES - 1]), None);
        assert_eq!(Stamp::decode(&[b' '; STAMP_BYTES]), None);
    }
}
