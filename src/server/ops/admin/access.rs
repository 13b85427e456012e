//! The rules of who may read and who may change: the token, and the names by which a browser may know
//! the admin server.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{self, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::State;
use super::error::Refusal;
use super::token::TokenFile;
use crate::server::ops::log::Log;
use crate::server::ops::supervise::lock;

/// The rules for requests.
pub(super) struct Access {
    /// The admin server listens on a loopback address.
    is_local: bool,
    token: Option<Arc<TokenFile>>,
    log: Log,
    failures: Mutex<Failures>,
}

/// The requests with a wrong token.
#[derive(Default)]
struct Failures {
    since_warning: u64,
    warned_at: Option<Instant>,
}

/// The reason why a request is not passed on.
#[derive(Debug)]
enum Denied {
    WrongToken,
    Other(Refusal),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Other(refusal)
    }
}

impl Denied {
    fn refusal(self) -> Refusal {
        match self {
            Self::WrongToken => Refusal::new(StatusCode::UNAUTHORIZED, WRONG_TOKEN),
            Self::Other(refusal) => refusal,
        }
    }
}

impl Access {
    /// The admin server listens on `address`.
    pub(super) fn new(address: SocketAddr, token: Option<Arc<TokenFile>>, log: &Log) -> Self {
        Self {
            is_local: address.ip().to_canonical().is_loopback(),
            token,
            log: log.clone(),
            failures: Mutex::default(),
        }
    }

    pub(super) fn token_file(&self) -> Option<Arc<TokenFile>> {
        self.token.clone()
    }

    /// Decides about a request.
    ///
    /// - The page, its style and its script are the same for everybody, and ask for the token
    ///   themselves. All may load them, and ask for the health.
    /// - A proxy on this machine comes from a loopback address, whoever it passes on. So what it has
    ///   marked as passed on needs the token.
    /// - Anything else at an address that is not loopback needs the token, and so do changes.
    /// - A page of an attacker can give its own name the address of this server (DNS rebinding), and
    ///   then read what needs no token. So without a token, the host must be an address or
    ///   `localhost`. With a token it may have any name: only the operator's own page knows it.
    /// - A change that another site has sent is refused, even with the token.
    fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Denied> {
        let is_reading = matches!(*method, Method::GET | Method::HEAD);
        if is_reading && OPEN_PATHS.contains(&path) {
            return Ok(());
        }
        let has_token = self.has_token(headers)?;
        let host = host_of(headers)?;
        if !has_token && !is_address_or_localhost(host) {
            return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, HOST).into());
        }
        let is_open = is_reading && self.is_local && !is_forwarded(headers);
        if !has_token && !is_open {
            let refusal = match self.token {
                Some(_) => Refusal::new(StatusCode::UNAUTHORIZED, MISSING_TOKEN),
                None => Refusal::new(StatusCode::FORBIDDEN, NO_TOKEN_FILE),
            };
            return Err(refusal.into());
        }
        let origin = headers.get(header::ORIGIN);
        match origin.is_none_or(|origin| is_reading || is_origin(origin, host)) {
            true => Ok(()),
            false => Err(Refusal::new(StatusCode::FORBIDDEN, ORIGIN).into()),
        }
    }

    /// Returns true if a request has the token, and false if it has none. Other schemes than `Bearer`
    /// are for a proxy.
    fn has_token(&self, headers: &HeaderMap) -> Result<bool, Denied> {
        let (Some(token), Some(given)) = (&self.token, headers.get(header::AUTHORIZATION)) else {
            return Ok(false);
        };
        match given.as_bytes().split_at_checked(BEARER.len()) {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case(BEARER) => {
                match token.is(given.trim_ascii()) {
                    true => Ok(true),
                    false => Err(Denied::WrongToken),
                }
            }
            _ => Ok(false),
        }
    }

    /// Waits after a wrong token, and warns of it now and then.
    async fn failed(&self) {
        self.count_failure(Instant::now());
        tokio::time::sleep(FAILURE_DELAY).await;
    }

    fn count_failure(&self, now: Instant) {
        let mut failures = lock(&self.failures);
        failures.since_warning += 1;
        let is_quiet = |at: Instant| now.duration_since(at) < WARNING_INTERVAL;
        if failures.warned_at.is_some_and(is_quiet) {
            return;
        }
        let count = std::mem::take(&mut failures.since_warning);
        failures.warned_at = Some(now);
        self.log.warn(format!(
            "requests to the admin server with a wrong token since the last warning: {count}"
        ));
    }
}

