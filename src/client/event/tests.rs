use super::*;

fn message(from: &str, payload: &[u8]) -> Message {
    Message {
        room: None,
        from: from.parse().unwrap(),
        payload: payload.to_vec(),
        may_be_cut: false,
    }
}

#[test]
fn the_text_of_a_message_is_not_escaped() {
    assert_eq!(message("ada", b"a\x07\xff").text(), "a\x07\u{fffd}");
}

#[test]
fn each_reason_and_error_is_a_sentence() {
    let refused = DownReason::Unreachable(io::ErrorKind::ConnectionRefused);
    let late = DownReason::NoAnswer(Duration::from_secs(3));
    for (reason, expected) in [
        (refused, "nothing listens there"),
        (late, "no answer within 3s"),
        (DownReason::Goodbye, "it said goodbye"),
        (DownReason::Full, "it is full"),
        (DownReason::Stopping, "it is about to stop"),
    ] {
        assert_eq!(reason.to_string(), expected);
        let error = RequestError::Down(reason);
        assert_eq!(error.to_string(), format!("the server is down: {expected}"));
    }
    let taken = RequestError::Refused(Refusal::NameTaken("ada".parse().unwrap()));
    assert_eq!(taken.to_string(), "ada is taken");
}
