//! Counts the texts in a room, and tells the number to whoever says `count?`:
//!
//! ```sh
//! cargo run --example room_bot -- 127.0.0.1:9999 den
//! ```

use std::error::Error;
use std::time::Duration;

use bullhorn::client::{Event, Session, SessionConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().unwrap_or("127.0.0.1:9999".to_owned());
    let room = arguments.next().unwrap_or("den".to_owned());
    let mut config = SessionConfig::new(server.parse()?);
    // The session takes the name and the room again when the server was down.
    config.nick = Some("counter".parse()?);
    let session = Session::connect(config)?;
    let joined = session.join(room.parse()?)?.wait(Duration::from_secs(5))?;
    println!("in {} with {} members", joined.room, joined.members);
    let mut count = 0;
    for event in session.events() {
        let Event::Message(message) = event else {
            continue;
        };
        if message.text() != "count?" {
            count += 1;
        } else if let Err(error) = session.private(&message.from, &format!("{count} texts")) {
            eprintln!("not said: {error}");
        }
    }
    Ok(())
}
