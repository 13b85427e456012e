//! A client of the admin server, and the numbers of its metrics.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::TIMEOUT;

/// An answer of the admin server.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The names in small letters, and the values.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// The values of the metrics, by their names and labels as `name{label="value"}`.
pub(crate) struct Metrics(pub(crate) BTreeMap<String, f64>);

/// Asks for a page, or a list without the token.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    get_as(address, path, "*/*")
}

/// Asks for a page in the format `accept`.
#[track_caller]
pub(crate) fn get_as(address: SocketAddr, path: &str, accept: &str) -> Response {
    let headers = format!("Host: {address}\r\nAccept: {accept}\r\n");
    send(address, &format!("GET {path}"), &headers, "")
}

/// Asks for a page by HTTP 1.0, in which an answer is in one piece.
#[track_caller]
pub(crate) fn get_in_one_piece(address: SocketAddr, path: &str) -> Response {
    exchange(
        address,
        &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"),
    )
}

/// Sends a request with these headers, each with its end, and reads the answer.
#[track_caller]
pub(crate) fn send(address: SocketAddr, line: &str, headers: &str, body: &str) -> Response {
    exchange(
        address,
        &format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n{body}"),
    )
}

#[track_caller]
fn exchange(address: SocketAddr, request: &str) -> Response {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("not zero");
    // It may answer before it has read all of it.
    let _ = stream.write_all(request.as_bytes());
    read_answer(&mut stream).expect("it answers")
}

/// Reads an answer up to the end of the connection.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Option<Response> {
    let mut answer = Vec::new();
    // A connection that is closed with unread bytes is reset after the answer.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    answer
        .contains("\r\n\r\n")
        .then(|| Response::parse(&answer))
}

/// Returns the numbers that Prometheus would read now.
#[track_caller]
pub(crate) fn metrics(address: SocketAddr) -> Metrics {
    let response = get(address, "/metrics");
    assert_eq!(response.status, 200, "{response:?}");
    Metrics::parse(&response.body)
}

impl Response {
    #[track_caller]
    fn parse(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers = lines.filter_map(|line| line.split_once(": "));
        let response = Self {
            status: status.and_then(|code| code.parse().ok()).expect("a status"),
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        };
        assert_eq!(response.header("transfer-encoding"), None, "not handled");
        response
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(header, _)| header == name)?;
        Some(value)
    }
}

impl Metrics {
    #[track_caller]
    fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            (sample.to_owned(), value.parse().expect("a number"))
        });
        Self(samples.collect())
    }

    /// Returns a value, by its name and labels.
    #[track_caller]
    pub(crate) fn value(&self, sample: &str) -> f64 {
        match self.0.get(sample) {
            Some(value) => *value,
            None => panic!("no {sample} in {:#?}", self.0),
        }
    }

    /// Returns the sum of all values of a metric.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let is_its = |sample: &str| sample.split('{').next() == Some(name);
        let values = self.0.iter().filter(|(sample, _)| is_its(sample));
        let values: Vec<f64> = values.map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "no {name} in {:#?}", self.0);
        values.iter().sum()
    }
}
