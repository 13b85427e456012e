//! The log of refused system calls.

use super::features::name_of;
use crate::net::RefusedCalls;
use crate::server::ops::log::Log;

/// Logs each system call that the sandbox refuses, once.
#[derive(Debug, Default)]
pub struct Refusals {
    calls: RefusedCalls,
}

impl Refusals {
    /// Logs the names of the calls that have been refused since the last time.
    pub fn log_new(&mut self, log: &Log) {
        for number in self.calls.take() {
            let name = match name_of(number) {
                Some(name) => name.to_owned(),
                None if number == RefusedCalls::UNKNOWN => "of an unknown number".to_owned(),
                None => format!("number {number}"),
            };
            log.warn_at_start(format!("sandbox: refused system call {name}"));
        }
    }
}
