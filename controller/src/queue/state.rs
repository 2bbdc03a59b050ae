//! What waits, what runs, and whose turn it is.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::lane::{Lane, Pool};
use crate::moment::Moment;

/// How many ends that have failed are looked at by the workers of ends at once: half of the places. The others are for those
/// that have not, so that what hangs in one namespace, and is tried again and again, keeps none of them.
///
/// Only ends count, those in these places: what is given has places of its own, and however much of it fails or hangs, it
/// keeps no end from one. An end that has failed waits while eight others like it have a place, and each of these gives it
/// back after a second at the latest, and after 25 ms where many hang (`work::PLACE_FOR`).
const MOST_FAILING: usize = 8;

/// An object that is reconciled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// A request.
    Request {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Who asks: the requests of one person are decided one after the other.
        requester: String,
    },
    /// A Grant, by its name.
    Grant(String),
    /// A policy, by its name.
    Policy(String),
    /// An Endpoint, by its name.
    Endpoint(String),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { namespace, name, .. } => write!(f, "{namespace}/{name}"),
            Self::Grant(name) | Self::Policy(name) | Self::Endpoint(name) => f.write_str(name),
        }
    }
}

/// What only one may do at a time.
///
/// Limits count what a person asks for and holds. Of two requests that were decided at the same time,
/// neither would see what the other is given. For the same reason the requests of all people are given
/// one after the other under policies that are kept apart: whoever approves one may hold another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    /// Deciding the requests of a person.
    Person(String),
    /// Giving what is kept apart.
    KeptApart,
}

/// One reconciliation.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) item: Item,
    pub(crate) lane: Lane,
    /// Whether it has the turn that all share who are given something that is kept apart.
    pub(crate) has_common_turn: bool,
}

impl Job {
    /// Whose turn it takes.
    pub(crate) fn requester(&self) -> &str {
        match &self.item {
            Item::Request { requester, .. } => requester,
            Item::Grant(_) | Item::Policy(_) | Item::Endpoint(_) => "",
        }
    }

    fn turns(&self) -> impl Iterator<Item = Turn> {
        let person = match &self.item {
            Item::Request { requester, .. } => Some(Turn::Person(requester.clone())),
            Item::Grant(_) | Item::Policy(_) | Item::Endpoint(_) => None,
        };
        person.into_iter().chain(self.has_common_turn.then_some(Turn::KeptApart))
    }
}

/// An object that is being reconciled.
#[derive(Clone, Copy)]
struct Running {
    /// Whether it is an end that has failed, in a place of ends.
    is_failing: bool,
    /// In which lane it is to be looked at again.
    again: Option<Lane>,
}

/// How often in a row an object could not be brought to where it must be: as an end, as what may end, and as anything else. A
/// right that could not be given, or not be looked at, is no end that failed.
#[derive(Clone, Copy, Default)]
struct Failures {
    ends: u32,
    looks: u32,
    others: u32,
}

impl Failures {
    fn of(&mut self, pool: Pool) -> &mut u32 {
        match pool {
            Pool::End => &mut self.ends,
            Pool::Held | Pool::Again => &mut self.looks,
            Pool::Give | Pool::Follow => &mut self.others,
        }
    }
}

/// When an object is to be looked at, and in which lane.
struct Later {
    at: Moment,
    number: u64,
    lane: Lane,
}

#[derive(Default)]
pub(super) struct State {
    lanes: HashMap<u8, VecDeque<Item>>,
    /// In which lane an object waits; what stands in another is history.
    waiting: HashMap<Item, Lane>,
    in_common_turn: HashSet<Item>,
    running: HashMap<Item, Running>,
    /// How many of these are ends that have failed, in a place of ends.
    failing: usize,
    /// Ends that have failed, and wait for one of their places, the first first. All of them are older than what waits in the
    /// lane, and none of them is passed again for each that has not failed.
    held_back: VecDeque<Item>,
    /// What is being reconciled and has given its place back, as it waits for an answer.
    without_place: HashSet<Item>,
    taken: HashSet<Turn>,
    /// What waits for a turn, the most urgent first.
    parked: HashMap<Turn, BTreeMap<Lane, VecDeque<Item>>>,
    later: HashMap<Item, Later>,
    /// The same by each of the clocks, the first first.
    by_wall: BTreeMap<(DateTime<Utc>, u64), Item>,
    by_wait: BTreeMap<(Instant, u64), Item>,
    counter: u64,
    failures: HashMap<Item, Failures>,
}

