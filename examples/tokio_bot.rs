//! Says the time every minute, and greets whoever says hello, on tokio:
//!
//! ```sh
//! cargo run --features tokio --example tokio_bot -- 127.0.0.1:9999
//! ```

use std::error::Error;
use std::time::{Duration, SystemTime};

use bullhorn::client::{Event, EventStream, Session, SessionConfig};
use tokio::time::interval;
use tokio_stream::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1);
    let server = server.as_deref().unwrap_or("127.0.0.1:9999").parse()?;
    let mut stream = Session::connect(SessionConfig::new(server))?.into_stream()?;
    let mut minutes = interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            event = stream.next() => match event {
                Some(Event::Message(message)) if message.text() == "hello" => {
                    say(&stream, &format!("hello, {}", message.from));
                }
                Some(other) => println!("{other:?}"),
                None => return Ok(()),
            },
            _ = minutes.tick() => {
                let time = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
                say(&stream, &format!("it is {time}"));
            }
        }
    }
}

/// Says a text. While the server is down, there is nobody to hear it.
fn say(stream: &EventStream, text: &str) {
    if let Err(error) = stream.session().say(text) {
        eprintln!("not said: {error}");
    }
}
