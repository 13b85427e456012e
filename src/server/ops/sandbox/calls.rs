//! Seccomp: the filter of system calls.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::env::consts::ARCH;
use std::fmt::{self, Display};
use std::process;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, Error as SeccompError, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
    apply_filter_all_threads,
};

use super::Threads;
use super::features::{Argument, Call, Feature, REFUSED_QUIETLY, Rule};
use crate::net::handle_refused_calls;

/// The filter that is in force.
#[derive(Debug)]
pub(super) struct Calls {
    count: usize,
}

impl Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seccomp, {} system calls", self.count)
    }
}

/// Confines `threads` to the calls of `features`. Another call fails with `EPERM` and is noted, or
/// ends the process if `is_fatal`.
///
/// # Errors
/// The reason why no filter is in force.
pub(super) fn confine(
    features: &[Feature],
    threads: Threads,
    is_fatal: bool,
) -> Result<Calls, String> {
    let arch = TargetArch::try_from(ARCH).ok();
    let arch = arch.filter(|arch| HANDLED.contains(arch));
    let arch = arch.ok_or_else(|| format!("there is no filter for {ARCH}"))?;
    let refuse = if is_fatal {
        SeccompAction::KillProcess
    } else {
        handle_refused_calls().map_err(|error| error.to_string())?;
        SeccompAction::Trap
    };
    let Filters { programs, count } =
        Filters::new(features, &refuse, arch).map_err(|error| error.to_string())?;
    for program in &programs {
        let applied = match threads {
            Threads::All => apply_filter_all_threads(program),
            Threads::Calling => apply_filter(program),
        };
        applied.map_err(|error| match error {
            // Without the punctuation of the crate.
            SeccompError::Prctl(error) | SeccompError::Seccomp(error) => error.to_string(),
            error => error.to_string(),
        })?;
    }
    Ok(Calls { count })
}

/// Filters, in the order in which they are applied. The kernel takes the strictest verdict of all.
struct Filters {
    programs: Vec<BpfProgram>,
    /// The number of calls that are permitted.
    count: usize,
}

impl Filters {
    fn new(
        features: &[Feature],
        refuse: &SeccompAction,
        arch: TargetArch,
    ) -> Result<Self, BackendError> {
        let mut programs = Vec::new();
        for (call, error) in REFUSED_QUIETLY {
            let action = match refuse {
                SeccompAction::KillProcess if *error == libc::EPERM => SeccompAction::KillProcess,
                _ => SeccompAction::Errno(error.cast_unsigned()),
            };
            let rules = BTreeMap::from([(call.number, rules(call.rules)?)]);
            let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?;
            programs.push(filter.try_into()?);
        }
        let calls = features.iter().flat_map(Feature::calls).copied().flatten();
        let permitted = merge(calls)
            .into_iter()
            .map(|(number, merged)| Ok((number, rules(&merged)?)))
            .collect::<Result<BTreeMap<_, _>, BackendError>>()?;
        let count = permitted.len();
        // The last one, as it refuses further filters.
        let filter = SeccompFilter::new(permitted, refuse.clone(), SeccompAction::Allow, arch)?;
        programs.push(filter.try_into()?);
        Ok(Self { programs, count })
    }
}

/// Returns the rules of each call, which several parts may make: one of the rules of any part must hold.
fn merge(calls: impl Iterator<Item = &'static Call>) -> BTreeMap<libc::c_long, Vec<Rule>> {
    let mut merged = BTreeMap::<_, Vec<Rule>>::new();
    for call in calls {
        match merged.entry(call.number) {
            Entry::Vacant(entry) => drop(entry.insert(call.rules.to_vec())),
            // Without rules, the arguments don't matter.
            Entry::Occupied(mut entry) if call.rules.is_empty() => entry.get_mut().clear(),
            Entry::Occupied(entry) if entry.get().is_empty() => {}
            Entry::Occupied(mut entry) => {
                for rule in call.rules {
                    if !entry.get().contains(rule) {
                        entry.get_mut().push(rule);
                    }
                }
            }
        }
    }
    merged
}

fn rules(rules: &[Rule]) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |rule: &Rule| {
        let conditions = rule.iter().map(condition).collect::<Result<_, _>>()?;
        SeccompRule::new(conditions)
    };
    rules.iter().map(rule).collect()
}

fn condition(argument: &Argument) -> Result<SeccompCondition, BackendError> {
    let (index, mask, value) = match *argument {
        Argument::Masked(index, mask, value) => (index, mask, value),
        Argument::OwnProcess(index) => (index, u32::MAX, process::id()),
    };
    let operator = SeccompCmpOp::MaskedEq(mask.into());
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value.into())
}

/// The processors for which the result of a refused call can be set.
const HANDLED: [TargetArch; 2] = [TargetArch::x86_64, TargetArch::aarch64];

#[cfg(test)]
mod tests;
