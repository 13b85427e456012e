//! The way of a gathered batch to the kernel, and what follows if it is not taken.

use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{SendTally, Sender, is_call_refusal, last_error, send_batch};
use crate::net::address::PeerAddr;
use crate::net::control::{is_segmented, remove_segments};

/// The socket that a batch is sent through, and the next step where the kernel takes no more.
pub(super) trait Way {
    fn socket(&self) -> BorrowedFd<'_>;

    /// Waits for space in the socket, which is full, or changes to another one.
    fn make_space(&mut self) -> Full;

    /// Notes that the kernel took these headers.
    fn segments_taken(&mut self, _headers: &[libc::mmsghdr]) {}

    /// Notes that the kernel refused to segment a packet to `peer`.
    fn segments_refused(&mut self, _peer: &PeerAddr) {}
}

/// The next step after a socket was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Send the same packets again.
    Retry,
    /// As `Retry`, but ask for the route of each first.
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "one socket has no routes")
    )]
    Reroute,
    Drop,
}

/// One socket for everything. It waits for space once.
pub(super) struct OneSocket<'a> {
    pub(super) socket: BorrowedFd<'a>,
    pub(super) may_wait: bool,
}

impl Way for OneSocket<'_> {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket
    }

    fn make_space(&mut self) -> Full {
        if std::mem::take(&mut self.may_wait) {
            wait_for_space(self.socket);
            Full::Retry
        } else {
            Full::Drop
        }
    }
}

impl Sender {
    /// Hands the headers in `range` to the kernel. Returns the index of the first that it did
    /// not handle, as [`Full::Reroute`] demands, or else the end of the range.
    ///
    /// # Safety
    /// `gather` must have set these headers, and the borrows of its packets must still
    /// be live. It must not have been called again.
    pub(super) unsafe fn flush(
        &mut self,
        way: &mut impl Way,
        range: Range<usize>,
        tally: &mut SendTally,
    ) -> usize {
        let mut done = range.start;
        while done < range.end {
            // SAFETY: these headers are as the caller promises.
            match unsafe { self.send_some(way.socket(), done..range.end) } {
                Ok(sent) => {
                    tally.sent += sum(&self.deliveries[done..done + sent]);
                    way.segments_taken(&self.headers[done..done + sent]);
                    done += sent;
                }
                Err(libc::EINTR) => {}
                Err(error) if is_full(error) => match way.make_space() {
                    Full::Retry => {}
                    Full::Reroute => return done,
                    Full::Drop => {
                        tally.congested += sum(&self.deliveries[done..range.end]);
                        return range.end;
                    }
                },
                Err(error) => {
                    if is_segmented(&self.headers[done]) && is_segment_refusal(error) {
                        // SAFETY: this is one of these headers, with a control message.
                        if unsafe { self.send_in_parts(way.socket(), done, tally) } {
                            // SAFETY: this is one of these headers.
                            way.segments_refused(unsafe { self.peer(done) });
                        }
                    } else {
                        tally.refused += u64::from(self.deliveries[done]);
                    }
                    done += 1;
                }
            }
        }
        done
    }

