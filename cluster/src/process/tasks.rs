//! The tasks that a program consists of. One that ends while the others go on would leave a process that seems to be
//! alive and does only a part of its work, so the process ends with it, and starts anew.

use std::future::Future;
use std::time::Duration;

use futures::future::{join_all, select_all};
use tokio::task::{JoinError, JoinHandle};

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
    async fn those_that_were_asked_to_end_are_waited_for_and_not_for_ever() {
        let mut tasks = Tasks::default();
        tasks.spawn("a worker", tokio::time::sleep(Duration::from_secs(2)));
        assert!(tasks.finish(Duration::from_secs(3)).await);
        let mut tasks = Tasks::default();
        tasks.spawn("a worker", pending());
        assert!(!tasks.finish(Duration::from_secs(3)).await);
    }
}
