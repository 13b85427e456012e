use super::*;

fn local(text: &str) -> LocalAddr {
    LocalAddr::of(text.parse().unwrap())
}

fn peer(text: &str) -> PeerAddr {
    PeerAddr::new(text.parse().unwrap(), 0)
}

#[test]
fn all_caches_agree_on_the_place_of_an_address() {
    let table = Arc::new(LocalTable::default());
    let [mut one, mut other] = [(); 2].map(|()| LocalCache::new(Arc::clone(&table)));
    let first = one.index(local("127.0.0.2:0")).unwrap();
    let second = other.index(local("127.0.0.3:0")).unwrap();
    assert_ne!(first, second);
    for cache in [&mut one, &mut other] {
        assert_eq!(cache.index(local("127.0.0.2:0")), Some(first));
        assert_eq!(cache.index(local("127.0.0.3:0")), Some(second));
        assert_eq!(cache.address(first), Some(local("127.0.0.2:0")));
        assert_eq!(cache.address(second), Some(local("127.0.0.3:0")));
        assert_eq!(cache.address(LocalIndex::of(3).unwrap()), None);
    }
}

#[test]
fn an_address_that_cannot_be_sent_from_has_no_place() {
    let mut cache = LocalCache::new(Arc::default());
    // For documentation, and on no interface.
    let foreign = local("192.0.2.1:0");
    assert_eq!((cache.index(foreign), cache.index(foreign)), (None, None));
    assert!(cache.table().contains(&foreign));
    // Another error than that says nothing about the address. This zone has no interface.
    assert!(cache.index(local("[fe80::1%4000000]:0")).is_some());
}

#[test]
fn what_cannot_leave_from_its_address_any_more_leaves_from_another_one() {
    let mut cache = LocalCache::new(Arc::default());
    let index = cache.index(local("127.0.0.2:0")).unwrap();
    cache.refused(index);
    assert_eq!(cache.source(index), Some(local("127.0.0.2:0")));
    let mut table = cache.table().lock();
    table.addresses[0] = local("192.0.2.1:0");
    drop(table);
    cache.addresses.clear();
    // It is not looked for again at once, but when packets are refused later.
    cache.refused(index);
    assert_eq!(cache.source(index), Some(local("192.0.2.1:0")));
    let end_interval = |cache: &mut LocalCache| {
        cache.checks.get_mut(&index).unwrap().next = Instant::now();
    };
    end_interval(&mut cache);
    assert_eq!(cache.source(index), Some(local("192.0.2.1:0")));
    cache.refused(index);
    assert_eq!(cache.source(index), None);
    cache.addresses[0] = local("127.0.0.2:0");
    assert_eq!(cache.source(index), None);
    end_interval(&mut cache);
    assert_eq!(
        cache.source(index),
        Some(local("127.0.0.2:0")),
        "it is back"
    );
}

#[test]
fn a_full_table_takes_no_more_and_keeps_what_it_has() {
    let mut cache = LocalCache::new(Arc::default());
    let loopback = |number: u32| LocalAddr::at(Ipv4Addr::from(0x7F01_0000 + number).into(), 0);
    for number in 0..MAX_LOCALS as u32 {
        let index = cache.index(loopback(number));
        assert_eq!(index, LocalIndex::of(number as usize + 1));
    }
    for _ in 0..2 {
        assert_eq!(cache.index(loopback(MAX_LOCALS as u32)), None);
    }
    assert_eq!(cache.index(loopback(0)), LocalIndex::of(1));
    assert_eq!(cache.indexes.len(), MAX_LOCALS);
}

#[test]
fn own_addresses_compare_what_the_kernel_compares() {
    let bound = ["[::]:9999", "127.0.0.1:9998", "[2001:db8::1%4]:9997"];
    let interfaces = ["10.0.0.1:0", "[fe80::1%2]:0", "[2001:db8::7]:0"];
    let parse = |text: &str| text.parse().unwrap();
    let table = Arc::new(LocalTable::default());
    let own = OwnAddresses::new(
        &bound.map(parse),
        &interfaces.map(parse),
        Arc::clone(&table),
    );
    for (address, is_own) in [
        ("[fe80::1%2]:9999", true),
        ("[fe80::1%3]:9999", false),
        ("[2001:db8::7]:9999", true),
        ("[2001:db8::7]:9998", false),
        ("[2001:db8::1]:9997", true),
        ("127.0.0.1:9998", true),
        ("127.0.0.1:9999", false),
        ("10.0.0.1:9999", false),
        ("10.0.0.1:9998", false),
    ] {
        assert_eq!(own.contains(&peer(address)), is_own, "{address}");
    }
    assert!(own.contains_as_seen_elsewhere(parse("[fe80::1%77]:9999")));
    assert!(!own.contains_as_seen_elsewhere(parse("[fe80::2%2]:9999")));
    // An address that an interface got after the start.
    assert!(!own.contains(&peer("[::1]:9999")));
    LocalCache::new(table).index(local("[::1]:0"));
    assert!(own.contains(&peer("[::1]:9999")) && !own.contains(&peer("[::1]:9998")));
    assert!(own.contains_as_seen_elsewhere(parse("[::1]:9999")));
    assert!(!own.contains_as_seen_elsewhere(parse("[::1]:9997")));
}

#[test]
fn two_thousand_own_addresses_are_found_as_one_is() {
    let ip = |number: u32| Ipv4Addr::from(0x0A00_0000 + number);
    let interfaces: Vec<SocketAddr> = (0..2000).map(|number| (ip(number), 0).into()).collect();
    let own = OwnAddresses::new(
        &["0.0.0.0:9999".parse().unwrap()],
        &interfaces,
        Arc::default(),
    );
    let at = |number| PeerAddr::new((ip(number), 9999).into(), 3);
    assert!((0..2000).all(|number| own.contains(&at(number))));
    assert!(!own.contains(&at(2000)));
}
