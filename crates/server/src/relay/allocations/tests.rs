use super::*;
use stun_types::message::ShortTermCredentials;

const RELAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const LIMITS: Limits = Limits { per_handle: 3, bandwidth: Some(Rate { burst: 1_000.0, a_second: 1_000.0 }) };

fn way(n: u64) -> Way {
    Way::Stream(n)
}

fn at(port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(RELAY, port))
}

fn opening(handle: &str) -> Opening<'_> {
    let key = ShortTermCredentials::new("key".to_owned()).make_key();
    Opening { username: handle, handle, key, transaction: 1.into(), lifetime_s: None }
}

fn open(table: &mut Allocations, n: u64, now: Instant) -> u16 {
    let handle = format!("handle{n}");
    table.open(way(n), &opening(&handle), now).expect("an allocation").port
}

#[test]
fn allocations_hear_each_other_once_both_asked() {
    let now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    let (a, b) = (open(&mut table, 1, now), open(&mut table, 2, now));
    let send = |table: &mut Allocations, from, port| table.send(way(from), at(port).expect("an address"), 10, now);
    assert_eq!(send(&mut table, 1, b).expect_err("no permission"), Lost::Unheard);
    table.permit(way(1), &[at(b)], now).expect("a permission");
    assert_eq!(send(&mut table, 1, b).expect_err("the other has not asked"), Lost::Unheard);
    table.permit(way(2), &[at(a)], now).expect("a permission");
    let delivery = send(&mut table, 1, b).expect("delivered");
    assert_eq!((delivery.to, delivery.from_port, delivery.channel), (way(2), a, None));
    table.bind(way(2), 0x4001, at(a), now).expect("a channel");
    assert_eq!(send(&mut table, 1, b).expect("delivered").channel, Some(0x4001));
    assert_eq!(table.channel(way(2), 0x4001, 10, now).expect("delivered").to, way(1));
    assert_eq!(table.channel(way(1), 0x4001, 10, now).expect_err("no channel"), Lost::Unheard);
}

#[test]
fn third_party_with_an_allocation_reaches_nobody() {
    let now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    let (a, b) = (open(&mut table, 1, now), open(&mut table, 2, now));
    open(&mut table, 3, now);
    table.permit(way(1), &[at(b)], now).expect("a permission");
    table.permit(way(2), &[at(a)], now).expect("a permission");
    table.permit(way(3), &[at(a), at(b)], now).expect("a permission");
    for port in [a, b] {
        assert_eq!(table.send(way(3), at(port).expect("an address"), 10, now).expect_err("unheard"), Lost::Unheard);
    }
}

#[test]
fn permission_of_an_address_holds_for_its_other_ports_as_libraries_expect() {
    let now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    let (a, b, c) = (open(&mut table, 1, now), open(&mut table, 2, now), open(&mut table, 3, now));
    table.permit(way(1), &[at(b)], now).expect("a permission");
    table.permit(way(3), &[at(a)], now).expect("a permission");
    assert!(table.send(way(1), at(c).expect("an address"), 10, now).is_ok());
    let later = now + PERMISSION;
    assert!(table.send(way(1), at(c).expect("an address"), 10, later).is_err(), "it ends");
    table.permit(way(1), &[at(0)], later).expect("renewed");
    table.permit(way(3), &[at(0)], later).expect("renewed");
    assert!(table.send(way(1), at(c).expect("an address"), 10, later).is_ok());
}

#[test]
fn peers_elsewhere_are_refused() {
    let now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    let (a, b) = (open(&mut table, 1, now), open(&mut table, 2, now));
    for (peer, refusal) in [
        (format!("127.0.0.1:{b}"), Refusal::Forbidden),
        (format!("192.0.2.2:{b}"), Refusal::Forbidden),
        (format!("192.0.2.1:{a}"), Refusal::Forbidden),
        ("192.0.2.1:22".into(), Refusal::Forbidden),
        (format!("[::ffff:192.0.2.1]:{b}"), Refusal::Family),
    ] {
        let peer: SocketAddr = peer.parse().expect("an address");
        assert_eq!(table.permit(way(1), &[at(b), Some(peer)], now), Err(refusal), "{peer}");
        assert_eq!(table.bind(way(1), 0x4000, Some(peer), now), Err(refusal), "{peer}");
        assert!(table.send(way(1), peer, 1, now).is_err(), "{peer}");
    }
    assert!(table.send(way(1), at(b).expect("an address"), 1, now).is_err(), "half a permission is none");
    assert_eq!(table.permit(way(1), &[None], now), Err(Refusal::Bad));
    assert_eq!(table.permit(way(1), &[], now), Err(Refusal::Bad));
    assert_eq!(table.permit(way(9), &[at(b)], now), Err(Refusal::Mismatch));
}

