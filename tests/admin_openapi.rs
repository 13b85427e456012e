//! The description of the API, held against the routes in the source and the answers of a server.

#![cfg(feature = "admin")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use bullhorn::ServerConfig;
use common::admin::{Response, get, send};
use common::operator::{TOKEN, TokenFile, post};
#[cfg(feature = "cluster")]
use common::{Nats, ServerProgram, V4, wait_until};
use common::{TIMEOUT, TestServer, request};
use serde_json::{Value, json};

#[test]
fn each_route_of_the_source_is_described_and_each_description_is_a_route() {
    let file = description();
    let described = operations(&file);
    let mut routes = BTreeSet::new();
    routes_in(Path::new("src/server/ops/admin"), &mut routes);
    // The page is for people.
    routes.retain(|(_, path)| path != "/" && !path.starts_with("/dashboard."));
    assert!(routes.len() >= MIN_ROUTES, "{routes:?}");
    assert_eq!(routes, described);
}

#[test]
fn each_path_has_its_methods_and_no_others_on_a_running_server() {
    let token = TokenFile::new("methods");
    let server = TestServer::start(token.config());
    let admin = server.admin_addr().unwrap();
    let file = description();
    assert_eq!(get(admin, "/api/v1/openapi.json").success(), file);
    let described = operations(&file);
    let paths: BTreeSet<_> = described.iter().map(|(_, path)| path.clone()).collect();
    for path in &paths {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let is_described = described.contains(&(method.to_owned(), path.clone()));
            let answer = head_of(admin, method, path);
            assert_ne!(answer, 404, "{method} {path}");
            assert_eq!(answer != 405, is_described, "{method} {path}: {answer}");
            let status = &file["paths"][path][method.to_lowercase()]["responses"];
            assert!(
                !is_described || !status[answer.to_string()].is_null(),
                "{method} {path}: {answer} is not described"
            );
        }
    }
    server.stop();
}

#[test]
fn answers_are_as_described() {
    let token = TokenFile::new("answers");
    let folder = std::env::temp_dir().join(format!("bullhorn-openapi-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let server = TestServer::start(ServerConfig {
        state_dir: Some(folder.clone()),
        ..token.config()
    });
    let admin = server.admin_addr().unwrap();
    let [ada, bob] = server.clients();
    request(&ada, "/nick ada", "* you are ada");
    request(&bob, "/join den", "* you are in den (1 here)");
    let address = bob.address().to_string();
    let mut checked = BTreeSet::new();
    for (method, path, body, status) in [
        ("GET", "/api/v1/stats", json!(null), 200),
        ("GET", "/api/v1/workers", json!(null), 200),
        ("GET", "/api/v1/rooms?max=5", json!(null), 200),
        ("GET", "/api/v1/peers?part=a", json!(null), 200),
        ("GET", "/api/v1/peers?max=0", json!(null), 422),
        ("GET", "/api/v1/peers?max=x", json!(null), 400),
        ("GET", "/api/v1/limits", json!(null), 200),
        (
            "POST",
            "/api/v1/say",
            json!({"room": "den", "text": "hi"}),
            200,
        ),
        (
            "POST",
            "/api/v1/say",
            json!({"room": null, "text": "hi"}),
            200,
        ),
        (
            "POST",
            "/api/v1/say",
            json!({"room": "nowhere", "text": "hi"}),
            404,
        ),
        ("POST", "/api/v1/say", json!({"text": ""}), 422),
        (
            "POST",
            "/api/v1/mute",
            json!({"whom": "ada", "time_s": 60}),
            200,
        ),
        ("POST", "/api/v1/mute", json!({"whom": "eve"}), 404),
        ("POST", "/api/v1/unmute", json!({"whom": "ada"}), 200),
        ("POST", "/api/v1/unmute", json!({"whom": "ada"}), 409),
        ("POST", "/api/v1/kick", json!({"whom": address}), 200),
        ("POST", "/api/v1/kick", json!({"whom": "a b"}), 422),
        ("POST", "/api/v1/ban", json!({"net": "192.0.2.0/24"}), 200),
        (
            "POST",
            "/api/v1/ban",
            json!({"net": "192.0.2.7", "time_s": 60}),
            200,
        ),
        ("GET", "/api/v1/bans", json!(null), 200),
        ("POST", "/api/v1/unban", json!({"net": "192.0.2.7"}), 200),
        ("POST", "/api/v1/unban", json!({"net": "192.0.2.7"}), 409),
        ("POST", "/api/v1/drain", json!({"time_s": 3601}), 422),
        ("POST", "/api/v1/drain", json!({"time_s": 0}), 200),
    ] {
        let answer = match method {
            "GET" => get(admin, path),
            _ => post(admin, path, &body.to_string()),
        };
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        let path = path.split('?').next().unwrap();
        expect_described(method, path, &body, &answer);
        if status == 200 {
            checked.insert((method.to_owned(), path.to_owned()));
        }
    }
    server.wait_for_end().unwrap();
    fs::remove_dir_all(folder).unwrap();
    // All that answer JSON, but for the description itself, which the other test compares.
    let file = description();
    let with_json = |(method, path): &(String, String)| {
        let operation = &file["paths"][path][method.to_lowercase()];
        !operation["responses"]["200"]["content"]["application/json"].is_null()
    };
    let mut all = operations(&file);
    all.retain(with_json);
    all.remove(&("GET".to_owned(), "/api/v1/openapi.json".to_owned()));
    assert_eq!(checked, all);
}

