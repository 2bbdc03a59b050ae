//! How long to wait before the gateway is tried again.

use std::time::Duration;

/// The pause after a connection that ended, at first.
const SHORTEST: Duration = Duration::from_secs(1);
/// And at the most.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a connection must have lasted for the next pause to be the first again.
const LASTED: Duration = Duration::from_mins(1);
/// The same of a host on which access is in force, or that has something to say of it: it comes before others.
const AWAITED: Duration = Duration::from_secs(10);

/// The pauses between tries.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: SHORTEST }
    }
}

impl Backoff {
    /// The pause after a connection, or a try, that took so long: twice as long as the one before, unless that was a
    /// connection that lasted.
    #[must_use]
    pub fn after(&mut self, lasted: Duration, is_awaited: bool) -> Duration {
        if lasted > LASTED {
            self.next = SHORTEST;
        }
        let pause = self.next;
        self.next = LONGEST.min(pause * 2);
        if is_awaited { pause.min(AWAITED) } else { pause }
    }
}

/// Between half of a pause and all of it, so that a thousand hosts do not come back at once. Less than half would have whoever
/// is lucky try often and then wait for long: in a model of ten thousand that took twice as long until the last was back.
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    spread(pause, getrandom::u32().unwrap_or(u32::MAX))
}

fn spread(pause: Duration, random: u32) -> Duration {
    pause.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::{BinaryHeap, VecDeque};

    use super::*;

    #[test]
    fn pauses_grow_and_begin_anew_after_a_connection_that_lasted() {
        let (mut backoff, moment) = (Backoff::default(), Duration::from_secs(1));
        let mut seconds = |is_awaited| backoff.after(moment, is_awaited).as_secs();
        assert_eq!([(); 8].map(|()| seconds(false)), [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(seconds(true), 10, "somebody waits for it");
        assert_eq!(backoff.after(Duration::from_secs(61), false), SHORTEST);
        assert_eq!(backoff.after(moment, true), SHORTEST * 2);
    }

    #[test]
    fn a_pause_is_spread_over_its_second_half() {
        assert_eq!(spread(LONGEST, 0), LONGEST / 2);
        assert_eq!(spread(LONGEST, u32::MAX), LONGEST);
    }

    /// As `gateway/src/listen.rs` has it: how many may wait, and for how long.
    const LINE: (usize, u64) = (4096, 5_000);

    /// When the last of so many agents is back that have lost their gateway at once, which is away for some time and then lets
    /// in one after the other: milliseconds.
    fn back(agents: u32, away: u64, each: u64) -> u64 {
        let mut number = 1_u32;
        let mut chance = || {
            // Numbers that look like chance (xorshift).
            number ^= number << 13;
            number ^= number >> 17;
            number ^= number << 5;
            number
        };
        let mut pause = |backoff: &mut Backoff| {
            let pause = spread(backoff.after(Duration::ZERO, false), chance());
            u64::try_from(pause.as_millis()).unwrap()
        };
        let mut backoffs = vec![Backoff::default(); agents as usize];
        let mut tries: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        for (agent, backoff) in backoffs.iter_mut().enumerate() {
            tries.push(Reverse((pause(backoff), agent)));
        }
        let (mut line, mut free, mut last) = (VecDeque::new(), away, 0);
        loop {
            let next = tries.peek().map(|Reverse((at, _))| *at);
            // What is done before anybody else comes.
            if let Some((came, agent)) = line.front().copied()
                && next.is_none_or(|next| free.max(came) <= next)
            {
                line.pop_front();
                if free.max(came) - came > LINE.1 {
                    // It has given up, which costs nothing.
                    let again = came + LINE.1 + pause(&mut backoffs[agent]);
                    tries.push(Reverse((again, agent)));
                } else {
                    free = free.max(came) + each;
                    last = free;
                }
                continue;
            }
            let Some(Reverse((at, agent))) = tries.pop() else { return last };
            if at >= away && line.len() < LINE.0 {
                line.push_back((at, agent));
            } else {
                tries.push(Reverse((at + pause(&mut backoffs[agent]), agent)));
            }
        }
    }

    /// All are back after the time that this takes, and one pause more at the most.
    #[test]
    fn ten_thousand_come_back_as_fast_as_they_are_let_in() {
        for (agents, away, each) in [(1_000, 3_000, 3), (10_000, 3_000, 3), (10_000, 20_000, 5)] {
            let took = back(agents, away, each);
            let at_best = away + u64::from(agents) * each;
            let pause = u64::try_from(LONGEST.as_millis()).unwrap();
            assert!((at_best..at_best + pause).contains(&took), "{agents}: {took} ms of {at_best}");
        }
    }
}
