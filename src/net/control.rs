//! What the kernel says beside a datagram (control messages).

use std::net::Ipv4Addr;
use std::time::Duration;

/// Where the kernel writes control messages, aligned as a `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

/// What the control messages of one packet say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The length of each of several datagrams that came as one; there is none
    /// with a datagram that came alone.
    pub(super) segment_bytes: Option<usize>,
    /// The local address that it was sent to.
    pub(super) to: Option<Ipv4Addr>,
    /// When the kernel had it, by its wall clock, since 1970.
    pub(super) arrived: Option<Duration>,
}

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_BYTES]);

    /// Reads the first `filled` bytes: `msg_controllen` as the kernel has left it.
    /// What is no whole message ends it, what was not asked for is passed over.
    pub(super) fn read(&self, filled: usize) -> Said {
        let mut said = Said::default();
        let mut rest = &self.0[..filled.min(CONTROL_BYTES)];
        while let Some((level, kind, data)) = next_message(&mut rest) {
            match (level, kind) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let bytes = data.first_chunk().copied().map(libc::c_int::from_ne_bytes);
                    said.segment_bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let address = data.get(ADDRESS..).and_then(<[u8]>::first_chunk::<4>);
                    said.to = address.copied().map(Ipv4Addr::from);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => said.arrived = timespec(data),
                _ => {}
            }
        }
        said
    }
}

/// Takes the level, the kind and the data of a message from the front of `rest`.
fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(libc::c_int, libc::c_int, &'a [u8])> {
    let header = rest.get(..HEADER_BYTES)?;
    // SAFETY: these are as many bytes as a `cmsghdr` has, which is made of
    // integers, so that any bytes are one; they need not be aligned.
    let header: libc::cmsghdr = unsafe { header.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
    let len: usize = header.cmsg_len as _;
    let data = rest.get(HEADER_BYTES..len)?;
    *rest = rest
        .get(len.next_multiple_of(size_of::<usize>())..)
        .unwrap_or_default();
    Some((header.cmsg_level, header.cmsg_type, data))
}

/// Reads a `timespec`: seconds and nanoseconds.
fn timespec(data: &[u8]) -> Option<Duration> {
    let (seconds, rest) = data.split_first_chunk()?;
    let seconds = libc::c_long::from_ne_bytes(*seconds);
    let nanoseconds = libc::c_long::from_ne_bytes(*rest.first_chunk()?);
    let nanoseconds = u32::try_from(nanoseconds).ok()?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
}

/// One message with an `int` takes 24 bytes, one with an `in_pktinfo` and one with a
/// `timespec` 32 each, and nothing else is asked for.
const CONTROL_BYTES: usize = 88;

/// Where the data of a message begins: a `cmsghdr` needs no padding behind it.
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();

/// Where the address of the datagram's header lies in an `in_pktinfo`.
const ADDRESS: usize = std::mem::offset_of!(libc::in_pktinfo, ipi_addr);

#[cfg(test)]
mod tests {
    use super::*;

    fn control(messages: &[(libc::c_int, libc::c_int, &[u8])]) -> (Control, usize) {
        let mut control = Control::EMPTY;
        let mut filled = 0;
        for (level, kind, data) in messages {
            let len = HEADER_BYTES + data.len();
            let message = &mut control.0[filled..filled + len];
            message[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            let level_at = std::mem::offset_of!(libc::cmsghdr, cmsg_level);
            message[level_at..level_at + 4].copy_from_slice(&level.to_ne_bytes());
            let kind_at = std::mem::offset_of!(libc::cmsghdr, cmsg_type);
            message[kind_at..kind_at + 4].copy_from_slice(&kind.to_ne_bytes());
            message[HEADER_BYTES..].copy_from_slice(data);
            filled += len.next_multiple_of(size_of::<usize>());
        }
        (control, filled)
    }

    #[test]
    fn each_message_is_read_wherever_it_stands() {
        let gro = (libc::SOL_UDP, libc::UDP_GRO, &25_i32.to_ne_bytes()[..]);
        let local = [1, 0, 0, 0, 127, 0, 0, 1, 127, 7, 8, 9];
        let local = (libc::IPPROTO_IP, libc::IP_PKTINFO, &local[..]);
        let mut stamp = [0; 2 * size_of::<libc::c_long>()];
        let (seconds, nanoseconds) = stamp.split_at_mut(size_of::<libc::c_long>());
        seconds.copy_from_slice(&(7 as libc::c_long).to_ne_bytes());
        nanoseconds.copy_from_slice(&(250 as libc::c_long).to_ne_bytes());
        let stamp = (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &stamp[..]);
        let said = Said {
            segment_bytes: Some(25),
            to: Some(Ipv4Addr::new(127, 7, 8, 9)),
            arrived: Some(Duration::new(7, 250)),
        };
        for messages in [[gro, local, stamp], [stamp, local, gro]] {
            let (control, filled) = control(&messages);
            assert_eq!(filled, CONTROL_BYTES, "and no more is asked for");
            assert_eq!(control.read(filled), said);
            assert_eq!(control.read(0), Said::default());
        }
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_passed_over() {
        let gro = (libc::SOL_UDP, libc::UDP_GRO, &25_i32.to_ne_bytes()[..]);
        let unknown = (libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[1, 0, 0, 0][..]);
        let short = (libc::IPPROTO_IP, libc::IP_PKTINFO, &[1, 0, 0, 0, 127][..]);
        let (unknown_first, filled) = control(&[unknown, gro]);
        assert_eq!(unknown_first.read(filled).segment_bytes, Some(25));
        let last_byte = HEADER_BYTES + unknown.2.len() + 4 + HEADER_BYTES + gro.2.len() - 1;
        assert_eq!(unknown_first.read(last_byte), Said::default());
        let half = [0; size_of::<libc::c_long>() + 1];
        let negative = [0xff; 2 * size_of::<libc::c_long>()];
        let stamp = |data| (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, data);
        for message in [short, stamp(&half[..]), stamp(&negative[..])] {
            let (wrong, filled) = control(&[message]);
            assert_eq!(wrong.read(filled), Said::default());
        }
    }
}
