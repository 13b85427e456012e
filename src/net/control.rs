//! Control messages: the segments of a packet, and the local address of a datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use super::local::LocalAddr;

/// The control messages of a packet. A packet that is not segmented begins at the second, and
/// one without a source ends with the first.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Control {
    pub(super) segment: SegmentControl,
    source: PacketInfo,
}

/// The local address that packets leave from.
pub(super) struct Source {
    /// `None`: that of the socket, or the one that the routes choose.
    pub(super) address: Option<LocalAddr>,
    message: PacketInfo,
    /// Length of `message`, which is 0 without an address.
    pub(super) bytes: usize,
    /// The number of controls, from the first on, that have `message`.
    written: usize,
}

/// The control message that carries `UDP_SEGMENT`, in the layout of cmsg(3).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SegmentControl {
    header: libc::cmsghdr,
    pub(super) segment_bytes: u16,
    padding: [u16; 3],
}

/// The control message `IP_PKTINFO` or `IPV6_PKTINFO`, in the layout of cmsg(3). It carries
/// the local address that a datagram was sent to, or is to be sent from.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct PacketInfo {
    header: libc::cmsghdr,
    /// A `struct in_pktinfo` or `in6_pktinfo`.
    info: [u8; INFO_BYTES],
}

impl Control {
    pub(super) const EMPTY: Self = Self {
        segment: SegmentControl::new(0),
        source: PacketInfo::EMPTY,
    };

    /// Points `header` at the messages of a packet with segments of this length, or without
    /// segments, and with a source of `source_bytes`.
    pub(super) fn attach(
        &mut self,
        segment_bytes: Option<NonZeroU16>,
        source_bytes: usize,
        header: &mut libc::msghdr,
    ) {
        if let Some(segment_bytes) = segment_bytes {
            self.segment.segment_bytes = segment_bytes.get();
            header.msg_control = (&raw mut *self).cast();
            header.msg_controllen = size_of::<SegmentControl>() + source_bytes;
        } else if source_bytes > 0 {
            header.msg_control = (&raw mut self.source).cast();
            header.msg_controllen = source_bytes;
        } else {
            header.msg_control = std::ptr::null_mut();
            header.msg_controllen = 0;
        }
    }
}

impl Source {
    pub(super) fn new(address: Option<LocalAddr>) -> Self {
        let message = address.map_or(PacketInfo::EMPTY, PacketInfo::of);
        Self {
            address,
            message,
            bytes: message.space(),
            written: 0,
        }
    }

    /// Writes the message into the control with this index, unless it is there. Controls are
    /// written in the order of their indexes.
    pub(super) fn write(&mut self, index: usize, control: &mut Control) {
        if self.bytes > 0 && index >= self.written {
            control.source = self.message;
            self.written = index + 1;
        }
    }
}

impl SegmentControl {
    pub const fn new(segment_bytes: u16) -> Self {
        Self {
            header: libc::cmsghdr {
                // CMSG_LEN(sizeof(__u16))
                cmsg_len: size_of::<libc::cmsghdr>() + size_of::<u16>(),
                cmsg_level: libc::SOL_UDP,
                cmsg_type: libc::UDP_SEGMENT,
            },
            segment_bytes,
            padding: [0; 3],
        }
    }
}

impl PacketInfo {
    /// Length of the shortest message with its padding.
    pub(super) const MIN_SPACE: usize = V4_LEN.next_multiple_of(align_of::<libc::cmsghdr>());

    /// Space for a message that the kernel writes.
    pub(super) const EMPTY: Self = Self {
        header: libc::cmsghdr {
            cmsg_len: 0,
            cmsg_level: 0,
            cmsg_type: 0,
        },
        info: [0; INFO_BYTES],
    };

    /// Returns a message that makes a datagram leave from `address`.
    pub(super) fn of(address: LocalAddr) -> Self {
        let (mut message, interface) = (Self::EMPTY, address.interface.to_ne_bytes());
        let header = &mut message.header;
        match address.ip {
            IpAddr::V4(ip) => {
                header.cmsg_len = V4_LEN;
                header.cmsg_level = libc::IPPROTO_IP;
                header.cmsg_type = libc::IP_PKTINFO;
                message.info[V4_INTERFACE].copy_from_slice(&interface);
                message.info[V4_SOURCE].copy_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                header.cmsg_len = V6_LEN;
                header.cmsg_level = libc::IPPROTO_IPV6;
                header.cmsg_type = libc::IPV6_PKTINFO;
                message.info[V6_IP].copy_from_slice(&ip.octets());
                message.info[V6_INTERFACE].copy_from_slice(&interface);
            }
        }
        message
    }

