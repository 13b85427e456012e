//! The system calls that a server cannot do without, tried before it starts.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{MsgFlags, recvmsg, sendmsg};

use super::receive::receive_batch;
use super::send::{EMPTY_HEADER, EMPTY_IOVEC, send_batch};
use super::socket::in_call;

/// Sends a datagram to itself, with the calls for batches, or else with those for one
/// datagram. No network takes part, so an error is one of the calls. Also takes a random number, as
/// a file takes the place of that call, and is then open.
///
/// # Errors
/// Neither a call nor what replaces it works. The error names both, as a filter of calls (seccomp)
/// or an old kernel may refuse them.
pub fn check_calls() -> io::Result<()> {
    let (from, to) = UnixDatagram::pair().map_err(in_call("socketpair"))?;
    if let Err(error) = send_batch_of_one(&from) {
        sendmsg::<()>(
            from.as_raw_fd(),
            &[IoSlice::new(b"x")],
            &[],
            MsgFlags::empty(),
            None,
        )
        .map_err(|_| in_call("neither sendmmsg nor sendmsg is permitted")(error))?;
    }
    if let Err(error) = receive_batch_of_one(&to) {
        let mut buffer = [0];
        let mut buffers = [IoSliceMut::new(&mut buffer)];
        recvmsg::<()>(to.as_raw_fd(), &mut buffers, None, MsgFlags::MSG_DONTWAIT)
            .map_err(|_| in_call("neither recvmmsg nor recvmsg is permitted")(error))?;
    }
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
    random.map(drop).map_err(in_call("getrandom"))
}

fn send_batch_of_one(socket: &UnixDatagram) -> io::Result<usize> {
    let mut payload = *b"x";
    let mut iovec = point_at(&mut payload);
    let mut header = EMPTY_HEADER;
    header.msg_hdr.msg_iov = &raw mut iovec;
    header.msg_hdr.msg_iovlen = 1;
    // SAFETY: the header points at one iovec, and that at one byte. Both live in this frame. A
    // connected socket takes no name.
    let sent = unsafe { send_batch(socket.as_fd(), std::slice::from_mut(&mut header)) };
    sent.map_err(io::Error::from_raw_os_error)
}

fn receive_batch_of_one(socket: &UnixDatagram) -> io::Result<usize> {
    let mut payload = [0];
    let mut iovec = point_at(&mut payload);
    let mut header = EMPTY_HEADER;
    header.msg_hdr.msg_iov = &raw mut iovec;
    header.msg_hdr.msg_iovlen = 1;
    // SAFETY: as above. Without space for a name the kernel writes none.
    unsafe { receive_batch(socket.as_fd(), std::slice::from_mut(&mut header)) }
}

fn point_at(payload: &mut [u8; 1]) -> libc::iovec {
    let mut iovec = EMPTY_IOVEC;
    iovec.iov_base = payload.as_mut_ptr().cast();
    iovec.iov_len = payload.len();
    iovec
}
