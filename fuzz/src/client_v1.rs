//! Datagrams of peers of version 1, and the lines that the server sends on.

use std::net::{Ipv4Addr, SocketAddr};

use bullhorn::wire::{
    ClientDatagram, DisplayName, MAX_TEXT_DATAGRAM, Name, ServerLine, classify, line_protocol,
    push_private, push_text,
};

use crate::printable::assert_printable;

/// Classifies a datagram, and writes its text for other peers.
pub fn decode_client_v1(data: &[u8]) {
    let meaning = classify(data);
    assert_padding_means_nothing(data, meaning);
    let ClientDatagram::Text(line) = meaning else {
        return;
    };
    assert!(!line.is_empty() && data.as_ptr_range().contains(&line.as_ptr()));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
    let name = Name::parse(b"ada").expect("a name");
    for from in [DisplayName::Address(address), DisplayName::Name(name)] {
        let mut text = b"x".to_vec();
        push_text(from, line, &mut text);
        assert_line(&text[1..]);
        let Some(ServerLine::Text { from: sender, .. }) = ServerLine::parse(&text[1..]) else {
            panic!("not a text: {text:?}");
        };
        assert_eq!(DisplayName::parse(sender), Some(from));
        let mut private = Vec::new();
        push_private(from, line, &mut private);
        assert_line(&private);
        let parsed = ServerLine::parse(&private);
        assert!(matches!(parsed, Some(ServerLine::Private { from: sender, .. }) if sender == from));
    }
}

/// NUL bytes at the end, and one line end, are no part of a message.
fn assert_padding_means_nothing(data: &[u8], meaning: ClientDatagram<'_>) {
    if data.is_empty() || matches!(meaning, ClientDatagram::Frames(_)) {
        return;
    }
    let padded = [data, b"\0\0"].concat();
    assert_eq!(classify(&padded), meaning);
    assert_eq!(line_protocol(&padded), line_protocol(data));
    if !matches!(data.last(), Some(b'\n' | b'\r' | 0)) {
        assert_eq!(classify(&[data, b"\n"].concat()), meaning);
        assert_eq!(classify(&[data, b"\r\n"].concat()), meaning);
    }
}

fn assert_line(datagram: &[u8]) {
    assert!(datagram.len() <= MAX_TEXT_DATAGRAM);
    assert_printable(datagram);
}
