//! The load generator: arguments, call, exit code.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use loadgen::cli::args::Arguments;
use loadgen::cli::calibrate;
use loadgen::cli::exit::End;
use loadgen::cli::find_max;
use loadgen::cli::front::{self, Refusal};
use loadgen::cli::request::{FindMaxRequest, Request, RunRequest};

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
    match front::prepare(request) {
        Ok(prepared) => front::run(request, prepared),
        Err(wrong) => refused(&wrong),
    }
}

fn find_max(request: &FindMaxRequest) -> End {
    match find_max::prepare(request) {
        Ok(prepared) => find_max::run(request, prepared),
        Err(wrong) => refused(&wrong),
    }
}

fn refused(wrong: &Refusal) -> End {
    match wrong.is_wrong_use() {
        true => wrong_use(wrong),
        false => front::failed(&wrong.to_string()),
    }
}

/// Prints the error and ends with the exit code of wrong arguments, as clap does.
fn wrong_use(wrong: &dyn std::error::Error) -> ! {
    let mut command = Arguments::command();
    command.error(ErrorKind::ArgumentConflict, wrong).exit()
}
