//! The operator, who changes a server by its admin server.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use bullhorn::ServerConfig;
use bullhorn::config::AdminConfig;
use serde_json::Value;

use super::admin::{Response, send};
use super::{V4, unpinned_config};

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
