//! The baseline that `scripts/compare` measures for async Rust: a chat server as one
//! writes it with tokio. One task on a runtime of one thread, one `HashMap`, one
//! `send_to` for each delivery. It speaks what `tests/stock/chat_server.py` speaks.
//!
//! `naive-tokio HOST PORT TIMEOUT_S`; port 0 asks the kernel for a port, and stderr says
//! which one it became.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::runtime::Builder;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, timeout_s] = arguments.as_slice() else {
        return Err(io::Error::other("usage: naive-tokio HOST PORT TIMEOUT_S"));
    };
    let timeout_s = timeout_s.parse().map_err(io::Error::other)?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = UdpSocket::bind(format!("{host}:{port}")).await?;
        eprintln!("bound to {}", socket.local_addr()?);
        serve(&socket, Duration::from_secs(timeout_s)).await
    })
}

async fn serve(socket: &UdpSocket, timeout: Duration) -> io::Result<()> {
    let mut last_seen: HashMap<SocketAddr, Instant> = HashMap::new();
    let mut buffer = [0; 2048];
    loop {
        let (len, sender) = socket.recv_from(&mut buffer).await?;
        let data = &buffer[..len];
        if data.is_empty() || data.eq_ignore_ascii_case(b"quit") {
            last_seen.remove(&sender);
            continue;
        }
        let now = Instant::now();
        last_seen.insert(sender, now);
        if data.eq_ignore_ascii_case(b"@im@") {
            continue;
        }
        let message = [format!("{sender} ").as_bytes(), data].concat();
        last_seen.retain(|_, seen| now - *seen <= timeout);
        for peer in last_seen.keys() {
            socket.send_to(&message, peer).await?;
        }
    }
}
