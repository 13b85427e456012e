//! The dashboard of a server under load, in a real browser.
//!
//! Without a browser the tests are skipped, and say so. In CI they fail.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

#[path = "common/browser.rs"]
#[allow(dead_code, reason = "a part of it shows pages of files")]
mod browser;
#[path = "common/chromium.rs"]
mod chromium;
#[path = "../../tests/common/sandbox.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod sandbox;
#[path = "common/scratch.rs"]
mod scratch;

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use browser::browser;
use bullhorn::config::AdminConfig;
use bullhorn::server::clock::Clock;
use bullhorn::{Server, ServerConfig};
use chromium::{CUT, Page};
use loadgen::config::{Rate, RunConfig};
use loadgen::{Control, run};
use sandbox::{NoRefusedCalls, start_in_sandbox};
use scratch::Scratch;
use serde_json::{Value, json};

#[test]
fn the_page_shows_what_the_server_counts() {
    let Some(browser) = browser() else { return };
    let _no_refused_calls = NoRefusedCalls;
    let scratch = Scratch::new();
    let server = start(&scratch, LOCAL, LOCAL);
    let load = Load::start(server.local_addr());
    let url = url(&server);
    let mut page = Page::start(&browser, &scratch, 1_200, "");
    page.open(&url);
    // What the server has kept from before comes first, every 5 s, and then a point per second.
    page.wait("charts.all.length === 8 && charts.all[0].plot.data[0].length > 10");
    page.open(&url);
    page.wait("charts.all.length === 8");
    let first_s = page.value("charts.all[0].plot.data[0][0] - performance.timeOrigin / 1e3");
    assert!(first_s.as_f64().unwrap() < -3.0, "the past is not there");
    page.wait("charts.all[0].plot.data[1].at(-1) > 0");

    // The same second on the page and in the API.
    let both = page.wait(SAME_SECOND);
    let (stats, curves) = (&both["stats"], &both["curves"]);
    let rates = &stats["rates"];
    let expected = json!({
        "Deliveries": [rates["deliveries_per_s"], rates["deliveries_lost_per_s"]],
        "Datagrams in": [rates["datagrams_per_s"]],
        "Busy workers": rates["busy"],
        "Delivery time": [rates["plan_p50_us"], rates["plan_p99_us"]],
        "Peers": [rates["peers"]],
        "Rooms": [rates["rooms"]],
    });
    for (title, values) in expected.as_object().unwrap() {
        assert_eq!(curves[title]["newest"], *values, "{title}");
    }
    assert_eq!(rates["peers"], u64::from(CLIENTS));
    assert!(rates["datagrams_per_s"].as_f64().unwrap() > 0.0);
    let backlog_us = rates["backlog_ms"].as_f64().unwrap() * 1e3;
    assert_eq!(curves["Backlog"]["newest"][0].as_f64(), Some(backlog_us));
    for (title, curve) in curves.as_object().unwrap() {
        assert_eq!(curve["is_drawn"], true, "{title}");
        let text = curve["text"].as_str().unwrap();
        let newest = format!("{title}. Newest: ");
        assert!(text.starts_with(&newest), "{text}");
        assert!(
            !text.contains("NaN") && !text.contains("undefined"),
            "{text}"
        );
    }

    // Totals of the page lie between those of the API before and after.
    let between = page.value(BETWEEN);
    for total in between.as_array().unwrap() {
        let total: Vec<u64> = serde_json::from_value(total.clone()).unwrap();
        assert!(total[0] > 0 && total.is_sorted(), "{total:?}");
    }
    let health = page.value("document.getElementById('health').textContent");
    assert_eq!(health, "Running. 2 of 2 workers respond.");

    let light = page.value("getComputedStyle(document.documentElement).backgroundColor");
    page.darken();
    let dark = page.value("getComputedStyle(document.documentElement).backgroundColor");
    assert_ne!(light, dark);
    for width in [1_600, 1_200, 768, 360] {
        page.resize(width);
        page.wait(&format!("innerWidth === {width}"));
        let cut = page.wait(CUT);
        assert_eq!(cut, json!([]), "at {width}");
    }
    let own = page
        .requests()
        .iter()
        .all(|request| request.starts_with(&url) || request.starts_with("data:image/svg+xml,"));
    assert!(own, "{:?}", page.requests());
    assert_eq!(page.complaints(), [""; 0]);
    load.stop();
    server.stop().unwrap();
}

