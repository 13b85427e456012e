//! The load generator: arguments, call, exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use loadgen::cli::args::Arguments;
use loadgen::cli::calibrate;
use loadgen::cli::exit::End;
use loadgen::cli::find_max;
use loadgen::cli::front;
use loadgen::cli::generator::Generator;
use loadgen::cli::request::{FindMaxRequest, Request, RunRequest};
use loadgen::output::OutputError;

fn main() -> ExitCode {
    let end = match Arguments::parse().request() {
        Ok(Request::Run(request)) => run(&request),
        Ok(Request::FindMax(request)) => find_max(&request),
        Ok(Request::Calibrate(request)) => calibrate::run(&request),
        Err(wrong) => wrong_use(&wrong),
    };
    end.into()
}

fn run(request: &RunRequest) -> End {
    if let Err(wrong) = front::prepare(request) {
        wrong_use(&wrong);
    }
    match Generator::new(request) {
        Ok(generator) => front::run(request, Arc::new(generator)),
        Err(taken @ OutputError::Taken(_)) => wrong_use(&taken),
        Err(error) => front::failed(&error.to_string()),
    }
}

fn find_max(request: &FindMaxRequest) -> End {
    match find_max::prepare(request) {
        Ok(prepared) => find_max::run(request, prepared),
        Err(wrong) if wrong.is_wrong_use() => wrong_use(&wrong),
        Err(error) => front::failed(&error.to_string()),
    }
}

/// Says what is right, and ends with the exit code of wrong use, as for arguments that
/// are wrong by themselves.
fn wrong_use(wrong: &dyn std::error::Error) -> ! {
    let mut command = Arguments::command();
    command.error(ErrorKind::ArgumentConflict, wrong).exit()
}
