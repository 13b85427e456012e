use super::*;
use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::server::ops::supervise::lock;
use crate::sync::Mutex;

#[test]
fn a_full_log_drops_and_counts_lines_and_never_waits() {
    let (log, writer) = Log::new();
    let peer = PeerAddr::new("127.0.0.1:5000".parse().unwrap(), 0);
    for _ in 0..MAX_QUEUED_LINES + 3 {
        log.push(Line::Left(peer));
    }
    assert_eq!((log.counts.shed(), log.counts.suppressed()), (3, 0));
    let weak = log.downgrade();
    weak.info("a ban".into());
    assert_eq!(log.counts.shed(), 4);
    let second = log.clone();
    drop(log);
    drop(second);
    writer.run();
    weak.warn("nobody writes it".into());
}

/// Returns what `log` writes while `act` runs.
fn written(act: impl FnOnce()) -> String {
    let bytes = Arc::<Mutex<Vec<u8>>>::default();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Bytes(Arc::clone(&bytes)));
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::with_default(subscriber, act);
    String::from_utf8(lock(&bytes).clone()).unwrap()
}

#[derive(Clone)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl io::Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Bytes {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Writes what is queued, as the log thread does.
fn drain(writer: &mut LogWriter) {
    while let Ok(line) = writer.lines.try_recv() {
        writer.write(&line);
    }
}

#[test]
fn a_flood_of_texts_takes_less_than_200_kb_per_second() {
    let (log, mut writer) = Log::new();
    let peer = PeerAddr::new("127.0.0.1:5000".parse().unwrap(), 0);
    for second in 0..3 {
        let lines = written(|| {
            for _ in 0..50_000 {
                log.text(peer, &[b'x'; 1_000]);
                drain(&mut writer);
            }
            writer.begin_second();
        });
        assert_eq!(lines.lines().count(), 101, "in second {second}");
        assert!(lines.len() < 200_000, "{} bytes", lines.len());
        let last = lines.lines().last().unwrap();
        assert!(
            last.ends_with("bullhorn::text: 49,900 more texts"),
            "{last}"
        );
    }
    assert_eq!((log.counts.suppressed(), log.counts.shed()), (149_700, 0));
}

#[test]
fn each_kind_of_lines_has_an_allowance_of_its_own() {
    let (log, mut writer) = Log::new();
    let peer = PeerAddr::new("127.0.0.1:5000".parse().unwrap(), 0);
    let cause_all = |count: usize| {
        for _ in 0..count {
            log.registered(peer);
            log.left(peer);
            log.expired(peer);
            log.greeted(peer);
            log.warn("careful".into());
        }
    };
    let lines = written(|| {
        cause_all(10);
        drain(&mut writer);
        writer.begin_second();
    });
    assert_eq!(lines.lines().count(), 50, "{lines}");
    let lines = written(|| {
        cause_all(11);
        log.registered(peer);
        for _ in 0..11 {
            log.info("of the operator".into());
            log.warn_at_start("of the start".into());
        }
        drain(&mut writer);
        writer.begin_second();
        writer.begin_second();
    });
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 72 + 5);
    for (line, end) in lines[72..].iter().zip([
        "INFO bullhorn::peer: 2 more peers registered",
        "INFO bullhorn::peer: 1 more peer left",
        "INFO bullhorn::peer: 1 more peer expired",
        "INFO bullhorn::greet: 1 more peer greeted",
        "WARN bullhorn::server: 1 more warning",
    ]) {
        assert!(line.ends_with(end), "{line}");
    }
}

#[test]
fn lines_that_nobody_wants_are_not_counted() {
    let (log, _writer) = Log::new();
    let peer = PeerAddr::new("127.0.0.1:5000".parse().unwrap(), 0);
    let nothing = Targets::new().with_default(LevelFilter::OFF);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(nothing), || {
        (0..200).for_each(|_| log.text(peer, b"hi"));
    });
    assert_eq!(log.counts.suppressed(), 0);
}

#[test]
fn a_filter_with_an_unknown_word_is_refused() {
    for text in [
        "off",
        "info",
        "WARN",
        "info,bullhorn::text=off",
        "bullhorn::peer=info",
        "bullhorn=warn",
    ] {
        assert!(output::parse_filter(text).is_ok(), "{text}");
    }
    for text in [
        "nonsense",
        "inf",
        "",
        "info,bullhorn::text=loud",
        "info,other=off",
        "info,bullhorn::texts=off",
    ] {
        assert!(output::parse_filter(text).is_err(), "{text}");
    }
}
