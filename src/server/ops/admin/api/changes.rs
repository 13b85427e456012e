//! Changes: what the operator says and does.

use std::time::Duration;

use axum::http::StatusCode;
use axum::{Json, extract};
use serde::{Deserialize, Serialize};

use super::super::error::Refusal;
use super::input::Input;
use super::lists::BanAnswer;
use super::{Kind, State, moderate};
use crate::server::ingress::admission::parse_net;
use crate::server::moderation::{BanChange, DEFAULT_MUTE, IpNet, KICK_TIME, Kept, Moderated};
use crate::wire::RoomName;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Say {
    /// Without one, to all peers.
    room: Option<String>,
    text: String,
}

/// A change of one peer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whom {
    /// A name, or an address with its port.
    whom: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mute {
    whom: String,
    /// Without one, [`DEFAULT_MUTE`].
    time_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddBan {
    net: String,
    /// Without one, for ever.
    time_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveBan {
    net: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    time_s: u64,
}

/// The number of peers that are told.
#[derive(Serialize)]
pub(super) struct Told {
    told: usize,
}

/// A peer that was changed.
#[derive(Serialize)]
pub(super) struct Changed {
    address: String,
    name: Option<String>,
    /// The time for which it is refused or muted.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_s: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct BanChanged {
    #[serde(flatten)]
    ban: BanAnswer,
    /// Peers that were removed.
    removed: usize,
    /// `file`, or `memory` if the bans are gone after a restart.
    kept: &'static str,
    /// The reason why the file could not be written.
    problem: Option<String>,
}

pub(super) async fn say(
    extract::State(state): extract::State<State>,
    Input(Say { room, text }): Input<Say>,
) -> Result<Json<Told>, Refusal> {
    let room = room.map(|room| room_of(&room)).transpose()?;
    let told = moderate(&state, Kind::Change, move |moderation| {
        moderation.say(room, &text)
    })
    .await?;
    Ok(Json(Told { told }))
}

pub(super) async fn kick(
    extract::State(state): extract::State<State>,
    Input(Whom { whom }): Input<Whom>,
) -> Result<Json<Changed>, Refusal> {
    let kicked = moderate(&state, Kind::Change, move |moderation| {
        moderation.kick(&whom)
    })
    .await?;
    Ok(Json(Changed::new(kicked, Some(KICK_TIME))))
}

pub(super) async fn mute(
    extract::State(state): extract::State<State>,
    Input(Mute { whom, time_s }): Input<Mute>,
) -> Result<Json<Changed>, Refusal> {
    let time = time_s.map_or(DEFAULT_MUTE, Duration::from_secs);
    let muted = moderate(&state, Kind::Change, move |moderation| {
        moderation.mute(&whom, time)
    })
    .await?;
    Ok(Json(Changed::new(muted, Some(time))))
}

pub(super) async fn unmute(
    extract::State(state): extract::State<State>,
    Input(Whom { whom }): Input<Whom>,
) -> Result<Json<Changed>, Refusal> {
    let unmuted = moderate(&state, Kind::Change, move |moderation| {
        moderation.unmute(&whom)
    })
    .await?;
    Ok(Json(Changed::new(unmuted, None)))
}

pub(super) async fn ban(
    extract::State(state): extract::State<State>,
    Input(AddBan { net, time_s }): Input<AddBan>,
) -> Result<Json<BanChanged>, Refusal> {
    let (net, time) = (net_of(&net)?, time_s.map(Duration::from_secs));
    let change = moderate(&state, Kind::Change, move |moderation| {
        moderation.ban(net, time)
    })
    .await?;
    Ok(Json(change.into()))
}

pub(super) async fn unban(
    extract::State(state): extract::State<State>,
    Input(RemoveBan { net }): Input<RemoveBan>,
) -> Result<Json<BanChanged>, Refusal> {
    let net = net_of(&net)?;
    let change = moderate(&state, Kind::Change, move |moderation| {
        moderation.unban(net)
    })
    .await?;
    Ok(Json(change.into()))
}

pub(super) async fn drain(
    extract::State(state): extract::State<State>,
    Input(Drain { time_s }): Input<Drain>,
) -> Result<Json<Told>, Refusal> {
    let time = Duration::from_secs(time_s);
    let told = moderate(&state, Kind::Change, move |moderation| {
        moderation.drain(time)
    })
    .await?;
    Ok(Json(Told { told }))
}

impl Changed {
    fn new(peer: Moderated, time: Option<Duration>) -> Self {
        Self {
            address: peer.address.to_string(),
            name: peer.name.map(|name| name.to_string()),
            time_s: time.map(|time| time.as_secs()),
        }
    }
}

impl From<BanChange> for BanChanged {
    fn from(change: BanChange) -> Self {
        let (kept, problem) = match change.kept {
            Kept::InFile => ("file", None),
            Kept::InMemory => ("memory", None),
            Kept::Failed(error) => ("failed", Some(error.to_string())),
        };
        Self {
            ban: BanAnswer::from(&change.ban),
            removed: change.removed,
            kept,
            problem,
        }
    }
}

fn room_of(text: &str) -> Result<RoomName, Refusal> {
    text.parse().map_err(|error| {
        let sentence = format!("the name of a room {error}");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, sentence)
    })
}

fn net_of(text: &str) -> Result<IpNet, Refusal> {
    parse_net(text).ok_or_else(|| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, NET))
}

const NET: &str = "net must be a network or an address, such as 192.0.2.0/24 or 2001:db8::7";
