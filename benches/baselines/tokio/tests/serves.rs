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
fn a_text_reaches_every_peer_and_a_ping_its_sender() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naive-tokio"));
    let command = command.args(["127.0.0.1", "0"]).stderr(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let mut errors = BufReader::new(server.0.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("bound to ").unwrap();

    let peers = [(); 3].map(|()| {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        peer.connect(address).unwrap();
        peer
    });
    let [ann, bob, cem] = &peers;
    ann.send(b"@IM@").unwrap();
    // The answer says that all before it is handled.
    bob.send(b"/ping a b").unwrap();
    assert_eq!(heard(bob), "* pong a b");
    cem.send(b"hi all").unwrap();
    let said = format!("{} hi all", cem.local_addr().unwrap());
    assert!(peers.iter().all(|peer| heard(peer) == said));

    cem.send(b"quit").unwrap();
    ann.send(b"bye").unwrap();
    let said = format!("{} bye", ann.local_addr().unwrap());
    assert_eq!((heard(ann), heard(bob)), (said.clone(), said));
    cem.send(b"/ping 1").unwrap();
    assert_eq!(heard(cem), "* pong 1");
}

fn heard(peer: &UdpSocket) -> String {
    let mut buffer = [0; 100];
    let len = peer.recv(&mut buffer).expect("something comes");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}
