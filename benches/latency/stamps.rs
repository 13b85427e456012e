//! When datagrams arrived, as the kernel stamped them.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::harness::Error;

/// From now on the kernel stamps what arrives at `socket` (`SO_TIMESTAMPNS`).
pub(crate) fn stamp_arrivals(socket: &UdpSocket) -> Result<(), Error> {
    Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &true)?)
}

/// The time now, of the clock that the stamps are from.
pub(crate) fn now() -> Result<Duration, Error> {
    Ok(clock_gettime(ClockId::CLOCK_REALTIME)?.into())
}

/// Takes one datagram from each of `sockets` that has one, and returns when
/// they arrived.
pub(crate) fn arrivals(sockets: &[UdpSocket]) -> Result<Vec<Duration>, Error> {
    let stamps = sockets
        .iter()
        .filter_map(|socket| stamp(socket).transpose());
    stamps.collect()
}

/// Throws away what waits at `sockets`.
pub(crate) fn clear(sockets: &[UdpSocket]) {
    for socket in sockets {
        while stamp(socket).is_ok_and(|stamp| stamp.is_some()) {}
    }
}

fn stamp(socket: &UdpSocket) -> Result<Option<Duration>, Error> {
    let mut bytes = [0; 2048];
    let mut control = cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for message in message.cmsgs()? {
        if let ControlMessageOwned::ScmTimestampns(stamp) = message {
            return Ok(Some(stamp.into()));
        }
    }
    Err("a datagram without a stamp".into())
}
