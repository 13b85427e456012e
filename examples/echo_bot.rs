//! Answers every text that begins with `!echo ` in a server's lobby:
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
        if let Some(line) = event.line() {
            println!("{line}");
            // `ip:port !echo something`, or a name in place of the address.
            if let Some((who, said)) = line.split_once(' ')
                && let Some(words) = said.strip_prefix("!echo ")
                // The session outlives a server that is down, and so does the bot.
                && let Err(error) = session.say(&format!("{who} said: {words}"))
            {
                eprintln!("not said: {error}");
            }
            continue;
        }
        match event {
            Event::Down(reason) => eprintln!("the server is down: {reason}"),
            Event::Up => eprintln!("the server is back"),
            other => eprintln!("{other:?}"),
        }
    }
    Ok(())
}
