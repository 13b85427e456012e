//! The encodings of the lines that are piped into the program `client`.

mod common;

use common::{
    ClientProgram, FakeServer, OutputText, TestServer, V4, run_client, unpinned_config, wait_until,
};

#[test]
fn a_byte_order_mark_does_not_hide_a_command() {
    let server = TestServer::start(unpinned_config(1, V4));
    for protocol in ["v1", "v2"] {
        let arguments = ["--wait", "20s", "--protocol", protocol];
        let lines = ["\u{feff}/nick b".to_owned()];
        let output = run_client(server.local_addr(), &arguments, &lines);
        assert_eq!(output.text(), "* you are b\n", "{output:?}");
        assert_eq!(output.status.code(), Some(0));
        wait_until("the leave", || server.stats().peers == 0);
    }
}

#[test]
fn a_byte_order_mark_alone_is_no_text() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    client.type_in("\u{feff}\nhi\n");
    assert_eq!(server.receive_text(), b"hi");
}

#[test]
fn utf16_is_refused_by_name() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    client.type_in("h\0i\0\n\0");
    let output = client.wait_with_output();
    assert_eq!(output.status.code(), Some(1));
    let errors = output.errors();
    assert!(
        errors.ends_with("the input is UTF-16; write UTF-8\n"),
        "{errors}"
    );
    assert_eq!(server.receive_text(), b"quit");
}
