//! The load generator: arguments, call, exit code.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use loadgen::args::Arguments;
use loadgen::exit::End;
use loadgen::front;
use loadgen::request::{CalibrateRequest, FindMaxRequest, Request, RunRequest};

fn main() -> ExitCode {
    let end = match Arguments::parse().request() {
        Ok(Request::Run(request)) => run(&request),
        Ok(Request::FindMax(request)) => find_max(&request),
        Ok(Request::Calibrate(request)) => calibrate(&request),
        Err(wrong) => wrong_use(&wrong),
    };
    end.into()
}

fn run(request: &RunRequest) -> End {
    if let Err(wrong) = front::prepare(request) {
        wrong_use(&wrong);
    }
    offer(request)
}

/// Where the engine is joined: `front::run(request, Arc::new(engine))`.
fn offer(_request: &RunRequest) -> End {
    front::failed("this build has no engine to offer load with")
}

/// Where the search is joined.
fn find_max(_request: &FindMaxRequest) -> End {
    front::failed("this build has no engine to search with")
}

/// Where the calibration is joined.
fn calibrate(_request: &CalibrateRequest) -> End {
    front::failed("this build has no engine to calibrate")
}

/// Says what is right, and ends with the exit code of wrong use, as for arguments that
/// are wrong by themselves.
fn wrong_use(wrong: &dyn std::error::Error) -> ! {
    let mut command = Arguments::command();
    command.error(ErrorKind::ArgumentConflict, wrong).exit()
}
