use super::*;

const A: &str = "10.0.0.1:1";
const A6: &str = "[2001:db8::1]:1";
const B: &str = "10.0.0.2:1";
const C: &str = "10.0.0.3:1";
const D: &str = "10.0.0.4:1";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn route(servers: &[&[&str]]) -> Route {
    let addresses = |server: &&[&str]| server.iter().map(|text| address(text)).collect();
    let servers: Vec<Vec<_>> = servers.iter().map(addresses).collect();
    Route::new(&servers)
}

fn next(route: &Route, choice: Choice) -> Vec<String> {
    let next = route.next(choice).into_iter();
    next.map(|index| route.way(index).address.to_string())
        .collect()
}

fn name(route: &mut Route, named: &[&str]) {
    let named: Vec<_> = named.iter().map(|text| address(text)).collect();
    route.set_named(&named);
}

#[test]
fn the_ways_are_tried_in_turn_and_then_the_first_again() {
    let mut route = route(&[&[A6, A], &[B], &[A, C]]);
    assert_eq!(route.len(), 4, "an address counts once");
    assert_eq!(next(&route, Choice::Any), [A, B, C, A6]);
    route.answered();
    assert_eq!(next(&route, Choice::Any), [A6, A, B, C]);
    assert_eq!(next(&route, Choice::SameServer), [A6, A]);
    assert_eq!(next(&route, Choice::OtherServerFirst), [B, C, A6, A]);
    route.take(2, false);
    assert_eq!(route.current().address, address(B));
    assert_eq!(next(&route, Choice::Any), [C, A6, A, B]);
    assert_eq!(next(&route, Choice::SameServer), [B]);
}

#[test]
fn the_ways_that_were_not_tried_are_those_behind_the_first() {
    let mut route = route(&[&[A], &[B], &[C]]);
    assert!(route.has_untried());
    assert_eq!(route.take_untried(), 1..3);
    assert!(!route.has_untried());
    route.take(1, true);
    assert_eq!(route.take_untried(), 2..3);
    route.take(2, true);
    assert!(!route.has_untried());
    route.take(0, false);
    assert!(!route.has_untried(), "later, nothing is new");
    route.take(0, true);
    route.answered();
    assert!(!route.has_untried());
}

#[test]
fn named_servers_follow_the_given_ones_until_others_are_named() {
    let mut route = route(&[&[A]]);
    assert!(!route.has_other_servers());
    name(&mut route, &[B, A, C, B]);
    assert!(route.has_other_servers());
    route.answered();
    assert_eq!(next(&route, Choice::Any), [A, B, C]);
    name(&mut route, &[C, D]);
    assert_eq!(next(&route, Choice::Any), [A, C, D]);
    // The one in use stays, although it does not name itself.
    route.take(2, false);
    name(&mut route, &[A, B]);
    assert_eq!(route.current().address, address(D));
    assert_eq!(next(&route, Choice::Any), [B, A, D]);
    name(&mut route, &[]);
    assert_eq!(next(&route, Choice::Any), [A, D]);
    assert!(route.has_other_servers());
}

#[test]
fn addresses_of_one_server_are_no_other_servers() {
    let route = route(&[&[A6, A]]);
    assert!(!route.has_other_servers());
}

#[test]
fn a_server_cannot_name_what_is_no_server_of_another_host() {
    let mut route = route(&[&[A]]);
    let useless = [
        "0.0.0.0:1",
        "[::]:1",
        "10.0.0.2:0",
        "224.0.0.1:1",
        "255.255.255.255:1",
        "[ff02::1]:1",
        "[fe80::1%3]:1",
        "127.0.0.1:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ];
    name(&mut route, &useless);
    assert_eq!(route.len(), 1);
    let mut local = super::tests::route(&[&["127.0.0.1:1"]]);
    name(&mut local, &["127.0.0.1:2", "[::1]:2", B]);
    assert_eq!(local.len(), 4);
}
