//! Runs the reconciliations of one kind, one at a time for each object and so many in all.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::channel::mpsc;
use futures::{FutureExt as _, StreamExt as _};
use kube::Resource;
use kube::runtime::applier;
use kube::runtime::controller::{Action, Config, Error as ApplierError};
use kube::runtime::reflector::{Lookup as _, ObjectRef, Store};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::metrics::Kind;

/// A queue of objects to reconcile.
pub(crate) type Sender<K> = mpsc::UnboundedSender<ObjectRef<K>>;
pub(crate) type Receiver<K> = mpsc::UnboundedReceiver<ObjectRef<K>>;

/// What a reconciliation returns: when to look again, if nothing happens before.
pub(crate) type Outcome = Result<Option<DateTime<Utc>>, ReconcileError>;
pub(crate) type Reconciliation = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How one kind is reconciled.
pub(crate) struct Worker<K: 'static> {
    pub(crate) kind: Kind,
    pub(crate) reconcile: fn(Arc<K>, Arc<Context>) -> Reconciliation,
    pub(crate) concurrency: u16,
    pub(crate) debounce: Duration,
}

/// How often in a row each object has failed, for the backoff.
type Failures = Arc<Mutex<HashMap<String, u32>>>;

/// Reconciles what the queue names until asked to stop; then finishes what it has begun.
pub(crate) async fn run<K>(
    worker: Worker<K>,
    queue: Receiver<K>,
    store: Store<K>,
    context: Arc<Context>,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let Worker { kind, reconcile, concurrency, debounce } = worker;
    let failures = Failures::default();
    let stopped = Box::pin(async move { stop.cancelled().await });
    let queue = queue.take_until(stopped).map(Ok::<_, std::convert::Infallible>);
    let reconciler = {
        let failures = failures.clone();
        move |object: Arc<K>, context: Arc<Context>| {
            let failures = failures.clone();
            let key = key(&*object);
            reconcile(object, context.clone())
                .map(move |outcome| finish(&context, kind, &failures, &key, outcome))
                .boxed()
        }
    };
    let error_policy = {
        let failures = failures.clone();
        move |object: Arc<K>, error: &ReconcileError, _: Arc<Context>| {
            let key = key(&*object);
            let count = lock(&failures).get(&key).copied().unwrap_or(1);
            let wait = error.retry_after(count.saturating_sub(1), jitter());
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            warn!(kind = ?kind, object = %key, %error, wait_ms, "will try again");
            Action::requeue(wait)
        }
    };
    let config = Config::default().concurrency(concurrency).debounce(debounce);
    applier(reconciler, error_policy, context, store, queue, config)
        .for_each(async |result| match result {
            // Reported by the error policy.
            Ok(_) | Err(ApplierError::ReconcilerFailed(..)) => {}
            // Named by a watch that was faster than the object's own.
            Err(ApplierError::ObjectNotFound(object)) => debug!(%object, "not known yet, or gone"),
            Err(error) => warn!(kind = ?kind, %error, "the queue"),
        })
        .await;
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let metadata = object.meta();
    let name = metadata.name.as_deref().unwrap_or_default();
    match &metadata.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

fn finish(
    context: &Context,
    kind: Kind,
    failures: &Failures,
    key: &str,
    outcome: Outcome,
) -> Result<Action, ReconcileError> {
    context.metrics.reconciled(kind, outcome.is_ok());
    match outcome {
        Ok(wake_at) => {
            lock(failures).remove(key);
            Ok(match wake_at {
                Some(at) => {
                    let wait = (at - context.clock.now()).to_std().unwrap_or(Duration::ZERO);
                    Action::requeue(wait)
                }
                None => Action::await_change(),
            })
        }
        Err(error) => {
            *lock(failures).entry(key.to_owned()).or_insert(0) += 1;
            Err(error)
        }
    }
}

fn lock(failures: &Failures) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
    // A panic elsewhere leaves counters that are still good enough for a backoff.
    failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A random number from 0 to 1.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

/// The reference by which an object is queued.
pub(crate) fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectRef<K> {
    object.to_object_ref(())
}
