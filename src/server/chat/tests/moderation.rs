//! Newcomers that the operator bans or removes while they are admitted.

use super::core::Core;
use super::*;
use crate::server::ingress::bans::Ban;
use crate::server::ops::stats::{DropReason, WorkerId};
use crate::server::registry::{Newcomer, Touch};
use crate::wire::Protocol;

fn newcomer(peer: usize) -> Newcomer {
    Newcomer {
        address: address(peer),
        protocol: Protocol::Text,
        session: None,
        options: None,
        owner: WorkerId(0),
        is_trusted: true,
    }
}

/// Registers a newcomer that has been judged, and judges it again after `act`.
fn outcome(core: &Core, peer: usize, act: impl FnOnce()) -> Touch {
    let newcomer = newcomer(peer);
    let touch = core.registry.register(&newcomer, 0);
    assert!(matches!(touch, Touch::Registered(_)));
    act();
    core.ingress().judge_again(&newcomer, touch, 0)
}

#[test]
fn a_newcomer_that_registers_during_its_ban_is_removed() {
    let core = Core::new(LIMITS, Proof::Never, &Log::new().0);
    let touch = outcome(&core, 0, || {});
    assert!(matches!(touch, Touch::Registered(_)));
    let ban = Ban::new("127.0.0.0/8".parse().unwrap(), None);
    let touch = outcome(&core, 2, || core.bans.add(ban).unwrap());
    assert!(matches!(touch, Touch::Refused(DropReason::Banned)));
    assert!(core.registry.get(&address(2)).is_none());
    // Those before it are the task of the ban itself.
    assert_eq!(core.registry.len(), 1);
}

#[test]
fn a_newcomer_that_registers_while_it_is_removed_is_removed_again() {
    let core = Core::new(LIMITS, Proof::Never, &Log::new().0);
    let touch = outcome(&core, 0, || {
        assert!(core.registry.kick(&address(0), 0).is_some());
        core.registry.register(&newcomer(0), 0);
    });
    assert!(matches!(touch, Touch::Refused(DropReason::Removed)));
    assert!(core.registry.is_empty());
}
