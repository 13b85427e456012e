//! Texts of v1: what a datagram means, and how one goes out.

use std::hint::black_box;

use bullhorn::wire::{
    ClientDatagram, DisplayName, MAX_TEXT_DATAGRAM, classify, parse_command, push_printable,
    push_text,
};
use gungraun::{library_benchmark, library_benchmark_group};

use crate::inputs::{address, text};

#[library_benchmark]
#[bench::datagrams(args = (1000), setup = mixed)]
#[bench::heartbeats(args = (1000), setup = heartbeats)]
fn classified(datagrams: Vec<Vec<u8>>) -> (usize, Vec<Vec<u8>>) {
    let is_text =
        |datagram: &&Vec<u8>| matches!(classify(black_box(datagram)), ClientDatagram::Text(_));
    (datagrams.iter().filter(is_text).count(), datagrams)
}

#[library_benchmark]
#[bench::mixed(args = (1000), setup = lines)]
fn parsed_commands(lines: Vec<Vec<u8>>) -> (usize, Vec<Vec<u8>>) {
    let is_command = |line: &&Vec<u8>| parse_command(black_box(line)).is_some();
    (lines.iter().filter(is_command).count(), lines)
}

#[library_benchmark]
#[bench::ascii(args = (PLAIN, 500), setup = repeated)]
#[bench::utf8(args = ("Grüße an alle, 世界 🎉, und bis später", 100), setup = repeated)]
#[bench::controls(args = ("\x1b[2J\u{7} a\tb \u{9b}31m \u{202e}drow", 100), setup = repeated)]
fn sanitized((texts, mut out): Texts) -> Texts {
    for text in &texts {
        out.clear();
        push_printable(black_box(text), MAX_TEXT_DATAGRAM, &mut out);
    }
    (texts, out)
}

#[library_benchmark]
#[bench::short(args = (PLAIN, 100), setup = repeated)]
fn formatted((texts, mut out): Texts) -> Texts {
    let speaker = DisplayName::Address(address(1).socket_addr());
    for text in &texts {
        out.clear();
        push_text(black_box(speaker), black_box(text), &mut out);
    }
    (texts, out)
}

library_benchmark_group!(
    name = wire_group,
    benchmarks = [classified, parsed_commands, sanitized, formatted]
);

/// Texts, and a buffer for what becomes of one.
type Texts = (Vec<Vec<u8>>, Vec<u8>);

fn repeated(text: &str, count: usize) -> Texts {
    let texts = vec![text.as_bytes().to_vec(); count];
    (texts, Vec::with_capacity(MAX_TEXT_DATAGRAM))
}

/// As many texts as heartbeats, and a few of all else.
fn mixed(count: usize) -> Vec<Vec<u8>> {
    let datagram = |index| match index % 16 {
        0 => b"quit".to_vec(),
        1 => b"\n".to_vec(),
        2 => b"\xff\x02and so on".to_vec(),
        3 => Vec::new(),
        4..10 => b"@im@".to_vec(),
        _ => text(index, 8 + index % 100),
    };
    (0..count).map(datagram).collect()
}

fn heartbeats(count: usize) -> Vec<Vec<u8>> {
    vec![b"@im@".to_vec(); count]
}

fn lines(count: usize) -> Vec<Vec<u8>> {
    let lines = [
        "/nick ada",
        "/join den",
        "/msg ada psst",
        "/ping 1",
        "/dance",
        "hi all",
    ];
    let lines = lines.iter().cycle().take(count);
    lines.map(|line| line.as_bytes().to_vec()).collect()
}

/// As long as a text of `kernel`, with nothing to escape.
const PLAIN: &str = "the quick brown fox jumps over l";