#[test]
fn events_are_as_described() {
    let token = TokenFile::new("events");
    let server = TestServer::start(token.config());
    expect_events(server.admin_addr().unwrap());
    server.stop();
}

/// The other node is one of the answer and of the events, and so are its numbers.
#[cfg(feature = "cluster")]
#[test]
fn what_a_node_of_a_cluster_answers_is_as_described() {
    let Some(nats) = Nats::start(&[]) else { return };
    let one = ServerProgram::start_command(nats.node_command("one", &["--admin", V4]));
    let _two = nats.node("two");
    let log = one.startup_lines.join("");
    let (_, admin) = log.split_once("admin server at http://").unwrap();
    let admin = admin.split('/').next().unwrap().parse().unwrap();
    wait_until("the other node and a round trip", || {
        let stats = get(admin, "/api/v1/stats").success();
        stats["cluster"]["nodes"][0]["round_trip_us"].is_u64()
            && stats["rates"]["cluster"].is_object()
    });
    let answer = get(admin, "/api/v1/stats");
    expect_described("GET", "/api/v1/stats", &Value::Null, &answer);
    expect_events(admin);
}

/// Expects that the first events are as described.
#[track_caller]
fn expect_events(admin: SocketAddr) {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let request = format!("GET /api/v1/events HTTP/1.0\r\nHost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let file = description();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    for (event, schema) in [("history", "EventHistory"), ("now", "EventNow")] {
        let name = lines.find(|line| line.starts_with("event: ")).unwrap();
        assert_eq!(name, format!("event: {event}"));
        let data = lines.next().unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let schema = &file["components"]["schemas"][schema];
        assert!(schema.is_object());
        check(&data, schema, &file, event).unwrap();
    }
}

#[test]
fn the_check_of_schemas_finds_what_is_wrong() {
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {
            "a": {"type": ["integer", "null"], "minimum": 0},
            "b": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}},
        },
    });
    for (value, is_right) in [
        (json!({"a": 1}), true),
        (json!({"a": null, "b": ["x", "y"]}), true),
        (json!({"b": []}), false),
        (json!({"a": "1"}), false),
        (json!({"a": 1.5}), false),
        (json!({"a": -1}), false),
        (json!({"a": 1, "c": 1}), false),
        (json!({"a": 1, "b": ["z"]}), false),
        (json!({"a": 1, "b": [1]}), false),
        (json!([]), false),
    ] {
        let result = check(&value, &schema, &Value::Null, "value");
        assert_eq!(result.is_ok(), is_right, "{value}: {result:?}");
    }
    let counts = json!({"type": "object", "additionalProperties": {"type": "integer"}});
    assert!(check(&json!({"x": 1}), &counts, &Value::Null, "").is_ok());
    assert!(check(&json!({"x": "1"}), &counts, &Value::Null, "").is_err());
}

