//! The load generator: arguments, call, exit code.

use std::process::ExitCode;

use bullhorn::program::LOADGEN;
use loadgen::cli::args::Arguments;
use loadgen::cli::calibrate;
use loadgen::cli::find_max;
use loadgen::cli::front;
use loadgen::cli::request::Request;

fn main() -> ExitCode {
    let request = LOADGEN.parse::<Arguments>().request();
    let end = match request.unwrap_or_else(|wrong| wrong_use(&wrong)) {
        Request::Run(request) => front::prepare(&request).map(|files| front::run(&request, files)),
        Request::FindMax(request) => {
            find_max::prepare(&request).map(|prepared| find_max::run(&request, prepared))
        }
        Request::Calibrate(calibration) => Ok(calibrate::run(&calibration)),
    };
    let end = end.unwrap_or_else(|refusal| match refusal.is_wrong_use() {
        true => wrong_use(&refusal),
        false => front::failed(&refusal.to_string()),
    });
    end.into()
}

/// Prints the error and ends with the exit code of wrong arguments, as clap does.
fn wrong_use(wrong: &dyn std::error::Error) -> ! {
    LOADGEN.refuse::<Arguments>(wrong)
}
