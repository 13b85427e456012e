//! Events as lines: plain or coloured for people, or as JSON for programs.

use std::borrow::Cow;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IsTerminal};

use bullhorn::client::{Answer, DisplayName, Event, Message, NoticeCode, ProtocolVersion, Session};
use bullhorn::wire::v2::BundleSize;
use bullhorn::wire::{NOTICE, Reply, Thousands};

use super::commands::HELP;
use super::json;
use super::line::{self, escape};

/// The form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Coloured,
    Json,
}

/// Prints events of one server at a time.
pub(super) struct Renderer {
    pub(super) form: Form,
    /// The server as the user wrote it, or the address of another one.
    pub(super) server: String,
    /// True if the user waits to be connected, and is told about it.
    pub(super) is_connecting: bool,
    pub(super) was_down: bool,
    /// True if a server was there.
    pub(super) was_up: bool,
    /// True if the user was told of another server, which is there.
    pub(super) has_changed: bool,
    /// True if the user knows why a name is taken.
    pub(super) told_of_ghost: bool,
}

impl Form {
    /// Colours are used on a terminal that has them, unless the user wants none
    /// (<https://no-color.org>).
    pub(super) fn new(is_json: bool) -> Self {
        let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_dumb = is_set("TERM").is_none_or(|terminal| terminal == "dumb");
        let has_colours = is_set("NO_COLOR").is_none() && !is_dumb && io::stdout().is_terminal();
        match is_json {
            true => Self::Json,
            false if has_colours => Self::Coloured,
            false => Self::Plain,
        }
    }
}

impl Renderer {
    /// Appends the lines for an event. Most events have one.
    pub(super) fn push(&mut self, event: &Event, session: &Session, out: &mut String) {
        if self.form == Form::Json {
            if let Some(line) = json::line(event, session) {
                out.push_str(&line);
                out.push('\n');
            }
            return;
        }
        if let Some(line) = self.line(event, session) {
            out.push_str(&line);
            out.push('\n');
        }
    }

    /// Returns the commands, a line each. Programs receive them as a notice.
    pub(super) fn help(&self) -> String {
        match self.form {
            Form::Json => json::notice(NoticeCode::Done, HELP.trim_end()) + "\n",
            Form::Plain | Form::Coloured => HELP.to_owned(),
        }
    }

    /// Returns printed lines without their colours. What others said contains no escape
    /// sequences.
    pub(super) fn plain<'a>(&self, lines: &'a str) -> Cow<'a, str> {
        if self.form != Form::Coloured {
            return lines.into();
        }
        let colours = COLOURS.iter().chain(&[DIM, PLAIN]);
        colours
            .fold(lines.to_owned(), |lines, colour| lines.replace(colour, ""))
            .into()
    }

    fn line(&mut self, event: &Event, session: &Session) -> Option<String> {
        Some(match event {
            Event::Message(message) => self.message(message, event)?,
            Event::Private(message) => self.paint(Some(message.from), &line::line(event)?),
            Event::Notice { code, text } => {
                let mut line = line::line(event)?;
                self.explain_ghost(*code, text, session, &mut line);
                self.paint(None, &line)
            }
            // Lines of the program begin as those of the server do. No name does.
            event => {
                let status = self.status(event, session)?;
                self.paint(None, &format!("{NOTICE}{status}"))
            }
        })
    }

    /// Returns the sentence for an event that is neither a message nor a notice.
    fn status(&mut self, event: &Event, session: &Session) -> Option<String> {
        let server = &mut self.server;
        let was_up = self.was_up;
        self.was_up |= matches!(event, Event::Up(_));
        Some(match event {
            Event::Answer {
                result: Ok(Answer::RoundTrip(time)),
                ..
            } => {
                let ms = 1000.0 * time.as_secs_f64();
                format!("pong: {ms:.2} ms{}", losses(session))
            }
            Event::Answer {
                result: Err(error), ..
            } => match error {
                // A notice has said it.
                bullhorn::client::RequestError::Refused(_) => return None,
                error => format!("not done: {error}"),
            },
            Event::ServerChanged(address) => {
                *server = address.to_string();
                (self.was_down, self.has_changed) = (false, true);
                match was_up {
                    true => format!("now on {server}; messages in between may be lost"),
                    false => format!("now on {server}"),
                }
            }
            Event::Up(_) if std::mem::take(&mut self.has_changed) => return None,
            Event::Up(_) if self.was_down => {
                self.was_down = false;
                format!("{server} is back")
            }
            Event::Up(_) if !self.is_connecting => return None,
            Event::Up(version) => {
                let note = match version {
                    ProtocolVersion::V1 => ", in version 1 of the protocol",
                    ProtocolVersion::V2 => "",
                };
                format!("Connected to {server}{note}.")
            }
            Event::Down(reason) => {
                self.was_down = true;
                format!("{server} is down: {reason}")
            }
            Event::Undelivered {
                payloads,
                were_sent,
            } => undelivered(payloads, *were_sent),
            Event::Forgotten => format!(
                "{server} had forgotten you, so this went to the lobby. \
                 It is asked for your name and room again."
            ),
            Event::BundleSize(bytes) => match BundleSize::of(*bytes) {
                BundleSize::Small => "long datagrams are lost on this path: smaller ones are used",
                BundleSize::Full => "long datagrams pass this path again",
            }
            .to_owned(),
            Event::Missed(count) => format!("{count} lines came too fast to show"),
            _ => return None,
        })
    }

    fn message(&self, message: &Message, event: &Event) -> Option<String> {
        let line = line::line(event)?;
        let from = message.from.to_string();
        // XEP-0245 shows such a text in the same way. Lines of the server begin with one star.
        let Some(action) = line.strip_prefix(&format!("{from} /me ")) else {
            return Some(self.paint(Some(message.from), &line));
        };
        Some(self.paint(Some(message.from), &format!("** {from} {action}")))
    }

    /// Colours the sender in a line, or dims a line without one.
    fn paint(&self, from: Option<DisplayName>, line: &str) -> String {
        if self.form != Form::Coloured {
            return line.to_owned();
        }
        let Some(from) = from else {
            return format!("{DIM}{line}{PLAIN}");
        };
        let (name, colour) = (from.to_string(), colour(from));
        line.replacen(&name, &format!("{colour}{name}{PLAIN}"), 1)
    }

    /// Explains a name that the user had a moment ago and that is taken now.
    fn explain_ghost(
        &mut self,
        code: NoticeCode,
        text: &str,
        session: &Session,
        line: &mut String,
    ) {
        let reply = Reply::parse(code, text.as_bytes());
        let is_taken = matches!(reply, Some(Reply::NameTaken(_)));
        let is_repeated = session.protocol() == Some(ProtocolVersion::V2);
        if is_taken && is_repeated && session.name().is_none() && !self.told_of_ghost {
            self.told_of_ghost = true;
            line.push_str(
                ". If that was you a moment ago, you have it again within 15 s: \
                 it is asked for with each heartbeat",
            );
        }
    }
}

