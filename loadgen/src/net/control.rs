//! The control messages that the kernel adds to a received packet.

use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// Makes the kernel add the local address to each datagram that comes over IPv4
/// (`IP_PKTINFO`).
pub(crate) fn set_local_addresses(socket: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?)
}

/// Makes the kernel add the time of arrival to each datagram (`SO_TIMESTAMPNS`).
pub(crate) fn set_arrival_stamps(socket: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?)
}

/// A buffer for the control messages of one packet, aligned as a `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

/// The content of the control messages of one packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PacketInfo {
    /// Length of each of several datagrams that came as one packet. `None`: there is
    /// only one.
    pub(super) segment_bytes: Option<NonZeroU16>,
    /// The local address that the packet was sent to.
    pub(super) to: Option<Ipv4Addr>,
    /// The time of arrival by the system's clock, since 1970.
    pub(super) arrived: Option<Duration>,
}

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_BYTES]);

    /// Parses the first `filled` bytes, which is `msg_controllen` as the kernel left it.
    /// Unknown messages are skipped, and an incomplete one ends the parsing.
    pub(super) fn parse(&self, filled: usize) -> PacketInfo {
        let mut info = PacketInfo::default();
        let mut rest = &self.0[..filled.min(CONTROL_BYTES)];
        while let Some((level, kind, data)) = next_message(&mut rest) {
            match (level, kind) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let bytes = data.first_chunk().copied().map(libc::c_int::from_ne_bytes);
                    let bytes = bytes.and_then(|bytes| u16::try_from(bytes).ok());
                    info.segment_bytes = bytes.and_then(NonZeroU16::new);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let address = data.get(ADDRESS..).and_then(<[u8]>::first_chunk::<4>);
                    info.to = address.copied().map(Ipv4Addr::from);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => info.arrived = timespec(data),
                _ => {}
            }
        }
        info
    }
}

/// Splits off the first message of `rest`: its level, its kind and its data.
fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(libc::c_int, libc::c_int, &'a [u8])> {
    let header = rest.get(..HEADER_BYTES)?;
    // SAFETY: `header` has as many bytes as a `cmsghdr`. That is made of integers, so any
    // bytes are a valid one, and the read needs no alignment.
    let header: libc::cmsghdr = unsafe { header.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
    let len: usize = header.cmsg_len as _;
    let data = rest.get(HEADER_BYTES..len)?;
    *rest = rest
        .get(len.next_multiple_of(size_of::<usize>())..)
        .unwrap_or_default();
    Some((header.cmsg_level, header.cmsg_type, data))
}

/// Parses a `timespec`: seconds and nanoseconds.
fn timespec(data: &[u8]) -> Option<Duration> {
    let (seconds, rest) = data.split_first_chunk()?;
    let seconds = libc::c_long::from_ne_bytes(*seconds);
    let nanoseconds = libc::c_long::from_ne_bytes(*rest.first_chunk()?);
    let nanoseconds = u32::try_from(nanoseconds).ok()?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
}

/// Space for all messages that sockets ask for: one with an `int` takes 24 bytes, one
/// with an `in_pktinfo` and one with a `timespec` take 32 each.
const CONTROL_BYTES: usize = 88;

/// Offset of the data of a message. A `cmsghdr` needs no padding after it.
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();

/// Offset of the datagram's destination in an `in_pktinfo`.
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
    fn messages_are_parsed_in_any_order() {
        let gro = (libc::SOL_UDP, libc::UDP_GRO, &25_i32.to_ne_bytes()[..]);
        let local = [1, 0, 0, 0, 127, 0, 0, 1, 127, 7, 8, 9];
        let local = (libc::IPPROTO_IP, libc::IP_PKTINFO, &local[..]);
        let mut stamp = [0; 2 * size_of::<libc::c_long>()];
        let (seconds, nanoseconds) = stamp.split_at_mut(size_of::<libc::c_long>());
        seconds.copy_from_slice(&(7 as libc::c_long).to_ne_bytes());
        nanoseconds.copy_from_slice(&(250 as libc::c_long).to_ne_bytes());
        let stamp = (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &stamp[..]);
        let info = PacketInfo {
            segment_bytes: NonZeroU16::new(25),
            to: Some(Ipv4Addr::new(127, 7, 8, 9)),
            arrived: Some(Duration::new(7, 250)),
        };
        for messages in [[gro, local, stamp], [stamp, local, gro]] {
            let (control, filled) = control(&messages);
            assert_eq!(filled, CONTROL_BYTES, "no more is asked for");
            assert_eq!(control.parse(filled), info);
            assert_eq!(control.parse(0), PacketInfo::default());
        }
    }

    #[test]
    fn incomplete_and_unknown_messages_are_skipped() {
        let gro = (libc::SOL_UDP, libc::UDP_GRO, &25_i32.to_ne_bytes()[..]);
        let unknown = (libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[1, 0, 0, 0][..]);
        let short = (libc::IPPROTO_IP, libc::IP_PKTINFO, &[1, 0, 0, 0, 127][..]);
        let (unknown_first, filled) = control(&[unknown, gro]);
        assert_eq!(
            unknown_first.parse(filled).segment_bytes,
            NonZeroU16::new(25)
        );
        let last_byte = HEADER_BYTES + unknown.2.len() + 4 + HEADER_BYTES + gro.2.len() - 1;
        assert_eq!(unknown_first.parse(last_byte), PacketInfo::default());
        let half = [0; size_of::<libc::c_long>() + 1];
        let negative = [0xff; 2 * size_of::<libc::c_long>()];
        let stamp = |data| (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, data);
        for message in [short, stamp(&half[..]), stamp(&negative[..])] {
            let (wrong, filled) = control(&[message]);
            assert_eq!(wrong.parse(filled), PacketInfo::default());
        }
    }
}
