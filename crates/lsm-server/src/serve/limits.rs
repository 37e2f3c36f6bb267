//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::guard::network;
use crate::http_metrics::Rejection;

/// The places for connections.
#[derive(Debug)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    most: u32,
    most_per_ip: u32,
    /// How many places each address has; addresses that have none are not in it.
    taken: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// A place that is taken, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _of_address: Option<OfAddress>,
}

#[derive(Debug)]
struct OfAddress {
    address: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Connections {
    /// So many places, and so many of them for one address.
    pub(super) fn new(most: u32, most_per_ip: u32) -> Connections {
        let places = Arc::new(Semaphore::new(most as usize));
        Connections { places, most, most_per_ip, taken: Arc::default() }
    }

    /// Takes a place. Addresses of this machine have no share of their own: a proxy before the
    /// server, and every local client, come from the same one.
    pub(super) fn take(&self, address: IpAddr) -> Result<Place, Rejection> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Rejection::Connections)?;
        if address.to_canonical().is_loopback() {
            return Ok(Place { _place: place, _of_address: None });
        }
        let address = network(address);
        let mut taken = self.taken.lock().expect("no holder of this lock panics");
        let count = taken.entry(address).or_default();
        if *count == self.most_per_ip {
            return Err(Rejection::ConnectionsPerIp);
        }
        *count += 1;
        let of_address = OfAddress { address, taken: self.taken.clone() };
        Ok(Place { _place: place, _of_address: Some(of_address) })
    }

    /// Waits until no place is taken.
    pub(super) async fn idle(&self) {
        let all = self.places.acquire_many(self.most).await;
        drop(all.expect("the semaphore is never closed"));
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().expect("no holder of this lock panics");
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there are places for connections from these addresses, which stay.
    fn rejected(connections: &Connections, addresses: &[&str]) -> (Vec<Place>, Vec<Rejection>) {
        let mut rejected = Vec::new();
        let take = |address: &&str| connections.take(address.parse().unwrap());
        let places = addresses
            .iter()
            .map(take)
            .filter_map(|taken| taken.map_err(|why| rejected.push(why)).ok());
        (places.collect(), rejected)
    }

    #[test]
    fn s13_an_address_has_a_share_of_the_places_and_this_machine_has_none_of_its_own() {
        let connections = Connections::new(7, 2);
        let (mut held, why) = rejected(&connections, &["192.0.2.1"; 3]);
        assert_eq!((held.len(), &why[..]), (2, &[Rejection::ConnectionsPerIp][..]));
        // Who has a whole network of addresses has one share.
        let (other, why) = rejected(&connections, &["2001:db8::1", "2001:db8::2", "2001:db8::3"]);
        assert_eq!((other.len(), &why[..]), (2, &[Rejection::ConnectionsPerIp][..]));
        let (local, why) = rejected(&connections, &["127.0.0.1", "::1", "::ffff:127.0.0.1", "::1"]);
        assert_eq!((local.len(), &why[..]), (3, &[Rejection::Connections][..]));
        // A place that is given back can be taken again.
        held.pop();
        assert_eq!(rejected(&connections, &["192.0.2.1"]).1, []);
        drop((held, other, local));
        assert!(connections.taken.lock().unwrap().is_empty());
    }
}
