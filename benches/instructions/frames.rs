//! Frames of v2, to bytes and back.

use std::hint::black_box;

use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{
    BUNDLE_BYTES, ClientFrame, Message, ServerFrame, parse_client, parse_server, push_client_frame,
    push_client_header, push_padding, push_server_frame, push_server_header,
};
use gungraun::{library_benchmark, library_benchmark_group};

use crate::inputs::{address, session, text};

#[library_benchmark]
#[bench::messages(args = (100), setup = payloads)]
fn encoded((payloads, mut out): (Vec<Vec<u8>>, Vec<u8>)) -> (Vec<Vec<u8>>, Vec<u8>) {
    for (payload, sequence) in payloads.iter().zip(0..) {
        push_server_frame(&black_box(message(sequence, payload)), &mut out);
    }
    (payloads, out)
}

#[library_benchmark]
#[bench::says(args = (20), setup = says)]
#[bench::heartbeats(args = (1000), setup = heartbeats)]
fn parsed(datagrams: Vec<Vec<u8>>) -> (usize, Vec<Vec<u8>>) {
    let bytes = |datagram: &Vec<u8>| {
        let Ok((_, frames)) = parse_client(black_box(datagram)) else {
            return 0;
        };
        frames.map(|frame| said(&frame)).sum::<usize>()
    };
    (datagrams.iter().map(bytes).sum(), datagrams)
}

#[library_benchmark]
#[bench::full(args = (50), setup = bundles)]
fn unbundled(datagrams: Vec<Vec<u8>>) -> (usize, Vec<Vec<u8>>) {
    let bytes = |datagram: &Vec<u8>| {
        let frames = parse_server(black_box(datagram)).into_iter().flatten();
        frames.map(|frame| heard(&frame)).sum::<usize>()
    };
    (datagrams.iter().map(bytes).sum(), datagrams)
}

library_benchmark_group!(
    name = frames_group,
    benchmarks = [encoded, parsed, unbundled]
);

fn message(sequence: u32, payload: &[u8]) -> ServerFrame<'_> {
    ServerFrame::Message(Message {
        room: 0,
        stream: 0,
        sequence,
        from: DisplayName::Address(address(sequence).socket_addr()),
        payload,
    })
}

fn said(frame: &ClientFrame<'_>) -> usize {
    match frame {
        ClientFrame::Say(payload) => payload.len(),
        _ => 1,
    }
}

fn heard(frame: &ServerFrame<'_>) -> usize {
    match frame {
        ServerFrame::Message(message) => message.payload.len(),
        _ => 1,
    }
}

fn payloads(count: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let payloads: Vec<Vec<u8>> = (0..count).map(|index| text(index, PAYLOAD_BYTES)).collect();
    (payloads, Vec::with_capacity(count * BUNDLE_BYTES))
}

/// Datagrams, each with as many texts as fit into a bundle.
fn says(count: usize) -> Vec<Vec<u8>> {
    let datagram = |index| {
        let mut datagram = Vec::new();
        push_client_header(Some(session(0)), &mut datagram);
        for _ in 0..MESSAGES {
            let payload = text(index, PAYLOAD_BYTES);
            push_client_frame(&ClientFrame::Say(&payload), &mut datagram);
        }
        datagram
    };
    (0..count).map(datagram).collect()
}

fn heartbeats(count: usize) -> Vec<Vec<u8>> {
    let mut heartbeat = Vec::new();
    push_client_header(Some(session(0)), &mut heartbeat);
    push_client_frame(&ClientFrame::Heartbeat(Some(0)), &mut heartbeat);
    vec![heartbeat; count]
}

/// Bundles as a client gets them, full and padded.
fn bundles(count: usize) -> Vec<Vec<u8>> {
    let bundle = |index: usize| {
        let mut bundle = Vec::new();
        push_server_header(1, &mut bundle);
        for sequence in 0..MESSAGES {
            let payload = text(index, PAYLOAD_BYTES);
            push_server_frame(&message(sequence, &payload), &mut bundle);
        }
        push_padding(0, BUNDLE_BYTES, &mut bundle);
        bundle
    };
    (0..count).map(bundle).collect()
}

/// Messages in a datagram.
const MESSAGES: u32 = 20;

/// So that they fit into a bundle with their headers.
const PAYLOAD_BYTES: usize = 32;
