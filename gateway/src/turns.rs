//! In which order something is done for whoever comes: for so many at once, and the others wait for their turn, for a while.
//!
//! When ten thousand hosts come back together, who is begun with is done with: were all served a little, all would give up
//! before anybody is through, and come again. So with C done a second, N of them are through N / C seconds after they could
//! come, and a pause of an agent at the most.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapse_cluster::process::network;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Who waits. Sources take turns, and those of one source are served as they came.
#[derive(Debug)]
struct Line<T> {
    most: usize,
    waiting: usize,
    sources: HashMap<IpAddr, VecDeque<T>>,
    order: VecDeque<IpAddr>,
}

impl<T> Line<T> {
    fn new(most: usize) -> Self {
        Self { most, waiting: 0, sources: HashMap::new(), order: VecDeque::new() }
    }

    /// Somebody comes; returns who has no place, if there are not enough: who comes, or the last of the source of which most
    /// wait, if these are more.
    fn join(&mut self, source: IpAddr, who: T) -> Option<T> {
        let mut leaves = None;
        if self.waiting >= self.most {
            let own = self.sources.get(&source).map_or(0, VecDeque::len);
            let longest = self.sources.values_mut().max_by_key(|waiting| waiting.len());
            let Some(longest) = longest.filter(|longest| longest.len() > own + 1) else {
                return Some(who);
            };
            // It had two at the least, so its source stays.
            leaves = longest.pop_back();
            self.waiting -= 1;
        }
        let waiting = self.sources.entry(source).or_default();
        if waiting.is_empty() {
            self.order.push_back(source);
        }
        waiting.push_back(who);
        self.waiting += 1;
        leaves
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<T> {
        let source = self.order.pop_front()?;
        let waiting = self.sources.get_mut(&source)?;
        let who = waiting.pop_front();
        if waiting.is_empty() {
            self.sources.remove(&source);
        } else {
            self.order.push_back(source);
        }
        self.waiting -= 1;
        who
    }
}

#[derive(Debug)]
struct State {
    free: usize,
    line: Line<oneshot::Sender<()>>,
}

/// So many turns at once, and who waits for one.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<State>);

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

/// Somebody who waits.
struct Waiting<'a> {
    turns: &'a Turns,
    called: oneshot::Receiver<()>,
}

impl Turns {
    /// So many at once, for which so many may wait.
    pub(crate) fn new((at_once, waiting): (usize, usize)) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: at_once, line: Line::new(waiting) })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn, when it comes; `None` if too many wait, or it does not come for so long.
    pub(crate) async fn take(self: &Arc<Self>, of: IpAddr, longest: Duration) -> Option<Turn> {
        let (calls, called) = oneshot::channel();
        {
            let mut state = self.state();
            // While somebody waits, none is free.
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn(self.clone()));
            }
            // Who leaves hears that it is never called.
            drop(state.line.join(network(of), calls));
        }
        let mut waiting = Waiting { turns: self, called };
        let is_called = timeout(longest, &mut waiting.called).await;
        is_called.is_ok_and(|is_called| is_called.is_ok()).then(|| Turn(self.clone()))
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.state().line.waiting
    }

    fn pass_on(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.line.next();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            // Who has given up is passed over.
            if next.is_none_or(|next| next.send(()).is_ok()) {
                return;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.called.close();
        // It was called, and went before it heard so.
        if self.called.try_recv().is_ok() {
            self.turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn sources_take_turns_and_each_is_served_as_it_came() {
        let mut line = Line::new(9);
        for (source, who) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            assert_eq!(line.join(ip(source), who), None);
        }
        let served: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(served, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(line.sources.is_empty() && line.order.is_empty() && line.waiting == 0);
    }

    #[test]
    fn when_the_line_is_full_who_has_most_in_it_gives_way() {
        let mut line = Line::new(3);
        for who in ["a1", "a2", "a3"] {
            assert_eq!(line.join(ip(1), who), None);
        }
        assert_eq!(line.join(ip(1), "a4"), Some("a4"), "it takes nothing from its own");
        assert_eq!(line.join(ip(2), "b1"), Some("a3"));
        assert_eq!(line.join(ip(2), "b2"), Some("b2"), "that would be no fairer");
        assert_eq!(line.join(ip(3), "c1"), Some("a2"));
        assert_eq!(line.waiting, 3);
        let served: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(served, ["a1", "b1", "c1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_passed_on_in_order_and_none_is_lost() {
        let turns = Turns::new((1, 8));
        let first = turns.take(ip(1), LONG).await.unwrap();
        let (second, gone, third) =
            (turns.take(ip(1), LONG), turns.take(ip(1), LONG), turns.take(ip(1), LONG));
        let (mut second, mut gone, mut third) = (pin!(second), Box::pin(gone), pin!(third));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "it is the second's turn");
        let second = second.await.unwrap();
        // It is called, and goes before it hears so.
        drop(second);
        drop(gone);
        let third = third.await.unwrap();
        assert_eq!(turns.state().free, 0);
        drop(third);
        assert_eq!(turns.state().free, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_they_may_or_in_a_line_that_is_full() {
        let turns = Turns::new((1, 1));
        let first = turns.take(ip(1), LONG).await.unwrap();
        let waits = turns.take(ip(1), LONG);
        let mut waits = pin!(waits);
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(turns.take(ip(1), LONG).await.is_none(), "the line is full");
        assert!(waits.await.is_none(), "it has waited for long enough");
        // Its place in the line is passed over.
        drop(first);
        assert_eq!(turns.state().free, 1);
        assert!(turns.take(ip(1), LONG).await.is_some());
    }
}
