//! The load generator: arguments, call, exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use loadgen::cli::args::Arguments;
use loadgen::cli::exit::End;
use loadgen::cli::front::{self, AnyError, Engine};
use loadgen::cli::request::{CalibrateRequest, FindMaxRequest, Request, RunRequest};
use loadgen::config::RunConfig;
use loadgen::outcome::{Outcome, Sample};
use loadgen::verdict::SloResult;
use loadgen::verdict::Verdict;
use loadgen::{Control, RunError};

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
    if request.output.out.is_some() {
        return front::failed("this build writes no files yet");
    }
    if let Err(wrong) = front::prepare(request) {
        wrong_use(&wrong);
    }
    let generator = Generator {
        control: Control::new(),
    };
    front::run(request, Arc::new(generator))
}

/// The engine, as the command line meets it.
struct Generator {
    control: Arc<Control>,
}

impl Engine for Generator {
    fn run(
        &self,
        config: &RunConfig,
        observer: &mut dyn FnMut(&Sample<'_>),
    ) -> Result<Outcome, RunError> {
        loadgen::run(config, &self.control, observer)
    }

    fn stop(&self, signal: i32) {
        self.control.stop(signal);
    }

    fn report(
        &self,
        request: &RunRequest,
        outcome: &Outcome,
        _slo: &[SloResult],
    ) -> Result<Vec<String>, AnyError> {
        Ok(Verdict::of(&request.config, outcome).invalid)
    }
}

/// Where the search is joined.
fn find_max(_request: &FindMaxRequest) -> End {
    front::failed("this build does not search yet")
}

/// Where the calibration is joined.
fn calibrate(_request: &CalibrateRequest) -> End {
    front::failed("this build does not calibrate yet")
}

/// Says what is right, and ends with the exit code of wrong use, as for arguments that
/// are wrong by themselves.
fn wrong_use(wrong: &dyn std::error::Error) -> ! {
    let mut command = Arguments::command();
    command.error(ErrorKind::ArgumentConflict, wrong).exit()
}
