//! bullhorn: a multi-core UDP chat and fan-out server, and its client.

#[cfg(not(target_os = "linux"))]
compile_error!("bullhorn runs on Linux only: it needs recvmmsg, sendmmsg and SO_REUSEPORT");

pub mod client;
