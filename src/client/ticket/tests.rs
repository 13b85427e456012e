use super::*;
use crate::client::event::Listing;
use crate::wire::RoomName;

#[test]
fn a_ticket_waits_for_its_result() {
    let (responder, ticket) = Responder::new::<Duration>(7);
    assert_eq!(ticket.id(), TicketId(7));
    assert_eq!(format!("{ticket:?}"), "Ticket(7)");
    let too_early = ticket.wait(Duration::ZERO);
    assert_eq!(too_early, Err(RequestError::Waiting));
    let time = Duration::from_millis(1);
    let thread = std::thread::spawn(move || responder.respond(Ok(Answer::RoundTrip(time))));
    for _ in 0..2 {
        assert_eq!(ticket.wait(PATIENCE), Ok(time), "it stays");
    }
    thread.join().unwrap();
}

#[test]
fn without_a_session_there_is_no_result() {
    let (responder, ticket) = Responder::new::<Listing<RoomName>>(1);
    drop(responder);
    assert_eq!(ticket.wait(PATIENCE), Err(RequestError::Ended));
}

#[test]
fn a_result_without_a_ticket_is_dropped() {
    let (responder, ticket) = Responder::new::<()>(1);
    drop(ticket);
    responder.respond(Ok(Answer::Done));
}

/// Far beyond the time that anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
