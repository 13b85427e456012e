//! What the child says to the parent, a line each, of which the parent answers the first two
//! with the calls counted so far.

use std::io;

use crate::harness::Error;

/// Has the parent trace this thread, until it ends.
pub(crate) fn trace(thread: &str) -> Result<(), Error> {
    ask(&format!("{TRACE}{thread}"))?;
    Ok(())
}

/// How many system calls the thread has made since it is traced.
pub(crate) fn calls() -> Result<u64, Error> {
    ask(COUNT)
}

fn ask(question: &str) -> Result<u64, Error> {
    println!("{question}");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().parse()?)
}

pub(crate) const TRACE: &str = "trace ";

pub(crate) const COUNT: &str = "count";

pub(crate) const RESULT: &str = "result ";
