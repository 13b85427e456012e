//! The first SIGINT or SIGTERM asks for the end, the second one does not ask.

use std::io;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::exit::signal_code;

/// Calls `stop` with the first signal that comes, and then `settle`, which brings the
/// terminal in order, and which is left behind after half a second if nobody reads what it
/// writes. The second signal ends the process at once, with [`signal_code`].
pub(super) fn watch(
    stop: impl FnOnce(i32) + Send + 'static,
    settle: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    watch_with(stop, settle, |signal| {
        process::exit(signal_code(signal).into());
    })
}

fn watch_with(
    stop: impl FnOnce(i32) + Send + 'static,
    settle: impl FnOnce() + Send + 'static,
    exit: impl FnOnce(i32) + Send + 'static,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        let mut signals = signals.forever();
        if let Some(signal) = signals.next() {
            stop(signal);
            within(SETTLE_LIMIT, settle);
        }
        if let Some(signal) = signals.next() {
            exit(signal);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(())
}

/// Calls `body`, and leaves it behind if it takes longer than `limit`.
fn within(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let call = move || {
        body();
        let _ = done.send(());
    };
    // Without a thread more, the terminal stays as it is.
    if thread::Builder::new().spawn(call).is_ok() {
        // An error is a panic in `body`, which is no reason to stay.
        let _ = is_done.recv_timeout(limit);
    }
}

/// A terminal takes a line in far less, and whoever signals twice does not want to wait.
const SETTLE_LIMIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use signal_hook::low_level::raise;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Called {
        Stop(i32),
        Settle,
        Exit(i32),
    }

    #[test]
    fn the_first_signal_stops_and_the_second_one_aborts() {
        let (sender, called) = channel();
        let (stops, settles, exits) = (sender.clone(), sender.clone(), sender);
        watch_with(
            move |signal| stops.send(Called::Stop(signal)).unwrap(),
            move || settles.send(Called::Settle).unwrap(),
            move |signal| exits.send(Called::Exit(signal)).unwrap(),
        )
        .unwrap();
        let next = || called.recv_timeout(Duration::from_secs(30)).unwrap();
        raise(SIGTERM).unwrap();
        assert_eq!(next(), Called::Stop(SIGTERM));
        assert_eq!(next(), Called::Settle);
        raise(SIGINT).unwrap();
        assert_eq!(next(), Called::Exit(SIGINT));
    }

    #[test]
    fn what_hangs_is_left_behind() {
        let (_never, forever) = channel::<()>();
        // Were it waited for, this test would hang.
        within(Duration::from_millis(1), move || {
            let _ = forever.recv();
        });
    }
}
