//! Connections to the servers of the bus.

use std::fmt::{self, Display, Formatter};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

use crate::server::cluster::message::MAX_MESSAGE_BYTES;
use crate::server::files::{self, shown};

/// The address of a server of the bus: `nats://HOST:PORT`, or `tls://HOST:PORT`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(ServerAddr);

/// A string is no [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be nats://HOST:PORT or tls://HOST:PORT, such as nats://10.0.0.5:4222")]
pub struct AddressError;

/// The files with what the bus asks for, and by which it is known. They are read for each connection, so a
/// new one counts from the next on.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// A file as `nsc` writes it, with a JWT and the seed of a key.
    pub credentials: Option<PathBuf>,
    /// The certificates that are trusted, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate of this server, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Connects to one of several servers.
pub(super) struct Connector {
    addresses: Vec<Address>,
    security: Security,
    /// The name of the connection, which the bus shows.
    name: String,
    /// Connections that failed, or that ended at once, since the last one that was of use.
    failures: u32,
    /// Makes each wait another one.
    random: RandomState,
}

/// The events of a connection.
pub(super) type Events = UnboundedReceiver<Event>;

impl Connector {
    pub(super) fn new(addresses: Vec<Address>, security: Security, name: String) -> Self {
        Self {
            addresses,
            security,
            name,
            failures: 0,
            random: RandomState::new(),
        }
    }

    /// Connects to one of the servers, after a wait if the last connection was of no use. Looks their names
    /// up again.
    ///
    /// # Errors
    /// A sentence that says why there is no bus.
    pub(super) async fn connect(&mut self) -> Result<(Client, Events), String> {
        sleep(self.wait()).await;
        // Until the connection was of use, this is a failure, also if the future is dropped.
        self.failures += 1;
        let (sender, events) = unbounded_channel();
        let options = self.options().map_err(|error| unreachable(&error))?;
        let options = options.event_callback(move |event| {
            // Fails when the connection has been given up.
            let _ = sender.send(event);
            std::future::ready(())
        });
        let servers: Vec<ServerAddr> = self.addresses.iter().map(|it| it.0.clone()).collect();
        let connected = options.connect(servers).await;
        let client = connected.map_err(|error| {
            let addresses = self.addresses.iter().map(Address::to_string);
            let addresses = addresses.collect::<Vec<_>>().join(", ");
            match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    let why = self.refusal();
                    format!("the bus refuses this node, which tries again: {addresses}: {why}")
                }
                _ => unreachable(&format_args!("{addresses}: {}", reason(&error))),
            }
        })?;
        let max_payload = client.server_info().max_payload;
        if max_payload < MAX_MESSAGE_BYTES {
            return Err(format!(
                "the bus takes messages of {max_payload} bytes only, and this node sends up to \
                 {MAX_MESSAGE_BYTES}: raise its max_payload"
            ));
        }
        Ok((client, events))
    }

    /// Notes for how long a connection was there. One that has ended at once counts as a failure, or a node
    /// could connect again and again without a wait.
    pub(super) fn note_end(&mut self, lasted: Duration) {
        if lasted >= MAX_WAIT {
            self.failures = 0;
        }
    }

    /// Notes that the bus does not let this node use it. The next call of [`Connector::connect`] waits for
    /// long.
    pub(super) fn note_refusal(&mut self) {
        self.failures = u32::BITS;
    }

    /// The reason why the bus does not know this node.
    fn refusal(&self) -> String {
        let user = self.addresses.iter().find_map(Address::user);
        match (&self.security.credentials, user) {
            (Some(file), _) => format!("it does not know the credentials in {}", shown(file)),
            (None, Some((user, Some(_)))) => format!(
                "wrong user {user} or password; in a URL, @ : / of a password are %40 %3A %2F"
            ),
            (None, Some((_, None))) => "wrong token".into(),
            (None, None) => "it wants a user: give one in the URL, or --cluster-credentials".into(),
        }
    }

    fn options(&self) -> io::Result<ConnectOptions> {
        let security = &self.security;
        security.check_certificates()?;
        let mut options = match security.read_credentials()? {
            Some(text) => ConnectOptions::with_credentials(&text)?,
            None => match self.addresses.iter().find_map(Address::user) {
                Some((user, Some(password))) => {
                    ConnectOptions::with_user_and_password(user, password)
                }
                Some((token, None)) => ConnectOptions::with_token(token),
                None => ConnectOptions::new(),
            },
        };
        if let Some(ca) = &security.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        if let Some((certificate, key)) = &security.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options
            .name(&self.name)
            .no_echo()
            // The sandbox lets the server connect to the ports that it was given.
            .ignore_discovered_servers()
            .client_capacity(MAX_COMMANDS)
            .subscription_capacity(MAX_MESSAGES_PER_SUBSCRIPTION)
            .connection_timeout(MAX_CONNECT)
            .ping_interval(PING_INTERVAL)
            // A connection that was given up tries each server once more, and ends.
            .max_reconnects(self.addresses.len()))
    }

    /// Returns the time to wait. It is another one for each server, or all of them would come back to the
    /// bus in the same moment.
    fn wait(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let longest = MAX_WAIT.min(MIN_WAIT * (1 << doublings.min(8)));
        let percent = 50 + self.random.hash_one(self.failures) % 51;
        longest * percent as u32 / 100
    }
}

impl Security {
    /// Checks that all files can be read and have what they must.
    ///
    /// # Errors
    /// That of the first file, with its flag and its path.
    pub fn check(&self) -> io::Result<()> {
        self.read_credentials()?;
        self.check_certificates()
    }

