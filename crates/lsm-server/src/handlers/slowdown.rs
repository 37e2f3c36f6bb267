//! `Server-Timing` of writes: what background work that is behind costs a client.
//!
//! ```text
//! Server-Timing: store;dur=12.4;desc="write pressure 0.73"
//! ```
//!
//! It is sent while writes are slowed down, and at no other time. The duration is that from the head
//! of the request until the store had the write.

use std::time::Instant;

use hyper::header::{HeaderName, HeaderValue};
use lsm_engine::Db;

use crate::answer::Answer;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Up to this pressure the engine holds no write back.
const FREE_PRESSURE: f64 = 0.5;

/// What a write met before it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowdown {
    pressure_before: f64,
}

impl Slowdown {
    /// Looks at the pressure before a write.
    pub(super) fn begin(db: &Db) -> Slowdown {
        Slowdown { pressure_before: db.write_pressure() }
    }

    /// Tells in the answer to a request that came then how long it took, if there was pressure
    /// before the write or is behind it.
    pub(super) fn tell(self, answer: &mut Answer, db: &Db, came: Instant) {
        let pressure = self.pressure_before.max(db.write_pressure());
        if FREE_PRESSURE < pressure {
            let millis = came.elapsed().as_secs_f64() * 1e3;
            answer.headers_mut().insert(SERVER_TIMING, header(millis, pressure));
        }
    }
}

fn header(millis: f64, pressure: f64) -> HeaderValue {
    let text = format!("store;dur={millis:.1};desc=\"write pressure {pressure:.2}\"");
    HeaderValue::try_from(text).expect("digits and words are a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_time_and_pressure() {
        let expected = "store;dur=12.4;desc=\"write pressure 0.73\"";
        assert_eq!(header(12.44, 0.731), expected);
        assert_eq!(header(0.0, 1.0), "store;dur=0.0;desc=\"write pressure 1.00\"");
    }
}
