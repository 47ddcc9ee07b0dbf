//! Limits by rate and by number: token buckets for messages, and open connections of each address.

use bellwire_signaling::UserId;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A message costs 1, and 1 more for each of these many bytes. A call's set-up is some 30 messages at once.
const BYTES_A_COST: usize = 8 * 1024;
pub const SOCKET: Rate = Rate { burst: 200.0, a_second: 40.0 };
pub const USER: Rate = Rate { burst: 400.0, a_second: 80.0 };
/// Full buckets are forgotten when there are more than this.
const BUCKETS_KEPT: usize = 1_024;
/// Addresses with a bucket of their own, and how often the full ones are looked for when there are as many.
const ADDRESSES_KEPT: usize = 65_536;
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub burst: f64,
    pub a_second: f64,
}

/// A token bucket. It is told the time.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub fn full(rate: Rate, now: Instant) -> Self {
        Self { left: rate.burst, at: now }
    }

    /// Takes `cost`, or says how long to wait for it.
    pub fn take(&mut self, rate: Rate, cost: f64, now: Instant) -> Result<(), Duration> {
        self.refill(rate, now);
        if self.left >= cost {
            self.left -= cost;
            return Ok(());
        }
        Err(Duration::from_secs_f64((cost - self.left) / rate.a_second))
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate.a_second;
        self.left = (self.left + gained).min(rate.burst);
        self.at = now;
    }
}

pub fn cost_of(bytes: usize) -> f64 {
    1.0 + (bytes / BYTES_A_COST) as f64
}

/// One bucket for each user, whatever sockets they have or had.
#[derive(Default)]
pub struct UserRates(Mutex<HashMap<UserId, Bucket>>);

impl UserRates {
    pub fn take(&self, user: &UserId, cost: f64, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(user) {
            return bucket.take(USER, cost, now);
        }
        if buckets.len() >= BUCKETS_KEPT && buckets.len() == buckets.capacity() {
            buckets.retain(|_, bucket| {
                bucket.refill(USER, now);
                bucket.left < USER.burst
            });
        }
        buckets.entry(user.clone()).or_insert_with(|| Bucket::full(USER, now)).take(USER, cost, now)
    }
}

/// How many connections each address has open.
#[derive(Default)]
pub struct Addresses(Mutex<HashMap<IpAddr, u32>>);

/// One counted connection; it counts until this is dropped.
pub struct Place {
    of: Arc<Addresses>,
    address: Option<IpAddr>,
}

impl Addresses {
    /// A place for a connection from there; none if `most` are open already.
    pub fn enter(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Place> {
        let address = network(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { of: self.clone(), address: Some(address) })
    }

    /// A place that is not counted.
    pub fn uncounted(self: &Arc<Self>) -> Place {
        Place { of: self.clone(), address: None }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

/// One bucket for each address (one /64 for IPv6) and one for all of them, for packets whose senders prove nothing: their
/// addresses may be forged, so what is kept is bounded.
pub struct AddressRates {
    each: Rate,
    all: Rate,
    kept: Mutex<KeptRates>,
}

struct KeptRates {
    all: Bucket,
    each: HashMap<IpAddr, Bucket>,
    /// When the full ones were last forgotten.
    swept: Instant,
}

impl AddressRates {
    pub fn new(each: Rate, all: Rate) -> Self {
        let now = Instant::now();
        Self {
            each,
            all,
            kept: Mutex::new(KeptRates { all: Bucket::full(all, now), each: HashMap::new(), swept: now }),
        }
    }

    /// Whether one more from there is within both rates.
    pub fn take(&self, address: IpAddr, now: Instant) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if kept.each.len() >= ADDRESSES_KEPT && now.saturating_duration_since(kept.swept) > SWEEP {
            kept.swept = now;
            kept.each.retain(|_, bucket| {
                bucket.refill(self.each, now);
                bucket.left < self.each.burst
            });
        }
        let is_kept = kept.each.len() < ADDRESSES_KEPT || kept.each.contains_key(&address);
        // One for whom there is no bucket is within the rate of all alone.
        let own = !is_kept || {
            let bucket = kept.each.entry(address).or_insert_with(|| Bucket::full(self.each, now));
            bucket.take(self.each, 1.0, now).is_ok()
        };
        own && kept.all.take(self.all, 1.0, now).is_ok()
    }
}

/// Whoever has an IPv6 address has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_refills_with_time_and_says_how_long_to_wait() {
        let start = Instant::now();
        let rate = Rate { burst: 2.0, a_second: 10.0 };
        let mut bucket = Bucket::full(rate, start);
        assert!(bucket.take(rate, 1.0, start).is_ok() && bucket.take(rate, 1.0, start).is_ok());
        assert_eq!(bucket.take(rate, 1.0, start), Err(Duration::from_millis(100)));
        assert!(bucket.take(rate, 1.0, start + Duration::from_millis(100)).is_ok());
        let later = start + Duration::from_secs(60);
        assert!(bucket.take(rate, 2.0, later).is_ok() && bucket.take(rate, 1.0, later).is_err());
    }

    #[test]
    fn forged_addresses_neither_grow_the_table_nor_pass_the_rate_of_all() {
        let start = Instant::now();
        let rates = AddressRates::new(Rate { burst: 2.0, a_second: 1.0 }, Rate { burst: 70_000.0, a_second: 1.0 });
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        assert!(rates.take(address(1), start) && rates.take(address(1), start) && !rates.take(address(1), start));
        let taken = (2..200_000).filter(|n| rates.take(address(*n), start)).count();
        assert_eq!(taken, 70_000 - 2);
        assert_eq!(rates.kept.lock().expect("the table").each.len(), ADDRESSES_KEPT);
        let later = start + Duration::from_secs(60);
        assert!(rates.take(address(300_000), later));
        assert_eq!(rates.kept.lock().expect("the table").each.len(), 1);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_their_places() {
        let addresses = Arc::new(Addresses::default());
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        let first = addresses.enter(parse("2001:db8::1"), 1);
        assert!(first.is_some() && addresses.enter(parse("2001:db8::ffff"), 1).is_none());
        assert!(addresses.enter(parse("2001:db8:0:1::1"), 1).is_some());
        let mapped = addresses.enter(parse("::ffff:192.0.2.1"), 1);
        assert!(mapped.is_some() && addresses.enter(parse("192.0.2.1"), 1).is_none());
        drop(first);
        assert!(addresses.enter(parse("2001:db8::2"), 1).is_some());
    }
}
