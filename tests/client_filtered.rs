//! The program `client` behind packet filters, in a network of its own. This needs root, and
//! `nft` or `iptables`. Without them, the tests are skipped.

mod common;

use std::process::Command;

use common::{ClientProgram, OutputText, client_command};

/// A filter that drops the datagrams to [`SERVER`].
#[derive(Clone, Copy)]
enum Filter {
    /// At the exit of this machine. The kernel reports it to the sender.
    Output,
    /// At the entry of the machine of the server. Nobody reports it.
    Input,
}

#[test]
fn a_forbidden_way_to_the_server_is_the_reason() {
    for protocol in ["v1", "v2", "auto"] {
        let Some(mut client) = start(Filter::Output, protocol) else {
            return;
        };
        client.expect_output(&format!("{SERVER} is down: permission denied\n"));
        client.type_in("hi\n");
        client.end_input();
        expect_failure(client, "permission denied");
    }
}

#[test]
fn a_forbidden_way_is_the_reason_for_the_first_text_too() {
    let Some(mut client) = start(Filter::Output, "v2") else {
        return;
    };
    client.type_in("hi\n");
    client.end_input();
    expect_failure(client, "permission denied");
}

#[test]
fn a_server_behind_a_filter_does_not_answer() {
    for protocol in ["v1", "v2", "auto"] {
        let Some(mut client) = start(Filter::Input, protocol) else {
            return;
        };
        client.type_in("hi\n");
        client.end_input();
        expect_failure(client, "the server is down: no answer within ");
    }
}

#[track_caller]
fn expect_failure(client: ClientProgram, reason: &str) {
    let output = client.wait_with_output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = output.errors();
    let last = errors.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("client: the last line was not ") && last.contains(reason),
        "{output:?}"
    );
}

/// Starts the client in a new network with this filter. Returns `None`, and prints the reason,
/// where this is impossible.
fn start(filter: Filter, protocol: &str) -> Option<ClientProgram> {
    let tool = ["nft", "iptables"].into_iter().find(|tool| {
        let rules = rules(tool, filter);
        let mut command = in_a_network(&format!("{rules} > /dev/null 2>&1"));
        command.status().is_ok_and(|status| status.success())
    });
    let Some(tool) = tool else {
        println!("skipped: no root, or neither nft nor iptables works in a new network");
        return None;
    };
    let script = format!(
        "{} && exec \"$CLIENT\" --protocol {protocol} --answer-within 500ms --wait 20s {SERVER}",
        rules(tool, filter)
    );
    let mut command = in_a_network(&script);
    command.env("CLIENT", client_command().get_program());
    Some(ClientProgram::spawn(&mut command))
}

fn in_a_network(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c"]);
    command.arg(format!("ip link set lo up && {script}"));
    command
}

fn rules(tool: &str, filter: Filter) -> String {
    let (hook, chain) = match filter {
        Filter::Output => ("output", "OUTPUT"),
        Filter::Input => ("input", "INPUT"),
    };
    match tool {
        "nft" => format!(
            "nft add table inet test && \
             nft add chain inet test chat '{{ type filter hook {hook} priority 0; }}' && \
             nft add rule inet test chat udp dport 9999 drop"
        ),
        _ => format!("{tool} -A {chain} -p udp --dport 9999 -j DROP"),
    }
}

/// Without a filter, this network says that nothing listens there.
const SERVER: &str = "127.0.0.1:9999";
