//! The connection of a node to its bus: the ways in which the bus knows it, and changes of the address.

#![cfg(feature = "cluster")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::env;
use std::net::Ipv4Addr;
use std::process::Command;

use common::{Nats, ServerProgram, TestFile, expect_members, has_sandbox, server_command};

/// Returns a bus that knows its users by credentials, and the path of those of a node of the cluster `test`.
fn bus_with_credentials() -> Option<(Nats, String)> {
    let file = |name: &str| format!("{}/tests/credentials/{name}", env!("CARGO_MANIFEST_DIR"));
    let nats = Nats::start(&["-c", &file("bus.conf")])?;
    Some((nats, file("node.creds")))
}

#[test]
fn a_bus_that_wants_a_password_is_told_it_or_refuses_the_node() {
    let Some(nats) = Nats::start(&["--user", "me", "--pass", "secret"]) else {
        return;
    };
    // Not by its name, which has two addresses, and the bus listens at one.
    let start = |id, user| {
        let url = format!("nats://{user}127.0.0.1:{}", nats.port());
        let command = ["--bind", "127.0.0.1:0", "--no-pin", "--workers", "1"];
        let cluster = ["--cluster", &url, "--cluster-name", "test", "--node-id", id];
        let arguments = [&command[..], &cluster].concat();
        ServerProgram::start_command(server_command(&arguments))
    };
    for (id, user, why) in [
        ("nobody", "", "it wants a user: give one in the URL"),
        ("wrong", "me:wrong@", "wrong user me or password"),
        ("token", "secret@", "wrong token"),
    ] {
        let mut refused = start(id, user);
        let line = refused.log().find("the bus refuses this node");
        assert!(line.contains(why), "{line}");
    }
    let nodes = ["one", "two"].map(|id| start(id, "me:secret@"));
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    expect_members(&ann, 2);
    expect_members(&bob, 2);
}

#[test]
fn a_bus_with_tls_is_verified_and_verifies_its_nodes() {
    let file = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let files = ["ca.pem", "bus.pem", "bus.key", "node.pem", "node.key"].map(file);
    let [ca, bus, bus_key, node, node_key] = files.each_ref().map(String::as_str);
    let verify = [
        "--tlsverify",
        "--tlscert",
        bus,
        "--tlskey",
        bus_key,
        "--tlscacert",
        ca,
    ];
    let Some(nats) = Nats::start(&verify) else {
        return;
    };
    let start = |id: &str, more: &[&str]| {
        let command = nats.node_command(id, &[&["--cluster-ca", ca], more].concat());
        ServerProgram::start_command(command)
    };
    let mut unknown = start("unknown", &[]);
    unknown.log().find("the bus cannot be reached");
    let own = ["--cluster-certificate", node, "--cluster-key", node_key];
    let nodes = ["one", "two"].map(|id| start(id, &own));
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    expect_members(&ann, 2);
    expect_members(&bob, 2);
    // Without the authority, the bus is not trusted.
    let command = nats.node_command("system", &own);
    let mut system = ServerProgram::start_command(command);
    let line = system.log().find("certificate");
    assert!(line.contains("the bus cannot be reached"), "{line}");
}

#[test]
fn a_user_with_credentials_of_nsc_is_let_in() {
    let Some((nats, credentials)) = bus_with_credentials() else {
        return;
    };
    let start = |id: &str, more: &[&str]| ServerProgram::start_command(nats.node_command(id, more));
    let mut unknown = start("unknown", &[]);
    let line = unknown.log().find("the bus refuses this node");
    assert!(line.contains("--cluster-credentials"), "{line}");
    let known = ["--cluster-credentials", &credentials];
    let nodes = ["one", "two"].map(|id| start(id, &known));
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    expect_members(&ann, 2);
    expect_members(&bob, 2);
    ann.send(b"hi");
    bob.expect_text_from(&ann, "hi");
}

#[test]
fn a_node_that_may_not_use_its_subjects_does_not_take_part() {
    let Some((nats, credentials)) = bus_with_credentials() else {
        return;
    };
    // The user may use those of the cluster `test`.
    let (url, known) = (nats.url(), ["--cluster-credentials", &credentials]);
    let command = ["--bind", "127.0.0.1:0", "--no-pin", "--workers", "1"];
    let cluster = ["--cluster", &url, "--cluster-name", "other"];
    let arguments = [&command[..], &cluster, &known].concat();
    let mut node = ServerProgram::start_command(server_command(&arguments));
    let line = node.log().find("the bus refuses this node");
    assert!(line.contains("bh.other.>"), "{line}");
    let ada = node.registered_client();
    ada.send(b"/nick ada");
    assert_eq!(ada.receive_text(), "* you are ada (not confirmed)");
}

#[test]
fn a_bus_that_takes_short_messages_only_is_refused() {
    let file = TestFile::new("short", "max_payload: 16KB");
    let Some(nats) = Nats::start(&["-c", file.path()]) else {
        return;
    };
    let url = nats.url();
    let command = ["--bind", "127.0.0.1:0", "--no-pin", "--workers", "1"];
    let cluster = ["--cluster", &url, "--cluster-name", "test"];
    let mut node = ServerProgram::start_command(server_command(&[&command[..], &cluster].concat()));
    let line = node.log().find("raise its max_payload");
    assert!(line.contains("messages of 16384 bytes only"), "{line}");
}

#[test]
fn a_bus_with_a_new_address_is_found_by_its_name() {
    let Some(mut nats) = Nats::start(&[]) else {
        return;
    };
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]);
        command
    };
    let mount = "mount --bind \"$HOSTS\" /etc/hosts";
    let hosts = TestFile::new("hosts", "127.0.0.1 bus.test\n");
    let mut command = in_namespace(mount);
    let output = command.env("HOSTS", hosts.path()).output().unwrap();
    if !output.status.success() {
        assert!(env::var_os("CI").is_none(), "{output:?}");
        println!("skipped: no right to make a namespace");
        return;
    }
    let url = format!("nats://bus.test:{}", nats.port());
    let nodes = ["one", "two"].map(|id| {
        let mut command = in_namespace(&format!("{mount} && exec \"$SERVER\" \"$@\""));
        let arguments = ["sh", "--bind", "127.0.0.1:0", "--no-pin", "--workers", "1"];
        let cluster = ["--cluster", &url, "--cluster-name", "test", "--node-id", id];
        command.args(arguments).args(cluster);
        command.env("SERVER", env!("CARGO_BIN_EXE_server"));
        command.env("HOSTS", hosts.path());
        if has_sandbox() {
            command.env("BULLHORN_SANDBOX", "strict");
        }
        ServerProgram::start_command(command)
    });
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    expect_members(&ann, 2);
    expect_members(&bob, 2);
    nats.kill();
    expect_members(&ann, 1);
    expect_members(&bob, 1);
    hosts.write("127.0.0.2 bus.test\n");
    nats.resume_at(Ipv4Addr::new(127, 0, 0, 2));
    expect_members(&ann, 2);
    expect_members(&bob, 2);
}
