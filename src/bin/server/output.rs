//! Output that holds up nothing.

use std::io::Write;
use std::sync::mpsc;
use std::thread;

use bullhorn::server::ops::signals::STOP_LIMIT;

/// Writes `text`, but waits for a bounded time only.
pub(crate) fn print<W: Write + 'static>(output: fn() -> W, text: String) {
    within_limit(move || {
        let mut output = output();
        // Not `print!` or `eprint!`, which panic when the reader has gone.
        let _ = output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush());
    });
}

/// Runs `write` to its end, or leaves it to itself after a bounded time. The process must go on even
/// if nobody reads what is written.
pub(crate) fn within_limit(write: impl FnOnce() + Clone + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let write_there = write.clone();
    let thread = thread::Builder::new().spawn(move || {
        write_there();
        let _ = done.send(());
    });
    match thread {
        Ok(_) => drop(is_done.recv_timeout(STOP_LIMIT).ok()),
        // That may be what the text says.
        Err(_) => write(),
    }
}
