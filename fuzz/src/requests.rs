//! Requests of a session, and what a server replies to them.

use arbitrary::{Result, Unstructured};
use bullhorn::client::protocol::Request;
use bullhorn::wire::reply::{Limit, Page, Reply};
use bullhorn::wire::{RoomName, Verb};

use crate::frames::{any_bytes, any_display_name, any_label};

/// Any request that an application makes.
pub(crate) fn any_request(input: &mut Unstructured<'_>) -> Result<Request> {
    Ok(match input.int_in_range(0..=8)? {
        0 => Request::Name(any_label(input)?),
        1 => Request::Room(any_room_name(input)?),
        2 => Request::Private {
            to: any_display_name(input)?,
            text: match String::from_utf8_lossy(any_bytes(input, 300)?).trim_ascii() {
                "" => "x".to_owned(),
                text => text.to_owned(),
            },
        },
        3 => Request::Members(input.int_in_range(1..=1000)?),
        4 => Request::Rooms(input.int_in_range(1..=1000)?),
        5 => Request::Presence(input.arbitrary()?),
        6 => Request::Subscribe(any_room_name(input)?),
        7 => Request::Unsubscribe(any_room_name(input)?),
        _ => Request::Ping(input.arbitrary()?),
    })
}

/// A reply of a server that has carried out a request, or refuses it. `to` is the receiver of a
/// direct message.
pub(crate) fn reply_to<'a>(
    request: &Request,
    to: &'a [u8],
    input: &mut Unstructured<'_>,
) -> Result<Reply<'a>> {
    let members = usize::from(input.arbitrary::<u8>()?);
    let limit = Limit::of_server(2);
    let choice = input.int_in_range(0..=2)?;
    Ok(match (request, choice) {
        (Request::Name(name), 0) => Reply::Named(*name),
        (Request::Name(name), 1) => Reply::NameTaken(*name),
        (Request::Name(_), _) => Reply::NameLimit(limit),
        (Request::Room(room), 0) => Reply::Entered {
            room: *room,
            members,
        },
        (Request::Room(room) | Request::Subscribe(room), 1) => Reply::RoomFull(*room, members),
        (Request::Room(room) | Request::Subscribe(room), _) => Reply::RoomLimit(*room, limit),
        (Request::Private { .. }, 0) => Reply::Sent { to, text: b"hi" },
        (Request::Private { .. }, 1) => Reply::NoSuchPeer(to),
        (Request::Private { .. }, _) => Reply::TooManyMessages,
        (Request::Members(_) | Request::Rooms(_), 1) => Reply::TooManyLists,
        (Request::Members(first), _) => {
            Reply::Members("chess".parse().expect("a name"), Page::new(*first))
        }
        (Request::Rooms(first), _) => Reply::Rooms(Page::new(*first)),
        (Request::Presence(is_on), 0) => Reply::Subscribed(*is_on),
        (Request::Presence(_), _) => Reply::Usage(Verb::Presence),
        (Request::Unsubscribe(_), _) => Reply::SessionRoomLimit(members),
        (Request::Ping(_), _) => Reply::Usage(Verb::Ping),
    })
}

/// The request as a v1 client sends it.
pub(crate) fn line_of(request: &Request) -> String {
    match request {
        Request::Name(name) => format!("/nick {name}"),
        Request::Room(room) => format!("/join {room}"),
        Request::Private { to, text } => format!("/msg {to} {text}"),
        Request::Members(first) => format!("/who {first}"),
        Request::Rooms(first) => format!("/rooms {first}"),
        Request::Presence(true) => "/presence on".to_owned(),
        Request::Presence(false) => "/presence off".to_owned(),
        Request::Subscribe(name) | Request::Unsubscribe(name) => name.to_string(),
        Request::Ping(number) => format!("/ping {number:016x}"),
    }
}

/// Few names meet each other more often.
pub(crate) fn any_room_name(input: &mut Unstructured<'_>) -> Result<RoomName> {
    match input.int_in_range(0..=4)? {
        0 => any_label(input),
        at => Ok(["lobby", "chess", "Chess", "den"][at - 1]
            .parse()
            .expect("a name")),
    }
}
