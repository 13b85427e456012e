//! Newcomers that the operator bans, removes or turns away after they were judged.

use super::core::Core;
use super::*;
use crate::server::ingress::bans::Ban;
use crate::server::ops::stats::{DropReason, WorkerId};
use crate::server::registry::{Newcomer, Registry, Touch};
use crate::wire::Protocol;
use crate::wire::v2::{BundleSize, Move, SessionId};

fn core() -> Core {
    Core::new(LIMITS, Proof::Never, &Log::new().0)
}

/// Registers a v1 newcomer that was judged before.
fn register(core: &Core, peer: usize) -> Touch {
    let newcomer = Newcomer {
        address: address(peer),
        protocol: Protocol::Text,
        session: None,
        options: None,
        owner: WorkerId(0),
        is_trusted: true,
    };
    core.ingress().register(&newcomer, None, 0)
}

fn ban(core: &Core) {
    let ban = Ban::new("127.0.0.0/8".parse().unwrap(), None);
    core.bans.add(ban).unwrap();
}

#[test]
fn a_newcomer_that_was_judged_before_its_ban_does_not_stay() {
    let core = core();
    assert!(matches!(register(&core, 0), Touch::Registered(_)));
    ban(&core);
    let touch = register(&core, 2);
    assert!(matches!(touch, Touch::Refused(DropReason::Banned)));
    assert!(core.registry.get(&address(2)).is_none());
    // Those before it are the task of the ban itself.
    assert_eq!(core.registry.len(), 1);
}

#[test]
fn a_newcomer_that_was_judged_before_it_was_removed_does_not_stay() {
    let core = core();
    register(&core, 0);
    assert!(core.registry.kick(&address(0), 0).is_some());
    let touch = register(&core, 0);
    assert!(matches!(touch, Touch::Refused(DropReason::Removed)));
    assert!(core.registry.is_empty());
}

#[test]
fn a_session_that_is_banned_while_it_moves_does_not_stay() {
    let core = core();
    let session = |number| SessionId::new(number).unwrap();
    let open = |peer: usize| {
        let session = session(peer as u64 + 1);
        let open = Registry::open_session;
        open(
            &core.registry,
            &address(peer),
            WorkerId(0),
            BundleSize::Full,
            session,
            0,
        )
    };
    // The second has an IPv6 address, which is not banned.
    let (Touch::Registered(peer), Touch::Registered(_)) = (open(0), open(14)) else {
        panic!("the registry is empty");
    };
    ban(&core);
    core.registry.remove(&address(0));
    let former = Move {
        session: session(15),
        address: address(14).socket_addr(),
    };
    core.ingress()
        .take_over(address(0), session(1), peer, &former, 0);
    assert!(core.registry.is_empty());
}

#[test]
fn a_newcomer_that_is_registered_after_the_peers_were_told_of_the_end_does_not_stay() {
    let core = core();
    register(&core, 0);
    core.registry.drain().begin();
    assert_eq!(core.registry.all_recipients().len(), 1);
    let touch = register(&core, 2);
    assert!(matches!(touch, Touch::Refused(DropReason::Draining)));
    // It had read the state before, and was registered after all were told.
    let newcomer = Newcomer {
        address: address(4),
        protocol: Protocol::Text,
        session: None,
        options: None,
        owner: WorkerId(0),
        is_trusted: true,
    };
    let touch = core.registry.register(&newcomer, 0);
    let touch = core.ingress().judge_again(&newcomer, touch, 0);
    assert!(matches!(touch, Touch::Refused(DropReason::Draining)));
    assert_eq!(core.registry.len(), 1);
}
