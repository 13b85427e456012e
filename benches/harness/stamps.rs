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

use super::Error;

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
        .filter_map(|socket| arrival(socket).transpose());
    stamps.collect()
}

/// Takes one datagram from `socket`, if there is one, and returns when it arrived.
pub(crate) fn arrival(socket: &UdpSocket) -> Result<Option<Duration>, Error> {
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

/// Throws away what waits at `sockets`.
pub(crate) fn clear(sockets: &[UdpSocket]) {
    for socket in sockets {
        while arrival(socket).is_ok_and(|stamp| stamp.is_some()) {}
    }
}