/// Passes a request on if its sender may make it. All answers forbid a browser whatever the page
/// does not need.
pub(super) async fn check(
    extract::State(state): extract::State<State>,
    request: Request,
    next: Next,
) -> Response {
    let access = &state.access;
    let verdict = access.judge(request.method(), request.uri().path(), request.headers());
    let mut response = match verdict {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            if matches!(denied, Denied::WrongToken) {
                access.failed().await;
            }
            denied.refusal().into_response()
        }
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Returns true if a proxy says that it passes a request on.
fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn host_of(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut hosts = headers.get_all(header::HOST).into_iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host.as_bytes()),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "a request has one header Host",
        )),
    }
}

/// Returns true for a host such as `127.0.0.1:9990`, `[::1]` or `localhost`.
fn is_address_or_localhost(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else {
        return false;
    };
    if let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_port && address.parse::<Ipv6Addr>().is_ok();
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return false,
        None => host,
    };
    name.eq_ignore_ascii_case("localhost") || matches!(name.parse(), Ok(IpAddr::V4(_)))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Returns true if a page of this origin has come from this host.
fn is_origin(origin: &HeaderValue, host: &[u8]) -> bool {
    let origin = origin.as_bytes();
    let schemes = [&b"http://"[..], b"https://"];
    let mut hosts = schemes
        .iter()
        .filter_map(|scheme| origin.strip_prefix(*scheme));
    hosts.any(|origin| origin.eq_ignore_ascii_case(host))
}

/// The paths of the dashboard, without anything of the server's state, and those of health, for probes
/// that have no token.
const OPEN_PATHS: [&str; 5] = [
    "/",
    "/dashboard.css",
    "/dashboard.js",
    "/healthz",
    "/readyz",
];

const BEARER: &[u8] = b"Bearer ";

/// The headers by which proxies mark what they pass on (RFC 7239, RFC 9110 section 7.6.3).
const FORWARDED: [&str; 5] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
];

const HOST: &str = "without a token, the admin server is reached by its IP address or as localhost, \
    and not by another name";
const MISSING_TOKEN: &str = "this needs the token of --admin-token-file, as the header \
    Authorization: Bearer TOKEN";
const WRONG_TOKEN: &str = "this is not the token of --admin-token-file";
const NO_TOKEN_FILE: &str = "this needs a token: start the server with --admin-token-file FILE";
const ORIGIN: &str = "a change must come from the server's own page, or from a program: Origin must \
    name the same host as Host";

/// Time for which the answer to a wrong token waits, so that a program with an old token does not use a
/// core. It does not stop a guesser, who need not wait for the answer. The length of the token does:
/// 16 characters at random have more than 10^31 values.
const FAILURE_DELAY: Duration = Duration::from_millis(500);