/// Returns the texts that may be lost, as a sentence.
fn undelivered(payloads: &[Vec<u8>], were_sent: bool) -> String {
    let what = if were_sent { "maybe lost" } else { "not sent" };
    let text = |payload: &Vec<u8>| escape(&String::from_utf8_lossy(payload)).into_owned();
    let texts: Vec<_> = payloads.iter().take(MAX_NAMED).map(text).collect();
    let mut line = format!("{what}: {}", texts.join(" | "));
    if payloads.len() > MAX_NAMED {
        // Writing to a String cannot fail.
        let _ = write!(line, " | and {} more", payloads.len() - MAX_NAMED);
    }
    line
}

/// Returns `, 3 of 1,200 messages lost`, in version 2 and after the first message, and
/// `, 7 forged datagrams dropped` after the first of these.
fn losses(session: &Session) -> String {
    let stats = session.stats();
    let messages = stats.messages;
    let mut text = String::new();
    if messages.expected > 0 {
        let (lost, expected) = (Thousands(messages.lost), Thousands(messages.expected));
        text += &format!(", {lost} of {expected} messages lost");
    }
    if stats.forged > 0 {
        text += &format!(", {} forged datagrams dropped", Thousands(stats.forged));
    }
    text
}

/// Returns the colour of a sender, which is always the same.
fn colour(from: DisplayName) -> &'static str {
    let mut hasher = DefaultHasher::new();
    from.to_string().to_ascii_lowercase().hash(&mut hasher);
    COLOURS[(hasher.finish() % COLOURS.len() as u64) as usize]
}

/// The colours of 16 that can be read on black and on white: red, green, yellow, magenta,
/// cyan, and a blue that is not the dark one.
const COLOURS: [&str; 6] = [
    "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[35m", "\x1b[36m", "\x1b[94m",
];

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Number of undelivered texts that are named at once.
const MAX_NAMED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use bullhorn::client::{DownReason, SessionConfig};

    #[test]
    fn five_texts_are_all_that_are_named() {
        let texts = |count| undelivered(&vec![b"x".to_vec(); count], true);
        assert_eq!(texts(5), "maybe lost: x | x | x | x | x");
        assert_eq!(texts(6), "maybe lost: x | x | x | x | x | and 1 more");
    }

    #[test]
    fn a_server_is_back_once() {
        let session = Session::connect(SessionConfig::new("127.0.0.1:9".parse().unwrap()));
        let session = session.unwrap();
        let mut renderer = Renderer {
            form: Form::Plain,
            server: "it".to_owned(),
            is_connecting: false,
            was_down: false,
            was_up: false,
            has_changed: false,
            told_of_ghost: false,
        };
        let mut out = String::new();
        for event in [
            Event::Down(DownReason::Goodbye),
            Event::Up(ProtocolVersion::V1),
            Event::Up(ProtocolVersion::V2),
        ] {
            renderer.push(&event, &session, &mut out);
        }
        assert_eq!(out, "* it is down: it said goodbye\n* it is back\n");

        out.clear();
        let other = || Event::ServerChanged("10.0.0.2:9999".parse().unwrap());
        for event in [
            Event::Down(DownReason::Goodbye),
            other(),
            Event::Up(ProtocolVersion::V2),
            Event::Down(DownReason::Goodbye),
            Event::Up(ProtocolVersion::V2),
        ] {
            renderer.push(&event, &session, &mut out);
        }
        let expected = "* it is down: it said goodbye\n\
            * now on 10.0.0.2:9999; messages in between may be lost\n\
            * 10.0.0.2:9999 is down: it said goodbye\n\
            * 10.0.0.2:9999 is back\n";
        assert_eq!(out, expected);

        // Nothing was there before.
        (renderer.was_up, renderer.is_connecting) = (false, true);
        out.clear();
        for event in [other(), Event::Up(ProtocolVersion::V2)] {
            renderer.push(&event, &session, &mut out);
        }
        assert_eq!(out, "* now on 10.0.0.2:9999\n");
    }
}
