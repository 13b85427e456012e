//! The engine and the files of a run, as the command line meets them.

use std::env;
use std::sync::{Arc, Mutex, PoisonError};

use super::front::{AnyError, Engine};
use super::request::RunRequest;
use crate::config::RunConfig;
use crate::engine::run::{Control, RunError, run};
use crate::outcome::{Outcome, Sample};
use crate::output::{Output, OutputError, Run};
use crate::verdict::{SloResult, Verdict};

/// Offers the load of one request, and writes its files.
pub struct Generator {
    control: Arc<Control>,
    output: Mutex<Option<Output>>,
    /// What went wrong with the files while the load was offered.
    failure: Mutex<Option<std::io::Error>>,
}

impl Generator {
    /// Makes the directory for the files, if there are to be any.
    ///
    /// # Errors
    /// [`OutputError`], also where there are files already that may not be replaced.
    pub fn new(request: &RunRequest) -> Result<Self, OutputError> {
        let options = &request.output;
        let output = options.out.as_ref();
        let output = output
            .map(|dir| Output::create(dir, options.overwrite))
            .transpose()?;
        Ok(Self {
            control: Control::new(),
            output: Mutex::new(output),
            failure: Mutex::default(),
        })
    }
}

impl Engine for Generator {
    fn run(
        &self,
        config: &RunConfig,
        observer: &mut dyn FnMut(&Sample<'_>),
    ) -> Result<Outcome, RunError> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        run(config, &self.control, |sample| {
            if let Some(Err(error)) = output.as_mut().map(|output| output.sample(sample)) {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error);
            }
            observer(sample);
        })
    }

    fn stop(&self, signal: i32) {
        self.control.stop(signal);
    }

    fn report(
        &self,
        request: &RunRequest,
        outcome: &Outcome,
        verdict: &Verdict,
        slo: &[SloResult],
    ) -> Result<(), AnyError> {
        if let Some(error) = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            return Err(format!("cannot write the log of histograms: {error}").into());
        }
        let output = self
            .output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(output) = output {
            let command: Vec<String> = env::args().collect();
            output.finish(&Run {
                command: &command,
                config: &request.config,
                outcome,
                verdict,
                slos: slo,
            })?;
        }
        Ok(())
    }
}
