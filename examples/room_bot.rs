//! Counts what is said in one room, and tells it whoever asks `count?`:
//!
//! ```sh
//! cargo run --example room_bot -- 127.0.0.1:9999 den
//! ```

use std::error::Error;

use bullhorn::client::{Session, SessionConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().unwrap_or("127.0.0.1:9999".to_owned());
    let room = arguments.next().unwrap_or("den".to_owned());
    let mut config = SessionConfig::new(server.parse()?);
    // Asked for at the start, and again when the server was down and is back.
    config.nick = Some("counter".parse()?);
    config.room = Some(room.parse()?);
    let session = Session::connect(config)?;
    let mut count = 0;
    for event in session.events() {
        // Nobody said it: the server is down, or back.
        let Some(line) = event.line() else { continue };
        match line.split_once(' ') {
            // The server said it, or this bot.
            Some(("*" | "counter", _)) => {}
            Some((who, "count?")) => session.say(&format!("{who}: {count} so far"))?,
            _ => count += 1,
        }
        println!("{line}");
    }
    Ok(())
}