#[test]
fn the_page_goes_on_after_a_restart_of_the_server() {
    let Some(browser) = browser() else { return };
    let _no_refused_calls = NoRefusedCalls;
    let scratch = Scratch::new();
    let server = start(&scratch, LOCAL, LOCAL);
    let (address, admin) = (server.local_addr(), server.admin_addr().unwrap());
    let url = url(&server);
    let load = Load::start(address);
    let mut page = Page::start(&browser, &scratch, 1_200, "");
    page.open(&url);
    page.wait("charts.all.length === 8 && charts.all[0].plot.data[1].at(-1) > 0");
    server.stop().unwrap();
    let health = "document.getElementById('health').textContent";
    page.wait(&format!(
        "{health}.startsWith('No connection to the server since ')"
    ));
    assert_eq!(page.value("document.body.className"), "lost");

    let server = start(&scratch, &address.to_string(), &admin.to_string());
    page.wait(&format!(
        "{health}.includes('The server was restarted at ')"
    ));
    assert_eq!(page.value("document.body.className"), "");
    // The load goes on, and so do the curves. Between them is a gap.
    page.wait("charts.all[0].plot.data[1].at(-1) > 0");
    let curve = page.value("charts.all[0].plot.data[1]");
    let curve = curve.as_array().unwrap();
    let gap = curve.iter().position(Value::is_null).unwrap();
    assert!(curve[..gap].iter().any(|value| value.as_f64() > Some(0.0)));
    assert_eq!(curve.iter().filter(|value| value.is_null()).count(), 1);
    let rules = page.value("charts.all.map(({ rules }) => rules.map(({ label }) => label))");
    assert_eq!(rules, json!(vec![["restart"]; 8]));
    // The browser itself reports that nobody listened.
    for complaint in page.complaints() {
        assert!(complaint.contains("net::ERR_"), "{complaint}");
    }
    load.stop();
    server.stop().unwrap();
}

/// A server of this version takes no such names. A page must not rely on that.
#[test]
fn names_are_text_whatever_they_are() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new();
    let server = start(&scratch, LOCAL, LOCAL);
    let double = HOSTILE.replace("EVIL", &Value::from(EVIL).to_string());
    let mut page = Page::start(&browser, &scratch, 1_200, &double);
    page.open(&url(&server));
    let rows =
        "[...document.querySelectorAll('.scroll tbody tr')].map((row) => row.cells[0].textContent)";
    page.wait(&format!("{rows}.length === 2"));
    assert_eq!(page.value(rows), json!([EVIL, EVIL]));
    let health = page.wait("document.getElementById('health').className === 'bad' && document.getElementById('health').textContent");
    assert!(health.as_str().unwrap().contains(EVIL), "{health}");
    page.press(&format!("Manage… {EVIL}"));
    let title = page.value("document.getElementById('dialog-title').textContent");
    assert_eq!(title, EVIL);
    page.press("Kick");
    page.wait("document.querySelector('dialog[open] input')?.name === 'token'");
    page.type_text(TOKEN);
    page.press("Continue");
    let notice = page.wait("document.getElementById('notice').textContent || null");
    assert_eq!(notice, format!("Not done: {EVIL}"));
    let elements = "document.querySelectorAll('img, iframe, script:not([src])').length";
    assert_eq!(page.value(elements), 0);
    assert_eq!(page.value("window.isInjected === undefined"), true);
    server.stop().unwrap();
}

