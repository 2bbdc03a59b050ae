//! Turns to write on Endpoints. When ten thousand hosts come back together, as many connections are to be written down: what
//! somebody waits for, that access began or ended, must not wait behind these.

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many turns at once, of which so many are for what nobody waits for.
#[derive(Debug)]
pub(crate) struct Pens {
    all: Semaphore,
    routine: Semaphore,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pen<'a> {
    _of_all: Option<SemaphorePermit<'a>>,
    _of_routine: Option<SemaphorePermit<'a>>,
}

impl Pens {
    /// So many of all, and so many of them for what nobody waits for.
    pub(crate) fn new((all, routine): (usize, usize)) -> Self {
        Self { all: Semaphore::new(all), routine: Semaphore::new(routine) }
    }

    /// For what somebody waits for.
    pub(crate) async fn urgent(&self) -> Pen<'_> {
        // Neither is ever closed.
        Pen { _of_all: self.all.acquire().await.ok(), _of_routine: None }
    }

    /// For all else.
    pub(crate) async fn routine(&self) -> Pen<'_> {
        let of_routine = self.routine.acquire().await.ok();
        Pen { _of_all: self.all.acquire().await.ok(), _of_routine: of_routine }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_leaves_turns_to_what_somebody_does() {
        let pens = Pens::new((3, 2));
        let first = pens.routine().await;
        let _second = pens.routine().await;
        assert!(pens.routine().now_or_never().is_none());
        let urgent = pens.urgent().now_or_never();
        assert!(urgent.is_some());
        assert!(pens.urgent().now_or_never().is_none(), "there are no more than three");
        drop(first);
        assert!(pens.routine().now_or_never().is_some());
    }
}
