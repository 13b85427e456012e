//! Lists: rooms, peers, bans and limits.

use axum::{Json, extract};
use humantime::format_rfc3339_seconds;
use serde::Serialize;

use super::super::error::Refusal;
use super::input::ListInput;
use super::{Kind, State, moderate};
use crate::server::moderation::{Ban, PeerInfo, RoomInfo};

#[derive(Serialize)]
pub(super) struct Rooms {
    rooms: Vec<RoomAnswer>,
    first: usize,
    total: usize,
}

#[derive(Serialize)]
struct RoomAnswer {
    name: String,
    members: usize,
    /// Members that receive messages in this version.
    v1: u32,
    v2: u32,
}

#[derive(Serialize)]
pub(super) struct Peers {
    peers: Vec<PeerAnswer>,
    first: usize,
    total: usize,
}

#[derive(Serialize)]
struct PeerAnswer {
    address: String,
    name: Option<String>,
    room: String,
    version: u8,
    is_trusted: bool,
    is_muted: bool,
    silent_s: u64,
}

#[derive(Serialize)]
pub(super) struct Bans {
    bans: Vec<BanAnswer>,
}

/// A ban, as changes answer it too.
#[derive(Serialize)]
pub(super) struct BanAnswer {
    net: String,
    /// `None` for ever.
    until: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Limits {
    limits: Vec<LimitAnswer>,
}

#[derive(Serialize)]
struct LimitAnswer {
    flag: &'static str,
    /// `None` if it is off.
    max: Option<u64>,
    is_per_second: bool,
}

pub(super) async fn rooms(
    extract::State(state): extract::State<State>,
    input: ListInput,
) -> Result<Json<Rooms>, Refusal> {
    let ListInput { part, first, page } = input;
    let list = moderate(&state, Kind::List, move |moderation| {
        Ok(moderation.rooms(&part, page))
    })
    .await?;
    Ok(Json(Rooms {
        rooms: list.rooms.iter().map(RoomAnswer::from).collect(),
        first,
        total: list.total,
    }))
}

pub(super) async fn peers(
    extract::State(state): extract::State<State>,
    input: ListInput,
) -> Result<Json<Peers>, Refusal> {
    let ListInput { part, first, page } = input;
    let list = moderate(&state, Kind::List, move |moderation| {
        Ok(moderation.peers(&part, page))
    })
    .await?;
    Ok(Json(Peers {
        peers: list.peers.iter().map(PeerAnswer::from).collect(),
        first,
        total: list.total,
    }))
}

pub(super) async fn bans(
    extract::State(state): extract::State<State>,
) -> Result<Json<Bans>, Refusal> {
    let bans = moderate(&state, Kind::List, |moderation| Ok(moderation.bans())).await?;
    Ok(Json(Bans {
        bans: bans.iter().map(BanAnswer::from).collect(),
    }))
}

pub(super) async fn limits(extract::State(state): extract::State<State>) -> Json<Limits> {
    let limits = state.server.limits();
    let limits = limits.iter().map(|limit| LimitAnswer {
        flag: limit.flag,
        max: limit.max,
        is_per_second: limit.is_rate,
    });
    Json(Limits {
        limits: limits.collect(),
    })
}

impl From<&RoomInfo> for RoomAnswer {
    fn from(room: &RoomInfo) -> Self {
        Self {
            name: room.name.to_string(),
            members: room.members,
            v1: room.v1,
            v2: room.v2,
        }
    }
}

impl From<&PeerInfo> for PeerAnswer {
    fn from(peer: &PeerInfo) -> Self {
        Self {
            address: peer.address.to_string(),
            name: peer.name.map(|name| name.to_string()),
            room: peer.room.to_string(),
            version: peer.version,
            is_trusted: peer.is_trusted,
            is_muted: peer.is_muted,
            silent_s: peer.silent_s,
        }
    }
}

impl From<&Ban> for BanAnswer {
    fn from(ban: &Ban) -> Self {
        let until = ban.end().map(|end| format_rfc3339_seconds(end).to_string());
        Self {
            net: ban.net().to_string(),
            until,
        }
    }
}