/// By mouse and by keyboard, with the wrong token and with the right one.
#[test]
fn what_the_operator_does_on_the_page_is_done() {
    let Some(browser) = browser() else { return };
    let _no_refused_calls = NoRefusedCalls;
    let scratch = Scratch::new();
    let server = start(&scratch, LOCAL, LOCAL);
    let handle = server.handle();
    let moderation = handle.moderation().unwrap();
    let (bob, amy) = (Peer::join(&server, "bob"), Peer::join(&server, "amy"));
    let mut page = Page::start(&browser, &scratch, 1_200, "");
    page.open(&url(&server));

    // The first stop of the Tab key is seen, and Escape goes back to it.
    page.wait("document.getElementById('health').className === 'good'");
    page.key("Tab", 9);
    assert_eq!(page.value("document.activeElement.id"), "say");
    let outline = page.value("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid");
    page.key("Enter", 13);
    page.wait(DIALOG);
    assert_eq!(page.value("document.activeElement.name"), "text");
    page.key("Escape", 27);
    page.wait("document.querySelector('dialog[open]') === null");
    assert_eq!(page.value("document.activeElement.id"), "say");

    page.press(&format!("Manage… {}", bob.address()));
    assert_eq!(page.wait(DIALOG), "bob");
    page.press("Kick");
    page.wait(&format!("{DIALOG} === 'Admin token'"));
    page.type_text("wrong-horse-battery-staple");
    page.press("Continue");
    page.wait(
        "document.getElementById('dialog-text').textContent.startsWith('This token is wrong.')",
    );
    assert_eq!(page.value("sessionStorage.length"), 0);
    page.type_text(TOKEN);
    page.key("Enter", 13);
    page.wait(&noticed("bob is removed."));
    bob.expect("removed");
    let first_cells =
        "[...document.querySelectorAll('#peers tbody th')].map((cell) => cell.textContent)";
    let left = json!([amy.address().to_string()]);
    page.wait(&format!("JSON.stringify({first_cells}) === '{left}'"));

    page.press("Say to all…");
    page.wait(DIALOG);
    page.type_text("Dinner & <b>cake</b>");
    page.press("Say");
    page.wait(&noticed("Said to all rooms."));
    amy.expect("Dinner & <b>cake</b>");

    for (button, label) in [("Mute…", "Mute"), ("Unmute", "")] {
        page.press(&format!("Manage… {}", amy.address()));
        page.press(button);
        if !label.is_empty() {
            page.press(label);
        }
        let is_muted = button == "Mute…";
        page.wait(&noticed(match is_muted {
            true => "amy is muted.",
            false => "amy may speak again.",
        }));
        let state = "document.querySelector('#peers tbody tr').cells[3].textContent";
        page.wait(&format!("{state}.includes('muted') === {is_muted}"));
    }

    // A ban and the end of the server are asked for twice.
    page.press(&format!("Manage… {}", amy.address()));
    page.press("Ban…");
    page.wait("document.querySelector('dialog[open] input')?.value === '127.0.0.1/32'");
    page.press("Cancel");
    page.wait("document.querySelector('dialog[open]') === null");
    assert_eq!(moderation.bans().len(), 0);
    for (net, notice) in [
        ("192.0.2.0/24", "192.0.2.0/24 is banned."),
        ("x", "Not done: net must be"),
    ] {
        page.press(&format!("Manage… {}", amy.address()));
        page.press("Ban…");
        page.wait("(() => { document.querySelector('dialog[open] input')?.select(); return document.activeElement.name === 'net'; })()");
        page.type_text(net);
        page.press("Ban");
        page.wait(&noticed(notice));
        assert_eq!(moderation.bans().len(), 1, "{net}");
    }
    page.press("Drain…");
    page.wait(DIALOG);
    page.press("Drain and stop");
    page.wait(&noticed("The server drains."));
    page.wait("document.getElementById('health').textContent.startsWith('Draining: ')");
    amy.expect("stop");

    assert_eq!(page.value("Object.values(sessionStorage)"), json!([TOKEN]));
    assert_eq!(
        page.value("localStorage.length + document.cookie.length"),
        0
    );
    page.press("Forget the token");
    assert_eq!(page.value("sessionStorage.length"), 0);
    let is_told = |request: &String| request.contains(TOKEN) || request.contains("wrong-horse");
    assert!(!page.requests().iter().any(is_told));
    // The browser itself reports the requests that were refused: a wrong token, and a wrong network.
    let refused = page.complaints();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("401") && refused[1].contains("422"));
    server.stop().unwrap();
}

#[test]
fn a_page_of_a_public_address_asks_for_the_token_first() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new();
    let server = start(&scratch, LOCAL, "0.0.0.0:0");
    let mut page = Page::start(&browser, &scratch, 360, "");
    let port = server.admin_addr().unwrap().port();
    page.open(&format!("http://127.0.0.1:{port}/"));
    page.wait(&format!("{DIALOG} === 'Admin token'"));
    page.type_text("wrong-horse-battery-staple");
    page.press("Continue");
    page.wait(
        "document.getElementById('dialog-text').textContent.startsWith('This token is wrong.')",
    );
    page.type_text(TOKEN);
    page.press("Continue");
    page.wait("document.getElementById('health').className === 'good' && charts.all.length === 8");
    server.stop().unwrap();
}

/// A running server with two workers.
fn start(scratch: &Scratch, address: &str, admin: &str) -> Server {
    let token_file = token_file(scratch);
    let config = ServerConfig {
        bind: vec![address.parse().unwrap()],
        workers: 2,
        no_pin: true,
        // The peers of a test send no heartbeats.
        timeout: Duration::from_secs(120),
        admin: AdminConfig {
            address: Some(admin.parse().unwrap()),
            token_file: Some(token_file),
        },
        ..ServerConfig::default()
    };
    start_in_sandbox(config, Clock::monotonic()).unwrap()
}

fn token_file(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("token");
    fs::write(&path, TOKEN).unwrap();
    path
}

fn url(server: &Server) -> String {
    format!("http://{}/", server.admin_addr().unwrap())
}

/// Returns an expression that is true when the page says this in passing.
fn noticed(sentence: &str) -> String {
    format!("document.getElementById('notice').textContent.startsWith('{sentence}')")
}

/// A peer of version 1 with a name.
struct Peer(UdpSocket);

