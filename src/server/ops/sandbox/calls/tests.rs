use super::super::features::{Access, PERMITTED, REFUSED, name_of};
use super::*;

fn features() -> Vec<Feature> {
    vec![
        Feature::Core,
        Feature::Sockets,
        Feature::Console,
        Feature::StateDir("/var/lib/bullhorn".into()),
        Feature::Admin {
            port: 9990,
            token_file: None,
        },
    ]
}

#[test]
fn filters_compile_for_each_processor() {
    for arch in HANDLED {
        for action in [SeccompAction::Trap, SeccompAction::KillProcess] {
            let filters = Filters::new(&features(), &action, arch).unwrap();
            assert_eq!(filters.programs.len(), REFUSED_QUIETLY.len() + 1);
            assert!(filters.count < 100, "{}", filters.count);
        }
    }
}

#[test]
fn a_call_that_two_parts_make_has_the_rules_of_both() {
    let features = features();
    let calls = || features.iter().flat_map(Feature::calls).copied().flatten();
    let merged = merge(calls());
    for call in calls() {
        let rules = &merged[&call.number];
        match call.rules {
            [] => assert!(rules.is_empty(), "{}", call.name),
            own => assert!(
                rules.is_empty() || own.iter().all(|rule| rules.contains(rule)),
                "{}",
                call.name
            ),
        }
    }
}

#[test]
fn every_call_has_a_name_and_none_that_attackers_need_is_permitted() {
    for call in PERMITTED.iter().copied().flatten() {
        let number = u32::try_from(call.number).unwrap();
        assert_eq!(name_of(number), call.name.strip_prefix("SYS_"));
        assert!(
            REFUSED.iter().all(|refused| refused.number != call.number),
            "{}",
            call.name
        );
    }
    assert_eq!(
        name_of(libc::SYS_execve.try_into().unwrap()),
        Some("execve")
    );
    assert_eq!(name_of(500), None);
}

#[test]
fn a_server_without_a_folder_opens_and_writes_no_file() {
    let features = [Feature::Core, Feature::Sockets, Feature::Console];
    let mut calls = features.iter().flat_map(Feature::calls).copied().flatten();
    assert!(calls.all(|call| call.number != libc::SYS_openat));
    let paths = features.iter().flat_map(Feature::paths);
    assert!({ paths }.all(|(_, access)| access == Access::Read));
}

/// The kernel knows the verdict of a call whose arguments don't matter without running the filter.
#[test]
fn calls_of_the_datagram_path_have_no_rules() {
    for number in [
        libc::SYS_recvmmsg,
        libc::SYS_sendmmsg,
        libc::SYS_epoll_pwait,
        libc::SYS_futex,
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_sched_yield,
    ] {
        let mut calls = PERMITTED.iter().copied().flatten();
        let call = calls.find(|call| call.number == number).unwrap();
        assert!(call.rules.is_empty(), "{}", call.name);
        assert!(
            { REFUSED_QUIETLY }
                .iter()
                .all(|(call, _)| call.number != number)
        );
    }
}
