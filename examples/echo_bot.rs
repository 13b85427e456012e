//! Repeats every text in the lobby that begins with `!echo `:
//!
//! ```sh
//! cargo run --example echo_bot -- 127.0.0.1:9999
//! ```

use std::error::Error;

use bullhorn::client::{Event, Session, SessionConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1);
    let server = server.as_deref().unwrap_or("127.0.0.1:9999").parse()?;
    let session = Session::connect(SessionConfig::new(server))?;
    for event in session.events() {
        match event {
            Event::Message(message) => {
                if let Some(words) = message.text().strip_prefix("!echo ")
                    && let Err(error) = session.say(&format!("{} said: {words}", message.from))
                {
                    eprintln!("not said: {error}");
                }
            }
            // The session goes on when the server is down, and so does the bot.
            other => println!("{other:?}"),
        }
    }
    Ok(())
}