impl State {
    #[cfg(test)]
    pub(super) fn waiting(&self) -> Vec<(Item, Lane)> {
        self.waiting.iter().map(|(item, lane)| (item.clone(), *lane)).collect()
    }

    pub(super) fn push(&mut self, item: Item, lane: Lane) {
        if let Some(Running { again, .. }) = self.running.get_mut(&item) {
            *again = Some(again.map_or(lane, |known| known.min(lane)));
            return;
        }
        let better = self.waiting.get(&item).is_none_or(|known| lane < *known);
        if better {
            self.waiting.insert(item.clone(), lane);
            self.lanes.entry(lane as u8).or_default().push_back(item);
        }
    }

    pub(super) fn push_in_common_turn(&mut self, item: Item, lane: Lane) {
        self.in_common_turn.insert(item.clone());
        self.waiting.insert(item.clone(), lane);
        self.lanes.entry(lane as u8).or_default().push_front(item);
    }

    /// Notes that an object is to be looked at then; an earlier time stands, and the more urgent lane.
    pub(super) fn postpone(&mut self, item: Item, lane: Lane, at: Moment) {
        let known = self.forget_time(&item);
        let at = known.as_ref().map_or(at, |known| known.at.earliest(at));
        let lane = known.map_or(lane, |known| known.lane.min(lane));
        self.counter += 1;
        let number = self.counter;
        self.by_wall.insert((at.wall, number), item.clone());
        self.by_wait.insert((at.monotonic, number), item.clone());
        self.later.insert(item, Later { at, number, lane });
    }

    fn forget_time(&mut self, item: &Item) -> Option<Later> {
        let later = self.later.remove(item)?;
        self.by_wall.remove(&(later.at.wall, later.number));
        self.by_wait.remove(&(later.at.monotonic, later.number));
        Some(later)
    }

    /// What is due by either clock, and how long it is until something is due next.
    pub(super) fn take_due(&mut self, now: Moment) -> (Vec<(Item, Lane)>, Option<Duration>) {
        let mut due = Vec::new();
        while let Some(item) = self.first_due(now) {
            let Some(later) = self.forget_time(&item) else { break };
            due.push((item, later.lane));
        }
        let by_wall = self.by_wall.first_key_value();
        let by_wall = by_wall.map(|((at, _), _)| (*at - now.wall).to_std().unwrap_or_default());
        let by_wait = self.by_wait.first_key_value();
        let by_wait = by_wait.map(|((at, _), _)| at.saturating_duration_since(now.monotonic));
        (due, by_wall.into_iter().chain(by_wait).min())
    }

    fn first_due(&self, now: Moment) -> Option<Item> {
        let by_wall = self.by_wall.first_key_value().filter(|((at, _), _)| *at <= now.wall);
        let by_wait = self.by_wait.first_key_value().filter(|((at, _), _)| *at <= now.monotonic);
        let by_wall = by_wall.map(|(_, item)| item);
        by_wall.or_else(|| by_wait.map(|(_, item)| item)).cloned()
    }

    /// The next job of a pool whose turns are free. Ends that have failed get no more than [`MOST_FAILING`] of the places.
    pub(super) fn take(&mut self, pool: Pool) -> Option<Job> {
        let is_crowded = pool == Pool::End && self.failing >= MOST_FAILING;
        if pool == Pool::End && !is_crowded {
            while let Some(item) = self.held_back.pop_front() {
                if self.waiting.get(&item) == Some(&Lane::End)
                    && let Some(job) = self.begin(item, Lane::End)
                {
                    return Some(job);
                }
            }
        }
        for lane in pool.lanes() {
            while let Some(item) = self.lanes.get_mut(&(lane as u8)).and_then(VecDeque::pop_front) {
                if self.waiting.get(&item) != Some(&lane) {
                    continue;
                }
                if is_crowded && self.has_failed_to_end(&item) {
                    self.held_back.push_back(item);
                    continue;
                }
                if let Some(job) = self.begin(item, lane) {
                    return Some(job);
                }
            }
        }
        None
    }