impl Peer {
    fn join(server: &Server, name: &str) -> Self {
        let socket = UdpSocket::bind(LOCAL).unwrap();
        socket.connect(server.local_addr()).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.send(b"hello").unwrap();
        socket.send(format!("/nick {name}").as_bytes()).unwrap();
        let peer = Self(socket);
        peer.expect(name);
        peer
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Waits for a datagram with this text.
    #[track_caller]
    fn expect(&self, text: &str) {
        let mut datagram = [0; 2048];
        loop {
            // A process that was stopped receives again.
            let len = match self.0.recv(&mut datagram) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.unwrap(),
            };
            if String::from_utf8_lossy(&datagram[..len]).contains(text) {
                return;
            }
        }
    }
}

/// Clients that speak until they are stopped, also while the server is away.
struct Load {
    control: Arc<Control>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(target: SocketAddr) -> Self {
        let config = RunConfig {
            clients: CLIENTS,
            room_size: 10,
            duration: Duration::from_secs(600),
            drain: Duration::from_millis(100),
            rate: Rate::constant(200.0),
            ..RunConfig::new(target)
        };
        let control = Control::new();
        let its = Arc::clone(&control);
        let thread = thread::spawn(move || drop(run(&config, &its, |_| {}).unwrap()));
        Self { control, thread }
    }

    fn stop(self) {
        self.control.stop(2);
        self.thread.join().unwrap();
    }
}

const LOCAL: &str = "127.0.0.1:0";
const TOKEN: &str = "correct-horse-battery-staple";
const CLIENTS: u32 = 30;
/// The title of the dialog that is open, or null.
const DIALOG: &str = "(document.querySelector('dialog[open] h2')?.textContent ?? null)";
/// So long that only a broken server takes it.
const LIMIT: Duration = Duration::from_secs(20);
const EVIL: &str = "<img src=x onerror='isInjected=1'><script>isInjected=1</script>";

/// The stats and the curves if they are of the same second, and else null.
const SAME_SECOND: &str = r#"(async () => {
  const stats = await (await fetch("/api/v1/stats")).json();
  const [before, time] = charts.all[0].plot.data[0].slice(-2);
  // The history has means of 5 s, and its last point may be of this second.
  if (!(time - before < 1.5)) return null;
  if (time !== stats.rates.time_ms / 1e3 || stats.rates.plan_p50_us === null) return null;
  const curves = charts.all.map(({ title, figure, plot }) => {
    const canvas = figure.querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [title, {
      newest: plot.data.slice(1).map((values) => values.at(-1)),
      text: canvas.ariaLabel,
      is_drawn: canvas.role === "img" && data.some((byte) => byte !== 0),
    }];
  });
  return { stats, curves: Object.fromEntries(curves) };
})()"#;

/// Some totals, each of the API, of the page, and of the API again.
const BETWEEN: &str = r#"(async () => {
  const read = async () => (await (await fetch("/api/v1/stats")).json()).totals;
  const shown = (name) => {
    const number = [...document.getElementById("numbers").children].find((one) => one.firstChild.textContent === name);
    return Number(number.lastChild.textContent.replaceAll(",", "").split(" ")[0]);
  };
  const { deliveries, datagrams_in } = await read();
  // The page has the second of the API, or one before.
  await new Promise((resolve) => {
    new MutationObserver(resolve).observe(document.getElementById("numbers"), { subtree: true, childList: true });
  });
  const page = [shown("Deliveries"), shown("Datagrams in")];
  await new Promise((resolve) => {
    new MutationObserver(resolve).observe(document.getElementById("numbers"), { subtree: true, childList: true });
  });
  const after = await read();
  return [[deliveries, page[0], after.deliveries], [datagrams_in, page[1], after.datagrams_in]];
})()"#;

/// A double of the API, in which everything that strangers choose is hostile.
const HOSTILE: &str = r#"{
  const real = fetch, evil = EVIL;
  const answers = {
    "/api/v1/rooms": { total: 1, rooms: [{ name: evil, members: 1, v1: 1, v2: 0 }] },
    "/api/v1/peers": { total: 1, peers: [{ address: evil, name: evil, room: evil, version: 1, is_trusted: true, is_muted: true, silent_s: 0 }] },
  };
  window.fetch = async (path, options) => {
    const name = new URL(path, location).pathname;
    if (options?.method === "POST") return new Response(JSON.stringify({ error: evil }), { status: 400 });
    if (answers[name]) return new Response(JSON.stringify(answers[name]));
    const response = await real(path, options);
    if (!name.endsWith("/events")) return response;
    const change = new TransformStream({ transform: (text, out) => out.enqueue(text.replaceAll('"stuck":[]', `"stuck":${JSON.stringify([evil])}`)) });
    return new Response(response.body.pipeThrough(new TextDecoderStream()).pipeThrough(change).pipeThrough(new TextEncoderStream()));
  };
}"#;
