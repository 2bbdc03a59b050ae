//! The tasks that a program consists of. One that ends while the others go on would leave a process that seems to be
//! alive and does only a part of its work, so the process ends with it, and starts anew.

use std::future::Future;
use std::time::Duration;

use futures::future::{join_all, select_all};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tracing::error;

use super::panics::{caught_in, count_panics_in};

/// The shortest and the longest pause before a task that has panicked begins anew.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// Tasks that go on until the process is asked to stop.
#[derive(Debug, Default)]
pub struct Tasks(Vec<(&'static str, JoinHandle<()>)>);

/// A task has ended that must not.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnded {
    /// It came to its end.
    #[error("{0} came to an end")]
    Returned(&'static str),
    /// It panicked.
    #[error("{0} came to an end: {1}")]
    Panicked(&'static str, JoinError),
}

impl Tasks {
    /// Starts a task. `what` is the subject of a sentence: "the sweep".
    pub fn spawn(&mut self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.watch(what, tokio::spawn(task));
    }

    /// Starts a task without which all that matters goes on: one that panics is counted as of this kind, and begins anew after
    /// a pause that grows with each panic.
    pub fn spawn_again<F>(
        &mut self,
        what: &'static str,
        kind: &'static str,
        task: impl Fn() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        count_panics_in([kind]);
        self.spawn(what, async move {
            let mut pause = AGAIN.0;
            loop {
                let begun = Instant::now();
                if caught_in(kind, task()).await.is_some() {
                    return;
                }
                // One that went well for long has not panicked again and again.
                if begun.elapsed() > AGAIN.1 {
                    pause = AGAIN.0;
                }
                error!(task = what, again_in_s = pause.as_secs(), "a task panicked");
                tokio::time::sleep(pause).await;
                pause = AGAIN.1.min(2 * pause);
            }
        });
    }

    /// Has an eye on a task that was started elsewhere.
    pub fn watch(&mut self, what: &'static str, task: JoinHandle<()>) {
        self.0.push((what, task));
    }

    /// Waits until one of them ends, and says which, and whether it panicked.
    pub async fn ended(&mut self) -> TaskEnded {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let (outcome, index, _) = select_all(self.0.iter_mut().map(|(_, task)| task)).await;
        // A task that has ended is not to be waited for again.
        let (what, _) = self.0.swap_remove(index);
        match outcome {
            Ok(()) => TaskEnded::Returned(what),
            Err(error) => TaskEnded::Panicked(what, error),
        }
    }

    /// Waits until all have ended, which were asked to, for so long at the most. Whether they have.
    pub async fn finish(self, within: Duration) -> bool {
        let all = join_all(self.0.into_iter().map(|(_, task)| task));
        tokio::time::timeout(within, all).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::process::panics_in;

    #[tokio::test]
    async fn the_first_that_ends_or_panics_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("the sweep", pending());
        tasks.spawn("a worker", async { panic!("a mistake") });
        let ended = tasks.ended().await.to_string();
        assert!(ended.starts_with("a worker came to an end: "), "{ended}");
        assert!(ended.contains("a mistake"), "{ended}");
        tasks.spawn("the lease", ready(()));
        assert_eq!(tasks.ended().await.to_string(), "the lease came to an end");
    }

    #[tokio::test(start_paused = true)]
    async fn one_without_which_all_goes_on_begins_anew() {
        let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Tasks::default();
        tasks.spawn_again("what deletes what is over", "retention", move || {
            let sender = sender.clone();
            async move {
                sender.send(Instant::now()).unwrap();
                panic!("a mistake");
            }
        });
        let mut times = Vec::new();
        for _ in 0..12 {
            tokio::select! {
                at = begun.recv() => times.push(at.unwrap()),
                ended = tasks.ended() => panic!("{ended}"),
            }
        }
        let pauses: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(panics_in("retention") >= 11);
        // One that comes to its end must not.
        tasks.spawn_again("what counts", "standing", || ready(()));
        assert_eq!(tasks.ended().await.to_string(), "what counts came to an end");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_asked_to_end_are_waited_for_and_not_for_ever() {
        let mut tasks = Tasks::default();
        tasks.spawn("a worker", tokio::time::sleep(Duration::from_secs(2)));
        assert!(tasks.finish(Duration::from_secs(3)).await);
        let mut tasks = Tasks::default();
        tasks.spawn("a worker", pending());
        assert!(!tasks.finish(Duration::from_secs(3)).await);
    }
}
