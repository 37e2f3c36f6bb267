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
