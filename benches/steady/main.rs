//! What fixed scenes cost a worker in system calls and allocations: the same in every run, on
//! every machine. See benches/README.md.
//!
//! The scenes run in a child of this process, so that it may trace the worker in there.

#[path = "../harness/mod.rs"]
mod harness;

mod peers;
mod scene;
mod tracer;

use std::alloc::System;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use nix::unistd::Pid;
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use harness::Error;
use scene::SCENES;
use tracer::Tracer;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), Error> {
    if std::env::args().any(|argument| argument == TRACED) {
        play()
    } else {
        watch()
    }
}

/// The child's part: plays all scenes, and says what each cost.
fn play() -> Result<(), Error> {
    let mut scenes = Map::new();
    for scene in &SCENES {
        let cost = scene
            .play()
            .map_err(|error| format!("{}: {error}", scene.name))?;
        let (deliveries, syscalls, allocations) =
            (cost.deliveries, cost.syscalls, cost.allocations);
        let cost =
            json!({"deliveries": deliveries, "syscalls": syscalls, "allocations": allocations});
        scenes.insert(scene.name.into(), cost);
    }
    println!("{RESULT}{}", Value::Object(scenes));
    Ok(())
}

/// The parent's part: traces whom the child names, answers its questions, and prints its result.
fn watch() -> Result<(), Error> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(TRACED)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut answers = child.stdin.take().ok_or("no pipe")?;
    let questions = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let mut tracer = None;
    for question in questions.lines() {
        let question = question?;
        if let Some(thread) = question.strip_prefix(TRACE) {
            tracer = Some(Tracer::start(Pid::from_raw(thread.parse()?))?);
        } else if let Some(result) = question.strip_prefix(RESULT) {
            println!("{result}");
            continue;
        } else if question != COUNT {
            return Err(format!("the child said {question}").into());
        }
        let calls = tracer.as_ref().map_or(0, Tracer::calls);
        writeln!(answers, "{calls}")?;
    }
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the scenes ended with {status}").into())
    }
}

/// Lines of the child. The parent answers the first two with the number of calls so far.
const TRACE: &str = "trace ";
const COUNT: &str = "count";
const RESULT: &str = "result ";

/// What tells the child that it is one.
const TRACED: &str = "--traced";
