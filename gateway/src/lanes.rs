//! How much of what people on a host request is carried at once, and how soon there may be more: of each host, whichever of its
//! connections says it. Pure: the time is passed in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::limits::{Bucket, Rate};

/// How much a host may say at once, and how soon it may say more. What policies deny is stored for as long as what they allow,
/// so this bounds what a host that was taken over leaves in the cluster, too.
const RATE: Rate = Rate { burst: 20.0, each_second: 0.1 };
/// How much of a host is under way at once.
const AT_ONCE: usize = 4;
/// How often it is looked who has said nothing for long.
const TIDY: Duration = Duration::from_secs(10);

/// What of a host is under way, and what it may say yet.
#[derive(Debug)]
struct Lane {
    bucket: Bucket,
    places: Arc<Semaphore>,
}

/// The hosts of which something was carried not long ago, by the UIDs of their Endpoints.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    hosts: HashMap<String, Lane>,
    tidied: Option<Instant>,
}

impl Lanes {
    /// A place for something that a host says, until it is dropped; `None` if it says too much.
    pub(crate) fn take(
        &mut self,
        endpoint_uid: &str,
        now: Instant,
    ) -> Option<OwnedSemaphorePermit> {
        self.tidy(now);
        let new =
            || Lane { bucket: Bucket::full(RATE, now), places: Arc::new(Semaphore::new(AT_ONCE)) };
        let lane = self.hosts.entry(endpoint_uid.to_owned()).or_insert_with(new);
        let may_speak = lane.bucket.wait(RATE, now).is_zero();
        let place = lane.places.clone().try_acquire_owned().ok().filter(|_| may_speak)?;
        lane.bucket.take(RATE, now);
        Some(place)
    }

    /// Forgets who has nothing under way, and may say as much as anybody.
    fn tidy(&mut self, now: Instant) {
        if self.tidied.is_some_and(|at| now.saturating_duration_since(at) < TIDY) {
            return;
        }
        self.tidied = Some(now);
        self.hosts.retain(|_, lane| {
            !lane.bucket.is_full(RATE, now) || lane.places.available_permits() < AT_ONCE
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_says_no_more_than_it_may_and_takes_nothing_of_others() {
        let (mut lanes, start) = (Lanes::default(), Instant::now());
        let said = (0..100).take_while(|_| lanes.take("a", start).is_some()).count();
        assert_eq!(said, 20);
        assert!(lanes.take("a", start + Duration::from_secs(9)).is_none());
        assert!(lanes.take("a", start + Duration::from_secs(10)).is_some());
        assert!(lanes.take("a", start + Duration::from_secs(10)).is_none());
        assert!(lanes.take("b", start).is_some());
    }

    #[test]
    fn few_of_a_host_are_under_way_at_once() {
        let (mut lanes, start) = (Lanes::default(), Instant::now());
        let mut under_way: Vec<_> = (0..AT_ONCE).map(|_| lanes.take("a", start).unwrap()).collect();
        assert!(lanes.take("a", start).is_none());
        let of_another = lanes.take("b", start).unwrap();
        under_way.pop();
        assert!(lanes.take("a", start).is_some());
        // What was refused for want of a place counts for nothing.
        drop((under_way, of_another));
        let said = (0..100).take_while(|_| lanes.take("a", start).is_some()).count();
        assert_eq!(said, 20 - AT_ONCE - 1);
    }

    #[test]
    fn who_says_nothing_is_forgotten() {
        let (mut lanes, start) = (Lanes::default(), Instant::now());
        let under_way = lanes.take("a", start);
        drop(lanes.take("b", start));
        let later = start + Duration::from_mins(5);
        drop(lanes.take("c", later));
        assert_eq!(lanes.hosts.len(), 2, "what is under way is not over");
        drop(under_way);
        drop(lanes.take("c", later + TIDY));
        assert_eq!(lanes.hosts.keys().collect::<Vec<_>>(), ["c"]);
    }
}
