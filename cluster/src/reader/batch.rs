//! Reads that many ask for at once. Whoever asks gets an answer to a question that was put after they asked, so it is
//! as of now; those who come while one is under way share the next.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use lapse_engine::Read;

type Answer<T> = Shared<BoxFuture<'static, Read<T>>>;

/// The reads of one kind that are under way, by name. A copy shares them.
#[derive(Clone)]
pub(super) struct Batched<T>(Arc<Mutex<HashMap<String, Turns<T>>>>);

struct Turns<T> {
    running: Answer<T>,
    /// What is asked when that has its answer.
    next: Option<Next<T>>,
}

struct Next<T> {
    answer: Answer<T>,
    /// Whether it is being asked.
    has_begun: Arc<AtomicBool>,
}

/// How long a read keeps the next from being made: one that hangs must not hold up everybody.
const PATIENCE: Duration = Duration::from_secs(1);

impl<T> Default for Batched<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Batched<T> {
    fn turns(&self) -> MutexGuard<'_, HashMap<String, Turns<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what has this name. The future that `read` returns does nothing before it is polled.
    pub(super) async fn get(
        &self,
        name: &str,
        read: impl FnOnce() -> BoxFuture<'static, Read<T>>,
    ) -> Read<T> {
        let answer = self.ask(name, read);
        let answer = answer.await;
        let mut turns = self.turns();
        let is_done = |answer: &Answer<T>| answer.peek().is_some();
        let is_idle = |turns: &Turns<T>| {
            is_done(&turns.running) && turns.next.as_ref().is_none_or(|next| is_done(&next.answer))
        };
        if turns.get(name).is_some_and(is_idle) {
            turns.remove(name);
        }
        answer
    }

    fn ask(&self, name: &str, read: impl FnOnce() -> BoxFuture<'static, Read<T>>) -> Answer<T> {
        let mut all = self.turns();
        let Some(turns) = all.get_mut(name) else {
            let running = read().shared();
            all.insert(name.to_owned(), Turns { running: running.clone(), next: None });
            return running;
        };
        let has_begun = |next: &Next<T>| next.has_begun.load(Ordering::Acquire);
        if turns.running.peek().is_some() || turns.next.as_ref().is_some_and(has_begun) {
            // The next has its turn, and may be under way by now.
            if let Some(next) = turns.next.take() {
                turns.running = next.answer;
            } else {
                turns.running = read().shared();
                return turns.running.clone();
            }
        }
        let running = turns.running.clone();
        let next = turns.next.get_or_insert_with(|| {
            let read = read();
            let has_begun = Arc::new(AtomicBool::new(false));
            let begins = has_begun.clone();
            let in_turn = async move {
                let _ = tokio::time::timeout(PATIENCE, running).await;
                begins.store(true, Ordering::Release);
                read.await
            };
            Next { answer: in_turn.boxed().shared(), has_begun }
        });
        next.answer.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_it_is_asked_shares_the_next_answer() {
        let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let batched: Batched<usize> = Batched::default();
        let ask = || {
            let (batched, asked, go) = (batched.clone(), asked.clone(), go.clone());
            tokio::spawn(async move {
                let read = || {
                    async move {
                        let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
                        go.notified().await;
                        Read::Found(count)
                    }
                    .boxed()
                };
                batched.get("edit", read).await
            })
        };
        let first = ask();
        tokio::task::yield_now().await;
        let later = [ask(), ask(), ask()];
        tokio::task::yield_now().await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        go.notify_one();
        assert_eq!(first.await.unwrap(), Read::Found(1));
        go.notify_one();
        for answer in later {
            assert_eq!(answer.await.unwrap(), Read::Found(2), "asked after they came");
        }
        assert!(batched.turns().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_hangs_holds_up_nobody_for_long() {
        let batched: Batched<usize> = Batched::default();
        let read = |answer: Option<usize>| {
            let batched = batched.clone();
            let read = move || match answer {
                Some(answer) => futures::future::ready(Read::Found(answer)).boxed(),
                None => futures::future::pending().boxed(),
            };
            tokio::spawn(async move { batched.get("edit", read).await })
        };
        let hangs = read(None);
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        let also_hangs = read(None);
        tokio::time::sleep(2 * PATIENCE).await;
        assert_eq!(read(Some(3)).await.unwrap(), Read::Found(3), "it was asked after they came");
        assert!(began.elapsed() <= 4 * PATIENCE);
        assert!(!hangs.is_finished() && !also_hangs.is_finished());
    }

    #[tokio::test]
    async fn who_goes_away_keeps_nobody_waiting() {
        let batched: Batched<usize> = Batched::default();
        let hangs = batched.get("edit", || futures::future::pending().boxed());
        let answers = batched.get("view", || async { Read::Found(1) }.boxed());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), hangs).await.is_err());
        assert_eq!(answers.await, Read::Found(1));
    }
}
