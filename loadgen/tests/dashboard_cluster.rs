//! The part of the dashboard that shows a cluster, in a real browser.
//!
//! Without a browser the test is skipped, and says so. In CI it fails.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

#[path = "common/browser.rs"]
#[allow(dead_code, reason = "a part of it shows pages of files")]
mod browser;
#[path = "common/chromium.rs"]
#[allow(dead_code, reason = "other tests press keys")]
mod chromium;
#[path = "../../tests/common/sandbox.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod sandbox;
#[path = "common/scratch.rs"]
mod scratch;

use browser::browser;
use bullhorn::ServerConfig;
use bullhorn::server::clock::Clock;
use chromium::{CUT, Page};
use sandbox::{NoRefusedCalls, start_in_sandbox};
use scratch::Scratch;
use serde_json::{Value, json};

/// The server has no bus. The page gets two other nodes by a double of the events.
#[test]
fn a_node_shows_the_others_and_its_bus() {
    let Some(browser) = browser() else { return };
    let _no_refused_calls = NoRefusedCalls;
    let scratch = Scratch::new();
    let mut config = ServerConfig {
        bind: vec![LOCAL.parse().unwrap()],
        workers: 1,
        no_pin: true,
        ..ServerConfig::default()
    };
    config.admin.address = Some(LOCAL.parse().unwrap());
    config.cluster.servers = vec!["nats://127.0.0.1:1".parse().unwrap()];
    config.cluster.name = Some("t".parse().unwrap());
    config.cluster.node_id = Some("n1".parse().unwrap());
    let server = start_in_sandbox(config, Clock::monotonic()).unwrap();
    let url = format!("http://{}/", server.admin_addr().unwrap());

    let double = DOUBLE.replace("EVIL", &Value::from(EVIL).to_string());
    let mut page = Page::start(&browser, &scratch, 1_200, &double);
    page.open(&url);
    page.wait("charts.all.length === 10 && charts.all[8].plot.data[0].length > 0");
    let titles = page.value("charts.all.slice(8).map(({ title }) => title)");
    assert_eq!(
        titles,
        json!(["Texts between nodes", "Texts lost between nodes"])
    );
    let text = |id: &str| format!("document.getElementById('{id}').textContent");
    assert_eq!(page.value(&text("cluster-title")), "Cluster t");
    let health = page.value(&text("health"));
    let sentence = "Cut off from the cluster: texts reach the peers of this server only.";
    assert_eq!(health, sentence);
    let version = env!("CARGO_PKG_VERSION");
    let rows = "[...document.querySelectorAll('#cluster .scroll tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))";
    let mut found = page.value(rows);
    // The server has work to do, too.
    found[0][3] = "busy".into();
    let expected = json!([
        ["n1 (this one)", "0", "1", "busy", "–", "–", version],
        [
            "n2",
            "1,234",
            "56",
            "7.00 %",
            "250 µs",
            "0.5 s ago",
            "1.2.3"
        ],
        [
            format!("{EVIL} (members not known yet)"),
            "0",
            "0",
            "0 %",
            "–",
            "2 s ago",
            "1.2.3"
        ],
    ]);
    assert_eq!(found, expected);
    let cards = "[...document.querySelectorAll('#cluster-numbers > div')].map((card) => [...card.children].map((child) => child.textContent))";
    let expected = json!([
        ["Nodes", "3", "this one and 2 others"],
        ["Bus", "cut off", "0 disconnects since the start"],
        ["Texts out", "0/s", "0 in 0 batches, 0 B"],
        ["Texts in", "0/s", "0 in 0 batches, 0 B"],
        ["Dropped", "0/s", "9 late"],
        ["Missing", "0/s", "0 in all, 0 stale"],
    ]);
    assert_eq!(page.value(cards), expected);
    assert_eq!(page.value("window.isInjected === undefined"), true);
    for width in [1_600, 1_200, 768, 360] {
        page.resize(width);
        page.wait(&format!("innerWidth === {width}"));
        assert_eq!(page.wait(CUT), json!([]), "at {width}");
    }
    assert_eq!(page.complaints(), [""; 0]);
    server.stop().unwrap();
}

const LOCAL: &str = "127.0.0.1:0";
const EVIL: &str = "<img src=x onerror='isInjected=1'>";

/// A double of the events, in which a server without a bus knows two other nodes.
const DOUBLE: &str = r#"{
  const real = fetch;
  const node = { peers: 0, rooms: 0, busy: 0, version: "1.2.3", advertise: null, silent_ms: 2000, round_trip_us: null };
  const nodes = JSON.stringify([
    { ...node, name: "n2", peers: 1234, rooms: 56, busy: .07, silent_ms: 500, round_trip_us: 250, is_current: true },
    { ...node, name: EVIL, is_current: false },
  ]);
  const changed = (text) => text.replaceAll('"nodes":[]', `"nodes":${nodes}`).replaceAll('"dropped_late":0', '"dropped_late":9');
  window.fetch = async (path, options) => {
    const response = await real(path, options);
    if (!new URL(path, location).pathname.endsWith("/events")) return response;
    const change = new TransformStream({ transform: (text, out) => out.enqueue(changed(text)) });
    return new Response(response.body.pipeThrough(new TextDecoderStream()).pipeThrough(change).pipeThrough(new TextEncoderStream()));
  };
}"#;