    /// Returns the length of the message with its padding, as `CMSG_SPACE` does.
    pub(super) fn space(&self) -> usize {
        self.header
            .cmsg_len
            .next_multiple_of(align_of::<libc::cmsghdr>())
    }

    /// Returns the local address in a message that the kernel wrote, of which it filled
    /// `written` bytes. `None`: there is none, or the destination was a multicast group.
    pub(super) fn parse(&self, written: usize) -> Option<LocalAddr> {
        if written < size_of::<libc::cmsghdr>() || written < self.header.cmsg_len {
            return None;
        }
        let kind = (self.header.cmsg_level, self.header.cmsg_type);
        let (ip, interface) = match (kind, self.header.cmsg_len) {
            // For a broadcast or multicast destination the kernel names the address that a
            // reply is to come from.
            ((libc::IPPROTO_IP, libc::IP_PKTINFO), V4_LEN) => {
                let ip: [u8; 4] = self.field(V4_SOURCE);
                (IpAddr::from(Ipv4Addr::from(ip)), 0)
            }
            ((libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), V6_LEN) => {
                let ip: [u8; 16] = self.field(V6_IP);
                let interface = u32::from_ne_bytes(self.field(V6_INTERFACE));
                (IpAddr::from(Ipv6Addr::from(ip)), interface)
            }
            _ => return None,
        };
        let is_usable = !ip.is_multicast() && !ip.is_unspecified();
        is_usable.then(|| LocalAddr::at(ip, interface))
    }

    fn field<const N: usize>(&self, range: std::ops::Range<usize>) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.info[range]);
        field
    }
}

/// Makes one datagram of a packet, which keeps its source.
pub(super) fn remove_segments(header: &mut libc::msghdr) {
    let source_bytes = header.msg_controllen - size_of::<SegmentControl>();
    header.msg_control = match source_bytes {
        0 => std::ptr::null_mut(),
        _ => header
            .msg_control
            .wrapping_byte_add(size_of::<SegmentControl>()),
    };
    header.msg_controllen = source_bytes;
}

/// Returns `true` if the control messages of a packet begin with its segments.
pub(super) fn is_segmented(header: &libc::mmsghdr) -> bool {
    // A source alone has one of the other lengths.
    const SEGMENT: usize = size_of::<SegmentControl>();
    let source_bytes = header.msg_hdr.msg_controllen.checked_sub(SEGMENT);
    source_bytes.is_some_and(|bytes| bytes == 0 || bytes >= PacketInfo::MIN_SPACE)
}

/// `sizeof(struct in6_pktinfo)`, the larger of the two, and padding.
const INFO_BYTES: usize = 24;

// CMSG_LEN of both.
const V4_LEN: usize = size_of::<libc::cmsghdr>() + size_of::<libc::in_pktinfo>();
const V6_LEN: usize = size_of::<libc::cmsghdr>() + size_of::<libc::in6_pktinfo>();

// Offsets of the fields, from include/uapi/linux/in.h and ipv6.h. `V4_SOURCE` is
// `ipi_spec_dst`.
const V4_INTERFACE: std::ops::Range<usize> = 0..4;
const V4_SOURCE: std::ops::Range<usize> = 4..8;
const V6_IP: std::ops::Range<usize> = 0..16;
const V6_INTERFACE: std::ops::Range<usize> = 16..20;

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> LocalAddr {
        LocalAddr::of(text.parse().unwrap())
    }

    #[test]
    fn a_control_message_survives_the_round_trip_and_has_the_kernels_layout() {
        for (text, space) in [
            ("127.0.0.2:0", 32),
            ("[2001:db8::1]:0", 40),
            ("[fe80::1%7]:0", 40),
        ] {
            let message = PacketInfo::of(local(text));
            assert_eq!(message.space(), space, "{text}");
            assert_eq!(message.parse(space), Some(local(text)), "{text}");
            assert_eq!(message.parse(space - 9), None, "{text} is cut");
            assert_eq!(message.parse(0), None, "{text} was not written");
        }
        assert_eq!(size_of::<PacketInfo>(), 40);
    }

    #[test]
    fn only_link_local_addresses_keep_their_interface() {
        assert_eq!(local("[fe80::1%7]:0").interface, 7);
        assert_eq!(local("[2001:db8::1%7]:0").interface, 0);
        let arrived = LocalAddr {
            ip: "2001:db8::1".parse().unwrap(),
            interface: 7,
        };
        let parsed = PacketInfo::of(arrived).parse(40).unwrap();
        assert_eq!(parsed, local("[2001:db8::1]:0"));
    }

    #[test]
    fn a_multicast_destination_leaves_the_source_to_the_routes() {
        let group = LocalAddr {
            ip: "ff02::1".parse().unwrap(),
            interface: 7,
        };
        assert_eq!(PacketInfo::of(group).parse(40), None);
    }
}