    fn read_credentials(&self) -> io::Result<Option<String>> {
        let mark = "-----BEGIN USER NKEY SEED-----";
        let file = self.credentials.as_deref();
        file.map(|file| read("credentials", file, mark, "credentials as nsc writes them"))
            .transpose()
    }

    fn check_certificates(&self) -> io::Result<()> {
        if let Some(file) = &self.ca {
            read("ca", file, CERTIFICATE_MARK, "certificates in PEM")?;
        }
        if let Some((certificate, key)) = &self.certificate {
            read(
                "certificate",
                certificate,
                CERTIFICATE_MARK,
                "a certificate in PEM",
            )?;
            read("key", key, "PRIVATE KEY-----", "a private key in PEM")?;
        }
        Ok(())
    }
}

impl Address {
    /// The port, which is 4222 unless it is given.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The user and the password, or a token alone.
    fn user(&self) -> Option<(String, Option<String>)> {
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some((decoded(self.0.username()?), self.0.password().map(decoded)))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address: ServerAddr = text.parse().map_err(|_| AddressError)?;
        let url = address.clone().into_inner();
        let is_right = matches!(address.scheme(), "nats" | "tls")
            && !address.host().is_empty()
            && matches!(url.path(), "" | "/")
            && (url.query(), url.fragment()) == (None, None);
        is_right.then_some(Self(address)).ok_or(AddressError)
    }
}

impl Display for Address {
    /// Writes the address without the user and the password, which are secrets.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.0.scheme(), self.0.host(), self.0.port());
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// Reads the file of the flag `--cluster-FLAG`, which must have `mark` in it.
///
/// # Errors
/// The flag, the path and the reason.
fn read(flag: &str, file: &Path, mark: &str, content: &str) -> io::Result<String> {
    let named = |reason: &dyn Display| {
        io::Error::other(format!("--cluster-{flag} {}: {reason}", shown(file)))
    };
    let bytes = files::read(file, MAX_FILE_BYTES).map_err(|error| named(&error))?;
    let text = String::from_utf8_lossy(&bytes);
    match text.contains(mark) {
        true => Ok(text.into_owned()),
        false => Err(named(&format_args!("it must have {content}"))),
    }
}

fn unreachable(reason: &dyn Display) -> String {
    format!("the bus cannot be reached, and is tried again: {reason}")
}

/// Returns an error with the one that caused it, if it does not say that itself.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    if let Some(source) = error.source().map(ToString::to_string)
        && !text.contains(&source)
    {
        text = format!("{text}: {source}");
    }
    // The words of rustls and of async-nats say little.
    let hints = [
        ("InvalidContentType", "it does not speak TLS"),
        ("expected INFO", "no nats-server answers there"),
    ];
    match hints.iter().find(|(words, _)| text.contains(words)) {
        Some((_, hint)) => format!("{hint} ({text})"),
        None => text,
    }
}

/// Time within which a server of the bus answers to a new connection.
const MAX_CONNECT: Duration = Duration::from_secs(2);

/// Time of silence after which the client pings the bus. After three of them without an answer the
/// connection has ended, before other nodes would be taken for dead.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The beginning of a certificate (RFC 7468, section 5.1).
const CERTIFICATE_MARK: &str = "-----BEGIN CERTIFICATE-----";

/// Maximum size of a file. The authorities of a system, the largest, are 220 KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The first wait before another attempt, and the longest.
const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Maximum number of messages on the way from this node to the connection, of 32 KiB at most. More wait in
/// the outbox, where the old ones are dropped.
const MAX_COMMANDS: usize = 32;

/// Maximum number of messages of a subscription that wait: those of a tenth of a second at 20,000 texts per
/// second, if each has one text.
const MAX_MESSAGES_PER_SUBSCRIPTION: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (text, shown) in [
            ("nats://10.0.0.5:4222", "nats://10.0.0.5:4222"),
            ("10.0.0.5", "nats://10.0.0.5:4222"),
            (
                "tls://user:secret@bus.example:4223",
                "tls://bus.example:4223",
            ),
            ("nats://[::1]:9", "nats://[::1]:9"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), shown);
        }
        for text in [
            "",
            "ws://10.0.0.5",
            "http://10.0.0.5",
            "nats://",
            "nats://a:x",
            "nats:/10.0.0.5",
            "nats://10.0.0.5/chat",
            "nats://10.0.0.5?chat",
            "nats://10.0.0.5#chat",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
    }

    #[test]
    fn the_wait_grows_and_differs_between_servers() {
        let connector = |failures| Connector {
            failures,
            ..Connector::new(Vec::new(), Security::default(), String::new())
        };
        assert_eq!(connector(0).wait(), Duration::ZERO);
        let mut waits = Vec::new();
        for failures in 1..100 {
            let longest = MAX_WAIT.min(MIN_WAIT * 2_u32.pow((failures - 1).min(10)));
            let wait = connector(failures).wait();
            assert!(
                wait >= longest / 2 && wait <= longest,
                "{failures}: {wait:?}"
            );
            waits.push(wait);
        }
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 30, "{waits:?}");
    }

    #[test]
    fn a_connection_that_ends_at_once_is_followed_by_a_wait() {
        let mut connector = Connector {
            failures: 1,
            ..Connector::new(Vec::new(), Security::default(), String::new())
        };
        connector.note_end(MAX_WAIT / 2);
        assert!(connector.wait() >= MIN_WAIT / 2);
        connector.note_end(MAX_WAIT);
        assert_eq!(connector.wait(), Duration::ZERO);
    }
}