#[test]
fn quota_is_of_the_handle_and_comes_back() {
    let now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    for n in 0..3 {
        table.open(way(n), &opening("ana"), now).expect("within the quota");
    }
    assert_eq!(table.open(way(3), &opening("ana"), now), Err(Refusal::Quota));
    table.open(way(3), &opening("ben"), now).expect("another's quota");
    table.close(way(0));
    table.open(way(4), &opening("ana"), now).expect("one came back");
    table.sweep(now + LIFETIME);
    assert_eq!((table.len(), table.by_port.len(), table.by_handle.len()), (0, 0, 0));
}

#[test]
fn what_a_changed_network_left_behind_makes_place_for_the_next() {
    let mut now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    for n in 0..3 {
        table.open(way(n), &opening("ana"), now).expect("within the quota");
        now += Duration::from_secs(1);
    }
    table.open(way(10), &opening("ben"), now).expect("another's");
    now += SILENT;
    table.refresh(way(0), None, now).expect("this one is in use");
    table.open(way(3), &opening("ana"), now).expect("the place of the one that was silent longest");
    assert!(table.owner(way(0)).is_some() && table.owner(way(1)).is_none() && table.owner(way(2)).is_some());
    table.open(way(4), &opening("ana"), now).expect("the next one's place");
    assert_eq!(table.open(way(5), &opening("ana"), now), Err(Refusal::Quota), "all are in use");
    assert!(table.owner(way(10)).is_some(), "nobody else's");
}

#[test]
fn repeat_of_the_request_gets_the_same_answer_and_another_is_refused() {
    let now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    let first = table.open(way(1), &opening("ana"), now).expect("an allocation");
    assert_eq!(table.open(way(1), &opening("ana"), now), Ok(first));
    let other = Opening { transaction: 2.into(), ..opening("ana") };
    assert_eq!(table.open(way(1), &other, now), Err(Refusal::Mismatch));
    assert!(table.open(way(1), &other, now + LIFETIME).is_ok(), "after its end");
}

#[test]
fn lifetimes_are_bounded_however_often_they_are_renewed() {
    let mut now = Instant::now();
    let (start, mut table) = (now, Allocations::new(RELAY, LIMITS));
    let asks = Opening { lifetime_s: Some(u32::MAX), ..opening("ana") };
    assert_eq!(table.open(way(1), &asks, now).expect("an allocation").lifetime_s, 3_600);
    while table.refresh(way(1), None, now).is_ok() {
        now += Duration::from_secs(300);
    }
    assert_eq!(table.refresh(way(1), None, now), Err(Refusal::Forbidden));
    assert!(now <= start + AGE_MOST && now > start + AGE_MOST - Duration::from_secs(1_000));
    assert_eq!(table.refresh(way(1), Some(0), now), Ok(0));
    assert_eq!(table.refresh(way(1), Some(0), now), Err(Refusal::Mismatch));
}

#[test]
fn bandwidth_is_of_each_allocation() {
    let now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    let (a, b) = (open(&mut table, 1, now), open(&mut table, 2, now));
    table.bind(way(1), 0x4000, at(b), now).expect("a channel");
    table.bind(way(2), 0x4000, at(a), now).expect("a channel");
    let passed = (0..20).filter(|_| table.channel(way(1), 0x4000, 100, now).is_ok()).count();
    assert_eq!(passed, 10);
    assert_eq!(table.channel(way(1), 0x4000, 100, now).expect_err("used up"), Lost::Bandwidth);
    assert!(table.channel(way(2), 0x4000, 100, now).is_ok());
    assert!(table.channel(way(1), 0x4000, 100, now + Duration::from_millis(100)).is_ok());
}

#[test]
fn channels_are_few_and_each_stands_for_one_peer() {
    let now = Instant::now();
    let mut table = Allocations::new(RELAY, LIMITS);
    open(&mut table, 1, now);
    let ports: Vec<u16> = (2..40).map(|n| open(&mut table, n, now)).collect();
    table.bind(way(1), 0x4000, at(ports[0]), now).expect("a channel");
    table.bind(way(1), 0x4000, at(ports[0]), now).expect("the same again");
    assert_eq!(table.bind(way(1), 0x4000, at(ports[1]), now), Err(Refusal::Bad));
    assert_eq!(table.bind(way(1), 0x4001, at(ports[0]), now), Err(Refusal::Bad));
    assert_eq!(table.bind(way(1), 0x5000, at(ports[1]), now), Err(Refusal::Bad));
    let bound = ports.iter().zip(0x4000..).filter(|(port, n)| table.bind(way(1), *n, at(**port), now).is_ok());
    assert_eq!(bound.count(), CHANNELS_MOST);
}