/// Time between two warnings of wrong tokens.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// The headers of all answers that do not have them yet. The page may load its own style and script,
/// and ask its own server, but nothing else. No page may show it in a frame. No other site may read
/// an answer.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn access(address: &str, token: Option<&str>) -> Access {
        let token = token.map(TokenFile::of);
        Access::new(address.parse().unwrap(), token, &Log::new().0)
    }

    fn status(access: &Access, method: &Method, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let verdict = access.judge(method, path, &map);
        verdict.map_or_else(|denied| denied.refusal().status.as_u16(), |()| 200)
    }

    const LOCAL: &str = "127.0.0.1:9990";
    const PUBLIC: &str = "0.0.0.0:9990";
    const TOKEN: &str = "0123456789abcdef";
    const HOST: (&str, &str) = ("host", "127.0.0.1:9990");
    const NAME: (&str, &str) = ("host", "admin.example");
    const RIGHT: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");

    #[test]
    fn a_loopback_address_is_read_without_a_token_and_changed_with_it() {
        let wrong = ("authorization", "Bearer 0123456789abcdeX");
        let basic = ("authorization", "Basic MDEyMzQ1Njc4OWFiY2RlZg==");
        let with = access(LOCAL, Some(TOKEN));
        for (method, headers, expected) in [
            (Method::GET, &[HOST][..], 200),
            (Method::HEAD, &[HOST], 200),
            (Method::POST, &[HOST], 401),
            (Method::OPTIONS, &[HOST], 401),
            (Method::POST, &[HOST, RIGHT], 200),
            (Method::POST, &[NAME, RIGHT], 200),
            (
                Method::POST,
                &[HOST, ("authorization", "bearer  0123456789abcdef")],
                200,
            ),
            (Method::POST, &[HOST, wrong], 401),
            (Method::GET, &[HOST, wrong], 401),
            (Method::GET, &[HOST, basic], 200),
            (Method::POST, &[HOST, basic], 401),
            (Method::GET, &[HOST, ("via", "1.1 proxy")], 401),
            (Method::GET, &[HOST, ("x-forwarded-for", "192.0.2.7")], 401),
            (Method::GET, &[HOST, ("authorization", "")], 200),
            (
                Method::POST,
                &[HOST, ("authorization", "Digest 0123456789abcdef")],
                401,
            ),
            (Method::GET, &[NAME], 421),
            (Method::GET, &[], 400),
            (Method::GET, &[HOST, HOST], 400),
        ] {
            let found = status(&with, &method, "/api/v1/peers", headers);
            assert_eq!(found, expected, "{method} {headers:?}");
        }
        let without = access(LOCAL, None);
        for (method, headers, expected) in [
            (Method::GET, &[HOST][..], 200),
            (Method::GET, &[HOST, RIGHT], 200),
            (Method::GET, &[NAME, RIGHT], 421),
            (Method::POST, &[HOST, RIGHT], 403),
        ] {
            let found = status(&without, &method, "/api/v1/peers", headers);
            assert_eq!(found, expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn a_loopback_address_of_ipv4_in_ipv6_is_one_too() {
        let access = access("[::ffff:127.0.0.1]:9990", Some(TOKEN));
        assert_eq!(status(&access, &Method::GET, "/metrics", &[HOST]), 200);
    }

    #[test]
    fn wrong_tokens_are_warned_of_once_per_interval() {
        let access = access(LOCAL, Some(TOKEN));
        let start = Instant::now();
        let counted = |after: Duration| {
            access.count_failure(start + after);
            lock(&access.failures).since_warning
        };
        assert_eq!(counted(Duration::ZERO), 0, "it is warned of");
        assert_eq!(counted(Duration::ZERO), 1);
        assert_eq!(counted(WARNING_INTERVAL - Duration::from_nanos(1)), 2);
        assert_eq!(counted(WARNING_INTERVAL), 0, "all are warned of");
    }

    #[test]
    fn a_public_address_needs_the_token_for_all_but_the_page() {
        let access = access(PUBLIC, Some(TOKEN));
        for path in ["/metrics", "/api/v1/stats", "/nothing"] {
            assert_eq!(status(&access, &Method::GET, path, &[HOST]), 401, "{path}");
            let headers = [NAME, RIGHT];
            assert_eq!(status(&access, &Method::GET, path, &headers), 200, "{path}");
        }
        for path in OPEN_PATHS {
            assert_eq!(status(&access, &Method::GET, path, &[NAME]), 200, "{path}");
            assert_eq!(status(&access, &Method::POST, path, &[HOST]), 401, "{path}");
        }
    }

    #[test]
    fn a_change_comes_from_the_own_page_or_from_no_page() {
        let access = access(LOCAL, Some(TOKEN));
        for (host, origin, expected) in [
            (HOST, "http://127.0.0.1:9990", 200),
            (NAME, "https://ADMIN.example", 200),
            (HOST, "http://127.0.0.1:9991", 403),
            (HOST, "http://evil.example", 403),
            (HOST, "null", 403),
            (HOST, "ftp://127.0.0.1:9990", 403),
            (HOST, "", 403),
        ] {
            let headers = [host, RIGHT, ("origin", origin)];
            let found = status(&access, &Method::POST, "/api/v1/say", &headers);
            assert_eq!(found, expected, "{origin}");
            assert_eq!(status(&access, &Method::GET, "/metrics", &headers), 200);
        }
    }

    #[test]
    fn hosts_without_a_token_are_addresses_or_localhost() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("192.0.2.7:9990", true),
            ("[::1]:9990", true),
            ("[::1]", true),
            ("LOCALHOST:80", true),
            ("localhost", true),
            ("localhost.evil.example", false),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:9990@evil.example", false),
            ("127.0.0.1:", false),
            ("127.0.0.1:99999", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]evil", false),
            ("[evil]", false),
            ("", false),
        ] {
            assert_eq!(is_address_or_localhost(host.as_bytes()), expected, "{host}");
        }
    }
}
