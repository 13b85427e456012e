//! The baseline does what it claims.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_text_reaches_every_peer_that_has_not_left() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naive-tokio"));
    let command = command
        .args(["127.0.0.1", "0", "60"])
        .stderr(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let mut errors = BufReader::new(server.0.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("bound to ").unwrap();

    let [ann, bob] = [(); 2].map(|()| {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let limit = Some(Duration::from_secs(60));
        peer.set_read_timeout(limit).unwrap();
        peer.connect(address).unwrap();
        peer
    });
    ann.send(b"@IM@").unwrap();
    bob.send(b"hi all").unwrap();
    let said = format!("{} hi all", bob.local_addr().unwrap());
    assert_eq!((heard(&ann), heard(&bob)), (said.clone(), said));
    bob.send(b"quit").unwrap();
    ann.send(b"bye").unwrap();
    bob.send(b"back").unwrap();
    let (bye, back) = (format!("{} bye", ann.local_addr().unwrap()), " back");
    assert_eq!(heard(&ann), bye);
    // Whoever has left receives nothing until it comes back.
    assert!(heard(&bob).ends_with(back));
}

fn heard(peer: &UdpSocket) -> String {
    let mut buffer = [0; 100];
    let len = peer.recv(&mut buffer).expect("something comes");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}