    fn has_failed_to_end(&self, item: &Item) -> bool {
        self.failures.get(item).is_some_and(|failures| failures.ends > 0)
    }

    /// Begins with an object. One whose turn is taken is parked until it is not.
    fn begin(&mut self, item: Item, lane: Lane) -> Option<Job> {
        let has_common_turn = self.in_common_turn.contains(&item);
        let job = Job { item, lane, has_common_turn };
        let taken = job.turns().find(|turn| self.taken.contains(turn));
        if let Some(taken) = taken {
            let of_turn = self.parked.entry(taken).or_default();
            of_turn.entry(lane).or_default().push_back(job.item);
            return None;
        }
        self.waiting.remove(&job.item);
        self.in_common_turn.remove(&job.item);
        // What it finds out says when to look again.
        self.forget_time(&job.item);
        self.taken.extend(job.turns());
        let is_failing = lane.pool() == Pool::End && self.has_failed_to_end(&job.item);
        self.failing += usize::from(is_failing);
        self.running.insert(job.item.clone(), Running { is_failing, again: None });
        Some(job)
    }

    /// A job that takes long leaves its place to others. Returns the pools in which something may go on.
    pub(super) fn gives_place_back(&mut self, job: &Job) -> Vec<Pool> {
        self.without_place.insert(job.item.clone());
        if let Some(running) = self.running.get_mut(&job.item) {
            self.failing -= usize::from(std::mem::take(&mut running.is_failing));
        }
        vec![job.lane.pool()]
    }

    /// Whether a job is an end that has failed before, in one of their places.
    pub(super) fn is_failing(&self, job: &Job) -> bool {
        self.running.get(&job.item).is_some_and(|running| running.is_failing)
    }

    /// How many have given their place back.
    pub(super) fn without_place(&self) -> usize {
        self.without_place.len()
    }

    /// A job is over. Returns the pools in which something may go on.
    pub(super) fn done(&mut self, job: &Job) -> Vec<Pool> {
        self.failures.remove(&job.item);
        self.release(job)
    }

    /// A job has failed. Returns how often in a row that has, for what it was looked at, and the pools in which something may
    /// go on.
    pub(super) fn failed(&mut self, job: &Job) -> (u32, Vec<Pool>) {
        let count = self.failures.entry(job.item.clone()).or_default().of(job.lane.pool());
        *count = count.saturating_add(1);
        let count = *count;
        (count, self.release(job))
    }

    /// The most urgent of those that wait for a turn. What is queued elsewhere by now is history.
    fn unpark(&mut self, turn: &Turn) -> Option<(Item, Lane)> {
        let of_turn = self.parked.get_mut(turn)?;
        while let Some(mut first) = of_turn.first_entry() {
            let lane = *first.key();
            let item = first.get_mut().pop_front();
            if first.get().is_empty() {
                first.remove();
            }
            if let Some(item) = item
                && self.waiting.get(&item) == Some(&lane)
            {
                return Some((item, lane));
            }
        }
        self.parked.remove(turn);
        None
    }

    fn release(&mut self, job: &Job) -> Vec<Pool> {
        let running = self.running.remove(&job.item);
        self.failing -= usize::from(running.is_some_and(|running| running.is_failing));
        let again = running.and_then(|running| running.again);
        self.without_place.remove(&job.item);
        let mut pools = Vec::new();
        for turn in job.turns() {
            self.taken.remove(&turn);
            // The next that waited for it comes first in its lane; the others wait for that one.
            if let Some((item, lane)) = self.unpark(&turn) {
                self.lanes.entry(lane as u8).or_default().push_front(item);
                pools.push(lane.pool());
            }
        }
        if let Some(lane) = again {
            self.push(job.item.clone(), lane);
            pools.push(lane.pool());
        }
        pools
    }
}

#[cfg(test)]
mod tests;
