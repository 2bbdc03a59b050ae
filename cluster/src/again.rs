//! Reads that are asked for again when no answer comes.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{CallError, bounded_by};

/// How long a read waits for its answer until it is asked for again, and again after as long.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// How many are asked for again at once: an API server on which many hang has too few places as it is. The others wait for
/// their turn, and all of them for their first answer. What an end may wait for has turns of its own, so that it stands behind
/// nothing by which something is to be given.
const AGAIN_AT_ONCE: usize = 64;
static AGAIN: Semaphore = Semaphore::const_new(AGAIN_AT_ONCE);
static AGAIN_FOR_ENDS: Semaphore = Semaphore::const_new(AGAIN_AT_ONCE);

tokio::task_local! {
    /// Whether an end may wait for what is read.
    static FOR_AN_END: bool;
}

/// Reads for what may end a right.
pub async fn reads_for_an_end<F: Future>(reads: F) -> F::Output {
    FOR_AN_END.scope(true, reads).await
}

/// Where whoever reads here gets its turn to ask again.
fn turns() -> &'static Semaphore {
    let is_for_an_end = FOR_AN_END.try_with(|is_for_an_end| *is_for_an_end).unwrap_or_default();
    if is_for_an_end { &AGAIN_FOR_ENDS } else { &AGAIN }
}

/// Reads as [`bounded_by`] calls, and asks once more each second, beside the first, for as long as no answer comes: what
/// swallowed that, a connection to a node that is dead, say, is not to keep a right until the limit. `ask` changes nothing.
pub async fn bounded_read<T, F>(
    limit: Duration,
    what: impl Into<String>,
    ask: impl Fn() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = kube::Result<T>>,
{
    let answered = async {
        tokio::select! {
            // Whatever it says. Where all reads take long, it comes through.
            first = Box::pin(ask()) => first,
            another = asked_again(&ask) => another,
        }
    };
    bounded_by(limit, what, answered).await
}

/// Asks until somebody says what there is, or that there is nothing.
async fn asked_again<T, F>(ask: &impl Fn() -> F) -> kube::Result<T>
where
    F: Future<Output = kube::Result<T>>,
{
    let mut at = Instant::now() + ASKED_AGAIN;
    loop {
        sleep_until(at).await;
        // It is never closed.
        let _allowed = turns().acquire().await;
        at = Instant::now() + ASKED_AGAIN;
        match timeout_at(at, Box::pin(ask())).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) if is_answer(&error) => return Err(error),
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Whether an error says that there is nothing of the kind.
fn is_answer(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::core::response::Status;

    use super::*;
    use crate::CALL_LIMIT;

    /// How long a read takes of which the first answers so late (`None`: never), and the others at once, or not at all.
    async fn took(
        first: Option<u64>,
        others: impl Fn() -> Option<kube::Result<u8>>,
    ) -> (Result<u8, CallError>, Duration) {
        let begun = Instant::now();
        let asked = AtomicUsize::new(0);
        let read = bounded_read(CALL_LIMIT, "reading Grant x", || {
            let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            let other = if is_first { None } else { others() };
            async move {
                match (is_first, first, other) {
                    (true, Some(millis), _) => {
                        tokio::time::sleep(Duration::from_millis(millis)).await;
                        Ok(1)
                    }
                    (false, _, Some(other)) => other,
                    _ => std::future::pending().await,
                }
            }
        });
        (read.await, begun.elapsed())
    }

    fn api_error(code: u16) -> kube::Error {
        let details = serde_json::from_value(serde_json::json!({"name": "x"})).unwrap();
        let status = Status::failure("x", "NotFound").with_code(code).with_details(details);
        kube::Error::Api(Box::new(status))
    }

    /// However much hangs that is to be given.
    #[tokio::test]
    async fn what_an_end_waits_for_stands_behind_nothing_that_is_given() {
        let is_of_ends = async || std::ptr::eq(turns(), &raw const AGAIN_FOR_ENDS);
        assert!(!is_of_ends().await);
        let both = async { tokio::join!(is_of_ends(), is_of_ends()) };
        assert_eq!(reads_for_an_end(both).await, (true, true));
        assert!(!is_of_ends().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_without_an_answer_is_asked_for_again() {
        let (found, time) = took(None, || Some(Ok(2))).await;
        assert_eq!((found.unwrap(), time), (2, ASKED_AGAIN));
        let (missing, time) = took(None, || Some(Err(api_error(404)))).await;
        assert_eq!((missing.unwrap_err().is_not_found(), time), (true, ASKED_AGAIN));
        // Where all take long, the first comes through; and what is refused beside it does it no harm.
        for others in [None, Some(429)] {
            let (found, time) = took(Some(8_500), || others.map(|code| Err(api_error(code)))).await;
            assert_eq!((found.unwrap(), time), (1, Duration::from_millis(8_500)));
        }
        let (error, time) = took(None, || None).await;
        assert_eq!(time, CALL_LIMIT);
        assert_eq!(error.unwrap_err().to_string(), "reading Grant x: no answer within 10 s");
        let (_, time) = took(Some(900), || panic!("it was answered in time")).await;
        assert_eq!(time, Duration::from_millis(900));
    }
}
