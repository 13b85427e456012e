//! The operator, who changes a server by its admin server.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use bullhorn::ServerConfig;
use bullhorn::config::AdminConfig;
use serde_json::Value;

use super::admin::Response;
use super::{TIMEOUT, V4, unpinned_config};

/// A folder that is removed on drop, with the file of the token.
pub(crate) struct TokenFile {
    folder: PathBuf,
    pub(crate) path: PathBuf,
}

impl TokenFile {
    /// Writes a file. `name` is that of the test.
    #[track_caller]
    pub(crate) fn write(name: &str, content: &str) -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("bullhorn-token-{id}-{name}"));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("token");
        fs::write(&path, content).expect("a file");
        Self { folder, path }
    }

    /// Writes a file with [`TOKEN`].
    #[track_caller]
    pub(crate) fn new(name: &str) -> Self {
        Self::write(name, &format!("{TOKEN}\n"))
    }

    /// Returns the configuration of a server that this token changes.
    pub(crate) fn config(&self) -> ServerConfig {
        ServerConfig {
            admin: AdminConfig {
                address: Some(V4.parse().expect("an address")),
                token_file: Some(self.path.clone()),
            },
            ..unpinned_config(2, V4)
        }
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Sends a request with these headers, each with its end, and reads the answer.
#[track_caller]
pub(crate) fn send(address: SocketAddr, line: &str, headers: &str, body: &str) -> Response {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("not zero");
    let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n{body}");
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

/// Changes something with the token.
#[track_caller]
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Response {
    let headers = format!(
        "Host: {address}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    send(address, &format!("POST {path}"), &headers, body)
}

/// Reads a list without the token.
#[track_caller]
pub(crate) fn list(address: SocketAddr, path: &str) -> Response {
    let headers = format!("Host: {address}\r\n");
    send(address, &format!("GET {path}"), &headers, "")
}

impl Response {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).expect("it is JSON")
    }

    /// Returns the body of a success.
    #[track_caller]
    pub(crate) fn success(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    /// Returns the status and the sentence of a refusal.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        let json = self.json();
        let sentence = json["error"].as_str().expect("a sentence");
        assert!(json.as_object().is_some_and(|object| object.len() == 1));
        (self.status, sentence.to_owned())
    }
}

pub(crate) const TOKEN: &str = "a-token-of-the-tests-0123456789";
