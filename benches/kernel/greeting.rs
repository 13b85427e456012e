//! The greeting service: how many round trips a second of CPU time makes.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bullhorn::config::ServiceKind;

use crate::Plan;
use crate::harness::Error;
use crate::harness::bare::Echo;
use crate::harness::bare_thread::BareThread;
use crate::harness::cpu::pin;
use crate::harness::peers::open_sockets;
use crate::harness::receivers::wait_until;
use crate::harness::report::{Goal, Row};
use crate::harness::subject::{self, Cost};

/// 64 clients, each of which asks again as soon as it is answered.
pub(crate) fn measure_many(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, 64)
}

/// One client: the server sleeps before each question.
pub(crate) fn measure_one(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, 1)
}

fn measure(plan: &Plan, name: &'static str, clients: usize) -> Result<Row, Error> {
    let server = subject::start(ServiceKind::Greet)?;
    pin(plan.cores.load)?;
    let mut echo = Echo::new(&an_answer_of(server.local_addr())?);
    let turn = move |socket: &UdpSocket| echo.answer(socket);
    let bare = BareThread::start(plan.cores.subject, subject::buffers(), turn)?;

    let clients = [
        Clients::open(clients, bare.local_addr())?,
        Clients::open(clients, server.local_addr())?,
    ];
    let load = |is_subject| clients[usize::from(is_subject)].ask_for(plan.window);
    let (pairs, note) =
        subject::compare(plan.pairs, "answers", load, Cost::thousands_a_cpu_second)?;
    Ok(Row {
        name,
        unit: "thousand round trips a CPU-second",
        goal: Goal::AtLeast(0.85),
        pairs,
        note,
    })
}

/// What the bare echo is to answer with, so that both send the same bytes.
fn an_answer_of(server: SocketAddr) -> Result<Vec<u8>, Error> {
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    client.send_to(QUESTION, server)?;
    let mut answer = [0; 1024];
    let len = client.recv(&mut answer)?;
    Ok(answer[..len].to_vec())
}

/// Sockets that ask one address. They are looked at in turn, never waited for:
/// nobody is asleep on them, so an answer costs no waking.
struct Clients {
    sockets: Vec<UdpSocket>,
}

impl Clients {
    fn open(count: usize, target: SocketAddr) -> Result<Self, Error> {
        let sockets = open_sockets(count)?;
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            socket.connect(target)?;
        }
        Ok(Self { sockets })
    }

    /// Has one question of each client under way for as long as `window`, and
    /// returns how many were asked and how many were answered.
    fn ask_for(&self, window: Duration) -> Result<(u64, u64), Error> {
        let start = Instant::now();
        for socket in &self.sockets {
            socket.send(QUESTION)?;
        }
        let (mut asked, mut answered) = (self.sockets.len() as u64, 0);
        while start.elapsed() < window {
            for socket in &self.sockets {
                if is_answered(socket)? {
                    socket.send(QUESTION)?;
                    (asked, answered) = (asked + 1, answered + 1);
                }
            }
        }
        wait_until(|| {
            let late = self
                .sockets
                .iter()
                .filter(|socket| is_answered(socket).unwrap_or(false));
            answered += late.count() as u64;
            answered >= asked
        });
        Ok((asked, answered))
    }
}

fn is_answered(socket: &UdpSocket) -> io::Result<bool> {
    match socket.recv(&mut [0; 64]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        received => received.map(|_| true),
    }
}

const QUESTION: &[u8] = b"hello world";
