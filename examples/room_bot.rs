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
    let session = Session::connect(SessionConfig::new(server.parse()?))?;
    // A text that begins with `/` and a verb of the server is a command.
    session.say("/nick counter")?;
    session.say(&format!("/join {room}"))?;
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
