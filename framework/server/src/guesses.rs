//! The wrong tokens of each address. Counting one takes the same time however many addresses send them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many wrong tokens an address may send in a minute.
pub(crate) const MAX_WRONG: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// The addresses that are counted one by one. All others share one count.
const MAX_ADDRESSES: usize = 4096;

/// The wrong tokens of the last minute, by address.
#[derive(Default)]
pub(crate) struct Guesses(Mutex<GuessTable>);

#[derive(Default)]
struct GuessTable {
    addresses: HashMap<IpAddr, Count>,
    others: Option<Count>,
    swept: Option<Instant>,
}

/// The wrong tokens of the minute that began with the first one.
#[derive(Clone, Copy)]
struct Count {
    since: Instant,
    number: usize,
}

impl Count {
    const fn new(since: Instant) -> Self {
        Self { since, number: 0 }
    }

    fn is_over(self, now: Instant) -> bool {
        now.duration_since(self.since) >= MINUTE
    }

    /// Returns the number of a wrong token, at most one more than [`MAX_WRONG`].
    fn next(&mut self, now: Instant) -> usize {
        if self.is_over(now) {
            *self = Self::new(now);
        }
        self.number = (self.number + 1).min(MAX_WRONG + 1);
        self.number
    }
}

impl Guesses {
    /// Returns the number of a wrong token among those of its address within a minute. A number above [`MAX_WRONG`]
    /// means that many or more.
    pub(crate) fn count(&self, client: IpAddr, now: Instant) -> usize {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.count(network(client), now)
    }
}

impl GuessTable {
    fn count(&mut self, client: IpAddr, now: Instant) -> usize {
        if !self.addresses.contains_key(&client) && self.addresses.len() >= MAX_ADDRESSES {
            // At most once a second, so that a full table costs no more than one with room.
            let is_due = |at: Instant| now.duration_since(at) >= Duration::from_secs(1);
            if self.swept.is_none_or(is_due) {
                self.addresses.retain(|_, count| !count.is_over(now));
                self.swept = Some(now);
            }
            if self.addresses.len() >= MAX_ADDRESSES {
                return self.others.get_or_insert(Count::new(now)).next(now);
            }
        }
        let count = self.addresses.entry(client).or_insert(Count::new(now));
        count.next(now)
    }
}

/// The address, or the network of an IPv6 address: one client has a whole network of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn each_address_has_ten_in_a_minute() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let count = |client, second| guesses.count(client, start + Duration::from_secs(second));
        let counted: Vec<usize> = (0..13).map(|second| count(address(1), second)).collect();
        assert_eq!(counted, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 11]);
        assert_eq!(count(address(2), 13), 1);
        assert_eq!(count(address(1), 59), 11);
        assert_eq!(count(address(1), 60), 1);
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for (text, number) in [
            ("2001:db8::1", 1),
            ("2001:db8::2", 2),
            ("2001:db8:0:1::1", 1),
            ("::ffff:192.0.2.1", 1),
            ("192.0.2.1", 2),
            ("192.0.2.2", 1),
        ] {
            let client = text.parse().unwrap();
            assert_eq!(guesses.count(client, now), number, "{text}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_recovers() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let held = || guesses.0.lock().unwrap().addresses.len();
        for number in 0..100_000 {
            guesses.count(address(number), start);
        }
        assert_eq!(held(), MAX_ADDRESSES);
        // An address in the table has a count of its own; the others share one, which is full.
        assert_eq!(guesses.count(address(7), start), 2);
        assert_eq!(guesses.count(address(200_000), start), MAX_WRONG + 1);
        let later = start + MINUTE;
        assert_eq!(guesses.count(address(200_000), later), 1);
        assert_eq!(held(), 1);
    }
}
