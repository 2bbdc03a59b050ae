//! Lets connections in, of whoever comes: so many of all, and so many of one source. Who comes when its source has its part
//! takes the place of its longest, unless that has just come: those whose business takes a moment, as a probe's does, are
//! let finish it. Who comes when all places are taken takes that of the longest of the source that has most. So what
//! is held open keeps nobody out.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Who is there.
#[derive(Debug)]
pub struct Door {
    most: usize,
    of_one: usize,
    moment: Duration,
    inside: VecDeque<Inside>,
}

#[derive(Debug)]
struct Inside {
    source: IpAddr,
    since: Instant,
    task: AbortHandle,
    visitor: Visitor,
}

/// A connection that was let in.
#[derive(Clone, Debug, Default)]
pub struct Visitor(Arc<AtomicU8>);

/// It is waited for what the other side says next; it waits for us; and who it is was found out.
const HOLDS: u8 = 0;
const WAITS: u8 = 1;
const KNOWN: u8 = 2;

impl Visitor {
    /// Who it is was found out: it counts no more here, and nobody takes its place.
    pub fn is_known(&self) {
        self.0.store(KNOWN, Ordering::Relaxed);
    }

    /// Whether it waits for us now, and holds nothing open. For as long it does not count, and nobody takes its place: how many
    /// may wait is said by whom they wait for.
    pub fn waits_for_us(&self, waits: bool) {
        self.0.store(if waits { WAITS } else { HOLDS }, Ordering::Relaxed);
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Relaxed) == state
    }
}

impl Door {
    /// Nobody is there. At the most there are so many of all, and so many of one source; who has come is left alone for a
    /// moment by others of its source.
    #[must_use]
    pub fn new((most, of_one): (usize, usize), moment: Duration) -> Self {
        Self { most, of_one, moment, inside: VecDeque::new() }
    }

    /// Serves a connection in a task of its own, or, if its source has too many that have just come, not at all; whether it
    /// does.
    pub fn let_in<F>(&mut self, source: IpAddr, serve: impl FnOnce(Visitor) -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let source = network(source);
        self.inside.retain(|one| !one.task.is_finished() && !one.visitor.is(KNOWN));
        let holds = |one: &Inside| one.visitor.is(HOLDS);
        let of_source = |one: &Inside| one.source == source && holds(one);
        let leaves = if self.inside.iter().filter(|one| of_source(one)).count() >= self.of_one {
            let longest = self.inside.iter().position(of_source);
            if longest.is_some_and(|index| self.inside[index].since.elapsed() < self.moment) {
                return false;
            }
            longest
        } else if self.inside.iter().filter(|one| holds(one)).count() >= self.most {
            self.longest_of_most()
        } else {
            None
        };
        if let Some(longest) = leaves.and_then(|index| self.inside.remove(index)) {
            longest.task.abort();
        }
        let visitor = Visitor::default();
        let task = tokio::spawn(serve(visitor.clone())).abort_handle();
        self.inside.push_back(Inside { source, since: Instant::now(), task, visitor });
        true
    }

    /// The longest of the source that has most places.
    fn longest_of_most(&self) -> Option<usize> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for one in self.inside.iter().filter(|one| one.visitor.is(HOLDS)) {
            *counts.entry(one.source).or_default() += 1;
        }
        let most = counts.values().max().copied()?;
        let is_of_most = |one: &Inside| counts.get(&one.source) == Some(&most);
        self.inside.iter().position(|one| one.visitor.is(HOLDS) && is_of_most(one))
    }
}

/// What counts as one source: of IPv6, a network of 64 bits, as whoever has one address there has them all.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::{Notify, mpsc};

    use super::*;

    const A_MOMENT: Duration = Duration::from_secs(1);

    /// Tells when a connection is gone, and whose it was.
    struct Tells(&'static str, mpsc::UnboundedSender<&'static str>);

    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.1.send(self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_places_keeps_nobody_out() {
        let (sender, mut gone) = mpsc::unbounded_channel();
        let mut door = Door::new((3, 2), A_MOMENT);
        let come = |door: &mut Door, source: [u8; 4], name: &'static str, known: bool| {
            let tells = Tells(name, sender.clone());
            door.let_in(source.into(), move |visitor| async move {
                let _tells = tells;
                if known {
                    visitor.is_known();
                }
                pending::<()>().await;
            });
        };
        let [one, two, three] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]];
        come(&mut door, two, "two", false);
        come(&mut door, one, "first", false);
        come(&mut door, one, "second", false);
        // Who has just come is let finish…
        come(&mut door, one, "too many", false);
        assert_eq!(gone.recv().await, Some("too many"));
        tokio::time::advance(A_MOMENT).await;
        // …and later one source takes no places but its own…
        come(&mut door, one, "third", false);
        assert_eq!(gone.recv().await, Some("first"));
        // …and many keep nobody out, nor him who is alone.
        come(&mut door, three, "three", false);
        assert_eq!(gone.recv().await, Some("second"));
        // Who is known stays, and takes no place.
        let mut door = Door::new((1, 1), A_MOMENT);
        come(&mut door, one, "known", true);
        tokio::task::yield_now().await;
        come(&mut door, one, "unknown", false);
        come(&mut door, two, "another", false);
        assert_eq!(gone.recv().await, Some("unknown"));
        assert!(gone.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_us_holds_nothing_until_we_wait_again() {
        let (sender, mut gone) = mpsc::unbounded_channel();
        let served = Arc::new(Notify::new());
        let mut door = Door::new((1, 1), A_MOMENT);
        let (tells, is_served) = (Tells("waits", sender.clone()), served.clone());
        door.let_in([10, 0, 0, 1].into(), move |visitor| async move {
            let _tells = tells;
            visitor.waits_for_us(true);
            is_served.notified().await;
            visitor.waits_for_us(false);
            pending::<()>().await;
        });
        tokio::task::yield_now().await;
        let come = |door: &mut Door, source: [u8; 4]| {
            let tells = Tells("came", sender.clone());
            door.let_in(source.into(), move |_| async move {
                let _tells = tells;
                pending::<()>().await;
            })
        };
        assert!(come(&mut door, [10, 0, 0, 1]), "there is a place beside it");
        tokio::task::yield_now().await;
        assert!(gone.try_recv().is_err(), "nobody takes its place");
        served.notify_one();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        assert!(come(&mut door, [10, 0, 0, 2]));
        assert_eq!(gone.recv().await, Some("waits"), "now it is the longest that is waited for");
    }

    #[test]
    fn an_address_beside_is_the_same_source() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
