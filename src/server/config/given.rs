//! Settings that follow from others, unless they are given.

use std::net::SocketAddr;

use crate::net::InheritedSockets;

use super::{ConfigError, CoreList, ServerConfig};

/// The settings that somebody has given, while the others have their defaults.
#[derive(Debug, Clone, Copy, Default)]
#[doc(hidden)]
pub struct Given {
    pub workers: bool,
    pub bind: bool,
}

/// A setting that contradicts the sockets that the service manager has opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InheritedConflict {
    /// Another number of workers is given than each address has sockets.
    #[error(
        "--workers {given}: the service manager has opened {sockets} sockets for each address, one \
         for each worker. Leave out --workers, or give ListenDatagram= {given} times"
    )]
    Workers {
        /// The number of workers.
        given: u16,
        /// The number of sockets of each address.
        sockets: usize,
    },
    /// Other addresses are given than those of the sockets.
    #[error("--bind: the service manager has opened sockets on {sockets}. Leave out --bind")]
    Bind {
        /// The addresses of the sockets.
        sockets: String,
    },
}

impl ServerConfig {
    /// Takes the addresses and the number of workers from `sockets`, or else the number of workers
    /// from the list of cores, unless they are given.
    ///
    /// # Errors
    /// Other addresses, or another number of workers, are given than there are sockets.
    #[doc(hidden)]
    pub fn complete(
        &mut self,
        given: Given,
        sockets: Option<&InheritedSockets>,
    ) -> Result<(), ConfigError> {
        let cores = self.cores.as_ref().map(CoreList::as_slice);
        match (sockets, cores) {
            (Some(sockets), _) => self.adopt(given, sockets)?,
            (None, Some(cores)) if !given.workers => {
                self.workers = u16::try_from(cores.len()).unwrap_or(u16::MAX);
            }
            _ => {}
        }
        Ok(())
    }

    fn adopt(&mut self, given: Given, sockets: &InheritedSockets) -> Result<(), InheritedConflict> {
        let (addresses, count) = (sockets.addresses(), sockets.sockets_per_address());
        if given.workers && usize::from(self.workers) != count {
            return Err(InheritedConflict::Workers {
                given: self.workers,
                sockets: count,
            });
        }
        let sorted = |addresses: &[SocketAddr]| {
            let mut addresses = addresses.to_vec();
            addresses.sort_unstable();
            addresses
        };
        let is_same = sorted(&self.bind) == sorted(&addresses);
        if given.bind && !is_same {
            let addresses = addresses.iter().map(ToString::to_string);
            return Err(InheritedConflict::Bind {
                sockets: addresses.collect::<Vec<_>>().join(" and "),
            });
        }
        self.workers = u16::try_from(count).unwrap_or(u16::MAX);
        self.bind = addresses;
        Ok(())
    }
}