/// The request of a success, and every answer, have their schemas.
#[track_caller]
fn expect_described(method: &str, path: &str, body: &Value, answer: &Response) {
    let file = description();
    let operation = &file["paths"][path][method.to_lowercase()];
    let content = |value: &Value| value["content"]["application/json"]["schema"].clone();
    let response = resolve(&operation["responses"][answer.status.to_string()], &file);
    assert!(
        !response.is_null(),
        "{method} {path}: {} is not described",
        answer.status
    );
    let schema = content(&response);
    assert!(
        !schema.is_null(),
        "{method} {path}: {} has no schema",
        answer.status
    );
    check(&answer.json(), &schema, &file, path).unwrap();
    if answer.status == 200 && !body.is_null() {
        check(body, &content(&operation["requestBody"]), &file, path).unwrap();
    }
}

/// Checks a value against the parts of JSON Schema that the description uses.
fn check(value: &Value, schema: &Value, file: &Value, place: &str) -> Result<(), String> {
    let schema = resolve(schema, file);
    let fail = |reason: &str| Err(format!("{place}: {reason}: {value}"));
    let known = [
        "type",
        "description",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "format",
        "examples",
        "default",
    ];
    for key in schema.as_object().unwrap().keys() {
        assert!(known.contains(&&**key), "{place}: {key} is not checked");
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let is_type = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    if !types.iter().any(is_type) {
        return fail("another type");
    }
    let number = value.as_f64();
    let bound = |key: &str| schema[key].as_f64().zip(number);
    if bound("minimum").is_some_and(|(min, number)| number < min)
        || bound("maximum").is_some_and(|(max, number)| number > max)
    {
        return fail("out of bounds");
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|all| !all.contains(value))
    {
        return fail("none of the enum");
    }
    for item in value.as_array().into_iter().flatten() {
        check(item, &schema["items"], file, place)?;
    }
    let Some(object) = value.as_object() else {
        return Ok(());
    };
    for key in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(key.as_str().unwrap()) {
            return fail(&format!("{key} is missing"));
        }
    }
    for (key, value) in object {
        let place = format!("{place}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => return fail(&format!("{key} is not described")),
            (Value::Null, Value::Null | Value::Bool(true)) => {}
            (Value::Null, other) | (other, _) => check(value, other, file, &place)?,
        }
    }
    Ok(())
}

fn resolve(value: &Value, file: &Value) -> Value {
    match value["$ref"].as_str() {
        Some(path) => file.pointer(path.trim_start_matches('#')).unwrap().clone(),
        None => value.clone(),
    }
}

fn description() -> Value {
    let file = fs::read_to_string("docs/openapi.json").unwrap();
    serde_json::from_str(&file).unwrap()
}

/// Returns the methods and paths of the description.
fn operations(file: &Value) -> BTreeSet<(String, String)> {
    let paths = file["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

/// Finds `.route("PATH", METHOD(` in the source.
fn routes_in(folder: &Path, routes: &mut BTreeSet<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes_in(&path, routes);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(path).unwrap();
            let source: String = source.split_whitespace().collect();
            for route in source.split(".route(\"").skip(1) {
                let (path, rest) = route.split_once("\",").unwrap();
                let (method, _) = rest.split_once('(').unwrap();
                let is_single = ["get", "post", "put", "delete", "patch"].contains(&method);
                assert!(is_single, "{path} has {method}");
                routes.insert((method.to_uppercase(), path.to_owned()));
            }
        }
    }
}

/// Returns the status of a request with the token, and without a body.
#[track_caller]
fn head_of(admin: SocketAddr, method: &str, path: &str) -> u16 {
    let headers = format!("Host: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n");
    let is_stream = path.ends_with("/events");
    // A stream of events has no end, and its head is enough.
    match is_stream && method == "GET" {
        true => send(admin, &format!("HEAD {path}"), &headers, "").status,
        false => send(admin, &format!("{method} {path}"), &headers, "").status,
    }
}

/// Those that there are at least, so that the search finds something.
const MIN_ROUTES: usize = 18;
