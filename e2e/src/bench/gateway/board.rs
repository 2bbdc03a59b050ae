//! What the simulated agents meet, and when.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::seen::Moment;

/// How often it is looked whether all is there.
const LOOK: Duration = Duration::from_millis(50);

/// Where all agents write what they meet.
#[derive(Debug)]
pub(super) struct Board(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Since when each agent is connected, if it is.
    connected: Vec<Option<Moment>>,
    /// When the order of each Grant first came.
    orders: HashMap<String, Moment>,
    /// How many receipts are stored, and when the last of them was.
    stored: (usize, Moment),
    failed: BTreeMap<String, usize>,
}

impl Board {
    /// For so many agents.
    pub(super) fn new(agents: usize) -> Self {
        let stored = (0, Moment::now());
        let (orders, failed) = (HashMap::new(), BTreeMap::new());
        Self(Mutex::new(State { connected: vec![None; agents], orders, stored, failed }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent is connected.
    pub(super) fn connected(&self, agent: usize) {
        self.set(agent, Some(Moment::now()));
    }

    /// An agent is not connected, or no longer.
    pub(super) fn disconnected(&self, agent: usize, why: String) {
        self.set(agent, None);
        *self.lock().failed.entry(why).or_insert(0) += 1;
    }

    fn set(&self, agent: usize, since: Option<Moment>) {
        if let Some(place) = self.lock().connected.get_mut(agent) {
            *place = since;
        }
    }

    /// An order came.
    pub(super) fn order(&self, grant: &str) {
        let now = Moment::now();
        self.lock().orders.entry(grant.to_owned()).or_insert(now);
    }

    /// A receipt is stored.
    pub(super) fn stored(&self) {
        let now = Moment::now();
        let mut state = self.lock();
        state.stored = (state.stored.0 + 1, now);
    }

    /// Why tries and connections ended, and how often.
    pub(super) fn failed(&self) -> BTreeMap<String, usize> {
        self.lock().failed.clone()
    }

    /// What failed between two moments, in words, the most frequent first.
    pub(super) fn failed_words(
        before: &BTreeMap<String, usize>,
        after: &BTreeMap<String, usize>,
    ) -> String {
        let more = |(why, count): (&String, &usize)| {
            let more = count - before.get(why).copied().unwrap_or_default();
            (more > 0).then(|| (more, why.clone()))
        };
        let mut more: Vec<_> = after.iter().filter_map(more).collect();
        more.sort_by(|one, other| other.cmp(one));
        let words: Vec<_> = more.iter().map(|(count, why)| format!("{count} × {why}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }

    /// Waits until all agents are connected by a connection made after a moment; since when each is.
    pub(super) async fn all_connected(
        &self,
        since: Moment,
        patience: Duration,
    ) -> Result<Vec<Moment>> {
        let fresh = |state: &State| -> Vec<Moment> {
            let all = state.connected.iter().flatten();
            all.filter(|at| at.at >= since.at).copied().collect()
        };
        let needed = self.lock().connected.len();
        self.wait("agents to be connected", needed, patience, |state| fresh(state).len()).await?;
        Ok(fresh(&self.lock()))
    }

    /// Waits until so many orders came; when each did, by its Grant.
    pub(super) async fn all_orders(
        &self,
        count: usize,
        patience: Duration,
    ) -> Result<HashMap<String, Moment>> {
        self.wait("orders", count, patience, |state| state.orders.len()).await?;
        Ok(self.lock().orders.clone())
    }

    /// Waits until so many receipts are stored; when the last one was.
    pub(super) async fn all_stored(&self, count: usize, patience: Duration) -> Result<Moment> {
        self.wait("stored receipts", count, patience, |state| state.stored.0).await?;
        Ok(self.lock().stored.1)
    }

    async fn wait(
        &self,
        what: &str,
        needed: usize,
        patience: Duration,
        count: impl Fn(&State) -> usize,
    ) -> Result<()> {
        let (mut most, mut last) = (0, Instant::now());
        loop {
            let now = count(&self.lock());
            if now >= needed {
                return Ok(());
            }
            if now > most {
                (most, last) = (now, Instant::now());
            }
            if last.elapsed() > patience {
                let failed = Self::failed_words(&BTreeMap::new(), &self.failed());
                bail!("of {needed} {what} there are only {now}; tries that failed: {failed}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_connection_made_since_counts() {
        let board = Board::new(1);
        board.connected(0);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let since = Moment::now();
        assert!(board.all_connected(since, Duration::ZERO).await.is_err());
        board.disconnected(0, "gone".into());
        assert!(board.all_connected(since, Duration::ZERO).await.is_err());
        board.connected(0);
        assert_eq!(board.all_connected(since, Duration::ZERO).await.unwrap().len(), 1);
    }

    #[test]
    fn what_failed_since_is_told_by_its_number() {
        let counts = |of: &[(&str, usize)]| -> BTreeMap<String, usize> {
            of.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect()
        };
        let before = counts(&[("a", 1), ("b", 2)]);
        let after = counts(&[("a", 1), ("b", 4), ("c", 7)]);
        assert_eq!(Board::failed_words(&before, &after), "7 × c, 2 × b");
        assert_eq!(Board::failed_words(&after, &after), "none");
    }
}
