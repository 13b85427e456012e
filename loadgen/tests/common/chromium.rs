//! A page in a real browser that a test looks at and uses, by the protocol of the browser's
//! developer tools.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scratch::Scratch;

/// A page, in a browser of its own, which ends with it.
pub(crate) struct Page {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    complaints: Vec<String>,
    requests: Vec<String>,
}

impl Page {
    /// Starts `browser` with an empty page of this width. `script` runs in each page before its
    /// own scripts do.
    pub(crate) fn start(browser: &Path, scratch: &Scratch, width: u32, script: &str) -> Self {
        // The browser reads commands from descriptor 3, and writes answers to 4.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
            ])
            .arg(browser)
            .args(FLAGS)
            .arg(format!(
                "--user-data-dir={}",
                scratch.path("profile").display()
            ))
            .env("HOME", scratch.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let messages = read_messages(child.stdout.take().unwrap());
        let mut page = Self {
            child,
            commands,
            messages,
            last_id: 0,
            session: None,
            complaints: Vec::new(),
            requests: Vec::new(),
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = page.call("Target.attachToTarget", target);
        page.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        let source = json!({ "source": script });
        page.call("Page.addScriptToEvaluateOnNewDocument", source);
        page.resize(width);
        page
    }

    /// Opens an address, and waits until the page's scripts have run.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.wait(&format!(
            "document.readyState === 'complete' && location.href === '{url}'"
        ));
    }

    pub(crate) fn resize(&mut self, width: u32) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Shows the page as to a user who prefers dark colors.
    pub(crate) fn darken(&mut self) {
        let dark = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": dark }));
    }

    /// Returns the value of an expression in the page, which may be a promise.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true}),
        );
        let error = &answer["exceptionDetails"];
        assert!(error.is_null(), "{expression}: {error}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true, and returns its value.
    #[track_caller]
    pub(crate) fn wait(&mut self, expression: &str) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let value = self.value(expression);
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if Instant::now() > deadline {
                let text = self.value("document.body.innerText");
                panic!("never true: {expression}, in {text}");
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits for a button with this text or label that is seen, and presses it.
    #[track_caller]
    pub(crate) fn press(&mut self, label: &str) {
        let label = Value::from(label);
        self.wait(&format!(
            "(() => {{
                const isIt = (button) => [button.textContent, button.ariaLabel].includes({label});
                const isSeen = (button) => button.checkVisibility() && !button.disabled;
                const modal = document.querySelector('dialog[open]') ?? document;
                const button = [...modal.querySelectorAll('button')].find((one) => isIt(one) && isSeen(one));
                button?.focus();
                button?.click();
                return button !== undefined;
            }})()"
        ));
    }

    /// Presses a key, such as Tab.
    pub(crate) fn key(&mut self, key: &str, code: u32) {
        let text = match key {
            "Enter" => "\r",
            _ => "",
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types a text into the field that has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Returns all errors and warnings of the console until now.
    pub(crate) fn complaints(&mut self) -> &[String] {
        self.value("0");
        &self.complaints
    }

    /// Returns the addresses of all requests until now.
    pub(crate) fn requests(&mut self) -> &[String] {
        self.value("0");
        &self.requests
    }

    /// Sends a command, and returns its result.
    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let mut command = command.to_string().into_bytes();
        command.push(0);
        self.commands.write_all(&command).unwrap();
        loop {
            let message = self.messages.recv_timeout(LIMIT);
            let mut message = message.unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap();
                self.requests.push(url.to_owned());
                return;
            }
            Some("Runtime.exceptionThrown") => &params["exceptionDetails"],
            Some("Log.entryAdded") => &params["entry"],
            Some("Runtime.consoleAPICalled") if params["type"] != "log" => params,
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It has ended by itself if this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads messages, each of which ends with a zero.
fn read_messages(output: ChildStdout) -> Receiver<Value> {
    let (sender, messages) = channel();
    thread::spawn(move || {
        for message in BufReader::new(output).split(0) {
            let Ok(message) = message else { return };
            let message = serde_json::from_slice(&message).unwrap();
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    messages
}

const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
];

/// So long that only a broken browser or page takes it.
const LIMIT: Duration = Duration::from_secs(60);

/// The elements that do not fit into the page, when the charts have taken its width.
pub(crate) const CUT: &str = r#"(() => {
  const isFitting = charts.all.every(({ figure, plot }) => Math.abs(plot.width - figure.lastChild.clientWidth) <= 1);
  if (!isFitting) return null;
  const width = document.documentElement.clientWidth;
  const isUnseen = (element) => element.closest(".unseen, .u-over, .u-legend tr:first-child") !== null;
  const cut = [...document.querySelectorAll("body *")]
    .filter((element) => !isUnseen(element) && element.getBoundingClientRect().right > width + 1);
  const isWide = document.documentElement.scrollWidth > width;
  return isWide || cut.length ? [isWide, ...cut.map((element) => element.outerHTML.slice(0, 80))] : [];
})()"#;
