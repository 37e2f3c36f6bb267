//! How often an address failed to show a token, lately.
//!
//! After ten failures in a second, further ones of that address are told so for the rest of it;
//! whoever shows the token is not asked about. The table is small and forgets whole seconds, so that
//! it needs no cleaning.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Failures of one second after which those of an address are blocked for the rest of it.
const MOST_FAILURES: u32 = 10;
/// More addresses than this do not fail in one second by accident: all are blocked then.
const MOST_ADDRESSES: usize = 4096;

/// The failures of the current second.
#[derive(Debug)]
pub(super) struct Failures {
    start: Instant,
    /// The second of the newest failure, plus one; zero before any.
    newest: AtomicU64,
    current: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    number: u64,
    counts: HashMap<IpAddr, u32>,
}

impl Default for Failures {
    fn default() -> Failures {
        let newest = AtomicU64::new(0);
        Failures { start: Instant::now(), newest, current: Mutex::default() }
    }
}

impl Failures {
    /// Whether this address has failed too often in the current second.
    pub(super) fn is_blocked(&self, address: IpAddr) -> bool {
        let now = self.second();
        // Relaxed: whoever misses a failure of this moment checks the token, which is no harm.
        if self.newest.load(Ordering::Relaxed) != now {
            return false;
        }
        let current = self.current.lock().expect("no holder of this lock panics");
        current.number == now
            && (MOST_ADDRESSES <= current.counts.len()
                || current
                    .counts
                    .get(&network(address))
                    .is_some_and(|&count| MOST_FAILURES <= count))
    }

    /// Counts a failure.
    pub(super) fn note(&self, address: IpAddr) {
        let now = self.second();
        let mut current = self.current.lock().expect("no holder of this lock panics");
        if current.number != now {
            current.number = now;
            current.counts.clear();
        }
        if current.counts.len() < MOST_ADDRESSES {
            *current.counts.entry(network(address)).or_default() += 1;
        }
        self.newest.store(now, Ordering::Relaxed);
    }

    fn second(&self) -> u64 {
        self.start.elapsed().as_secs() + 1
    }
}

/// What counts as one peer: an IPv4 address, or the 64-bit network of an IPv6 address, because one
/// host has all addresses of such a network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(network.into())
        }
        address => address,
    }
}