    /// Sends the headers in `range`, as [`send_batch`] does. Where the kernel does not permit
    /// `sendmmsg`, but `sendmsg`, this sends one header.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn send_some(
        &mut self,
        socket: BorrowedFd<'_>,
        range: Range<usize>,
    ) -> Result<usize, i32> {
        let headers = &mut self.headers[range];
        if !self.is_one_by_one {
            // SAFETY: these headers are as the caller promises.
            match again_if_stale(|| unsafe { send_batch(socket, headers) }) {
                Err(error) if is_call_refusal(error) && refuses_batches(socket) => {}
                result => return result,
            }
        }
        // SAFETY: as above.
        again_if_stale(|| unsafe { send_one(socket, &headers[0].msg_hdr) })?;
        self.is_one_by_one = true;
        Ok(1)
    }

    /// Sends the datagrams of one packet, which the kernel refused as a whole, one by
    /// one. Its deliveries are sent if all of its datagrams are. Returns `true` if any is: then
    /// the kernel refused the segments. Otherwise it refuses the peer, or the source.
    ///
    /// # Safety
    /// As for `flush`. `index` must be that of a gathered header with a control message.
    pub(super) unsafe fn send_in_parts(
        &mut self,
        socket: BorrowedFd<'_>,
        index: usize,
        tally: &mut SendTally,
    ) -> bool {
        tally.split_packets += 1;
        let bytes = self.iovecs[index].iov_len;
        let segment_bytes = self.segment_bytes(index);
        let (mut any_sent, mut all_sent) = (false, true);
        for start in (0..bytes).step_by(segment_bytes) {
            let part = start..bytes.min(start + segment_bytes);
            // SAFETY: this header is as the caller promises.
            let is_sent = unsafe { self.send_part(socket, index, part) }.is_ok();
            any_sent |= is_sent;
            all_sent &= is_sent;
        }
        let deliveries = u64::from(self.deliveries[index]);
        if all_sent {
            tally.sent += deliveries;
        } else {
            tally.refused += deliveries;
        }
        any_sent
    }

    /// Sends a part of one packet as one datagram.
    ///
    /// # Safety
    /// As for `flush`. `part` must lie within the payload.
    pub(super) unsafe fn send_part(
        &mut self,
        socket: BorrowedFd<'_>,
        index: usize,
        part: Range<usize>,
    ) -> Result<(), i32> {
        let mut iovec = libc::iovec {
            iov_base: self.iovecs[index].iov_base.wrapping_byte_add(part.start),
            iov_len: part.len(),
        };
        let mut header = self.headers[index];
        header.msg_hdr.msg_iov = &raw mut iovec;
        if is_segmented(&header) {
            remove_segments(&mut header.msg_hdr);
        }
        // SAFETY: the name is the packet's own. The iovec lives in this frame and leads to
        // a part of the payload.
        again_if_stale(|| unsafe { send_one(socket, &header.msg_hdr) })
    }

    /// Returns the length of the packet's datagrams. The last may be shorter.
    pub(super) fn segment_bytes(&self, index: usize) -> usize {
        if is_segmented(&self.headers[index]) {
            self.controls[index].segment.segment_bytes.into()
        } else {
            self.iovecs[index].iov_len
        }
    }

    /// Sends the first datagram of a packet, and cuts it off. Of a packet with one datagram,
    /// nothing is left, see `is_finished`.
    ///
    /// # Safety
    /// As for `flush`.
    #[cfg(feature = "server")]
    pub(super) unsafe fn send_first(
        &mut self,
        socket: BorrowedFd<'_>,
        index: usize,
    ) -> Result<(), i32> {
        let segment_bytes = self.segment_bytes(index);
        // SAFETY: as the caller promises.
        unsafe { self.send_part(socket, index, 0..segment_bytes) }?;
        let iovec = &mut self.iovecs[index];
        iovec.iov_base = iovec.iov_base.wrapping_byte_add(segment_bytes);
        iovec.iov_len -= segment_bytes;
        if is_segmented(&self.headers[index]) && iovec.iov_len <= segment_bytes {
            remove_segments(&mut self.headers[index].msg_hdr);
        }
        Ok(())
    }

    /// Returns `true` if nothing is left of a packet after `send_first`.
    #[cfg(feature = "server")]
    pub(super) fn is_finished(&self, index: usize) -> bool {
        self.iovecs[index].iov_len == 0
    }

    /// Returns the peer of a packet.
    ///
    /// # Safety
    /// As for `flush`.
    pub(super) unsafe fn peer(&self, index: usize) -> &PeerAddr {
        // SAFETY: `gather` made the pointer from a reference, which the caller says is live.
        unsafe { &*self.headers[index].msg_hdr.msg_name.cast() }
    }
}

/// Calls `send` once more after an error that may be a stale one.
///
/// After an ICMP message, a connected socket fails in the next call, whoever that sends to.
/// Spares are connected, and anyone can forge such a message. It must not cost a peer its packet.
fn again_if_stale<T>(mut send: impl FnMut() -> Result<T, i32>) -> Result<T, i32> {
    match send() {
        Err(error) if error != libc::EINTR && !is_full(error) => send(),
        result => result,
    }
}

/// Returns `true` if the system refuses `sendmmsg` as such. A packet filter refuses headers, and
/// here are none.
fn refuses_batches(socket: BorrowedFd<'_>) -> bool {
    // SAFETY: there are no headers that could point at anything.
    unsafe { send_batch(socket, &mut []) }.is_err()
}

/// Sends one header, without waiting.
///
/// # Safety
/// As for [`send_batch`].
unsafe fn send_one(socket: BorrowedFd<'_>, header: &libc::msghdr) -> Result<(), i32> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the caller vouches for what the header points at, which the kernel only reads.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), header, flags) };
    if sent < 0 {
        return Err(last_error());
    }
    Ok(())
}

/// Returns `true` for the errors of a socket that has no space.
pub(super) fn is_full(error: i32) -> bool {
    matches!(error, libc::EAGAIN | libc::ENOBUFS)
}

/// Returns `true` for the errors with which the kernel refuses to segment a packet
/// (net/ipv4/udp.c, `udp_send_skb`): no checksum offload, or segments that are too many
/// or too long.
fn is_segment_refusal(error: i32) -> bool {
    matches!(error, libc::EIO | libc::EINVAL | libc::EMSGSIZE)
}

fn sum(deliveries: &[u32]) -> u64 {
    deliveries.iter().copied().map(u64::from).sum()
}

/// Waits until `socket` has space, or for [`MAX_WAIT_MS`].
pub(super) fn wait_for_space(socket: BorrowedFd<'_>) {
    let mut sockets = [PollFd::new(socket, PollFlags::POLLOUT)];
    // The next send finds out whether there is space, so the result does not matter.
    let _ = poll(&mut sockets, PollTimeout::from(MAX_WAIT_MS));
}

/// The time that a full queue of a 1 Gbit/s interface (about 100 kB) takes to drain.
const MAX_WAIT_MS: u8 = 1;
