//! Bindings and roles of Lapse without a live grant go at once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use kube::Client;
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::process::caught_in;
use lapse_cluster::{CallError, Reader, clock::Clock, reads_for_an_end};
use lapse_crds::Grant;
use lapse_engine::Read;
use lapse_engine::grant::{Fate, ObjectMarks, fate};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::pace::pause;
use crate::elevate::kubernetes;
use crate::metrics::Metrics;
use crate::queue::place_is_due;

/// How many objects are looked at at once, and how many of those beside them that could not be judged or removed: what hangs
/// again and again in one namespace keeps none that shows in another.
const AT_ONCE: usize = 16;
const AGAIN_AT_ONCE: usize = 8;

/// Where objects are named that seem to have no grant.
#[derive(Clone)]
pub(crate) struct Orphans(mpsc::UnboundedSender<ObjectMarks>);

impl Orphans {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<ObjectMarks>) {
        let (sender, receiver) = mpsc::unbounded();
        (Self(sender), receiver)
    }

    /// Has an object looked at.
    pub(crate) fn suspect(&self, object: ObjectMarks) {
        // A closed channel means that the process is stopping.
        let _ = self.0.unbounded_send(object);
    }

    /// Looks at each object that is named, and again at one of which that fails. Memory is bounded by the objects that stand:
    /// each is waited for once, however often it is named.
    pub(crate) async fn run(
        reader: Reader,
        clock: Clock,
        suspects: mpsc::UnboundedReceiver<ObjectMarks>,
        metrics: Arc<Metrics>,
    ) {
        let (again, retried) = mpsc::unbounded();
        let (failing, running) = (Mutex::default(), Arc::default());
        let looks = Arc::new(Looks { reader, clock, metrics, failing, again, running });
        // Boxed, as the compiler loses track of their lifetimes otherwise.
        let named: BoxFuture<'static, ()> = {
            let looks = looks.clone();
            Box::pin(
                suspects.for_each_concurrent(AT_ONCE, move |object| looks.clone().place(object, 0)),
            )
        };
        let failed: BoxFuture<'static, ()> =
            Box::pin(retried.for_each_concurrent(AGAIN_AT_ONCE, move |(object, tries)| {
                looks.clone().place(object, tries)
            }));
        tokio::join!(named, failed);
    }
}

/// The looks at them.
struct Looks {
    reader: Reader,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Those that are looked at again, by their UIDs.
    failing: Mutex<HashSet<String>>,
    again: mpsc::UnboundedSender<(ObjectMarks, u32)>,
    /// How many are under way.
    running: Arc<AtomicUsize>,
}

/// A look that is under way, until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Looks {
    /// Holds a place while one is looked at, unless that takes long: then it goes on beside the next.
    async fn place(self: Arc<Self>, object: ObjectMarks, tries: u32) {
        let running = Running::begin(&self.running);
        let look: BoxFuture<'static, ()> = Box::pin(self.clone().look(object, tries));
        let mut looking = tokio::spawn(async move {
            look.await;
            drop(running);
        });
        let beside = || {
            let running = self.running.load(Ordering::Relaxed);
            running.saturating_sub(AT_ONCE + AGAIN_AT_ONCE)
        };
        tokio::select! {
            _ = &mut looking => {}
            () = place_is_due(Instant::now(), &self.clock, beside) => {}
        }
    }

    fn failing(&self) -> MutexGuard<'_, HashSet<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one after so many tries, and has it looked at again if that fails.
    async fn look(self: Arc<Self>, object: ObjectMarks, tries: u32) {
        if tries == 0 && self.failing().contains(&object.uid) {
            return;
        }
        // One over which that panics keeps no other.
        match caught_in("orphan", Box::pin(self.judge(&object))).await {
            Some(Ok(())) => drop(self.failing().remove(&object.uid)),
            Some(Err(error)) => {
                warn!(%error, kind = %object.kind, name = %object.name, "it will be tried again");
                self.failing().insert(object.uid.clone());
                let again = self.again.clone();
                tokio::spawn(async move {
                    sleep(pause(tries)).await;
                    // Nobody listens any more when the process is stopping.
                    let _ = again.unbounded_send((object, tries.saturating_add(1)));
                });
            }
            None => {
                self.failing().remove(&object.uid);
                error!(kind = %object.kind, name = %object.name, "a look at an object panicked");
            }
        }
    }

    async fn judge(&self, object: &ObjectMarks) -> Result<(), String> {
        let Self { reader, clock, metrics, .. } = self;
        let grant = match &object.grant {
            Some(name) => reads_for_an_end(reader.grant(name)).await,
            None => Read::Missing,
        };
        match (judge(reader, clock, metrics, object, &grant).await, grant) {
            // It stays, as it is not known whether its Grant is live.
            (Ok(false), Read::Failed(why)) => Err(why),
            (Ok(_), _) => Ok(()),
            (Err(error), _) => Err(error.to_string()),
        }
    }
}

/// Removes an object that this Grant of its is no reason for, and says whether it is gone.
pub(crate) async fn judge(
    reader: &Reader,
    clock: &Clock,
    metrics: &Metrics,
    object: &ObjectMarks,
    grant: &Read<Grant>,
) -> Result<bool, CallError> {
    let home = &reader.settings().namespace;
    let Fate::Remove(why) = fate(object, grant, home, clock.now()) else { return Ok(false) };
    match remove(reader.client(), object, &why).await {
        Ok(was_there) => {
            metrics.orphans_removed.inc_by(u64::from(was_there));
            Ok(true)
        }
        Err(error) => {
            metrics.revocation_failures.inc();
            Err(error)
        }
    }
}

/// Removes an object that has no live grant, and says whether it was there.
pub(crate) async fn remove(
    client: &Client,
    object: &ObjectMarks,
    why: &str,
) -> Result<bool, CallError> {
    let place = ObjectPlace {
        kind: object.kind,
        namespace: object.namespace.as_deref(),
        name: &object.name,
    };
    let was_there = kubernetes::delete_in_time(client, &place, &object.uid).await?;
    if was_there {
        info!(kind = %object.kind, namespace = object.namespace, name = %object.name, why, "removed an object");
    }
    Ok(was_there)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;
    use lapse_crds::RbacKind;

    use super::*;
    use crate::fake::{api_server, context, gone, refusal};

    /// A binding of which no Grant is known, as from a backup.
    fn binding(of: &str) -> ObjectMarks {
        ObjectMarks {
            kind: RbacKind::RoleBinding,
            namespace: Some("shop".to_owned()),
            name: format!("lapse:{of}"),
            uid: format!("uid-of-{of}"),
            grant: Some(of.to_owned()),
            grant_uid: Some("g".to_owned()),
            expires_at: None,
            is_ours: true,
        }
    }

    /// Whether its Grant cannot be read for so long, or it cannot be deleted: it goes within a second of that.
    #[tokio::test(start_paused = true)]
    async fn an_orphan_goes_within_a_second_of_what_kept_it() {
        for kept in [Method::GET, Method::DELETE] {
            let over = Instant::now() + Duration::from_secs(30);
            let (deleted, count) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
            let (done, tried) = (deleted.clone(), count.clone());
            let client = api_server(move |request| {
                let (done, kept) = (done.clone(), *request.method() == kept);
                let is_deletion = *request.method() == Method::DELETE;
                tried.fetch_add(usize::from(kept), Ordering::Relaxed);
                async move {
                    match () {
                        () if kept && Instant::now() < over => refusal(500, "InternalError"),
                        () if is_deletion => {
                            *done.lock().unwrap() = Some(Instant::now());
                            gone()
                        }
                        () => refusal(404, "NotFound"),
                    }
                }
            });
            let known = context(client);
            let (orphans, suspects) = Orphans::new();
            let running = Orphans::run(known.reader, known.clock, suspects, known.metrics);
            let running = tokio::spawn(running);
            // Each new list names it.
            for _ in 0..20 {
                orphans.suspect(binding("fix"));
                sleep(Duration::from_secs(1)).await;
            }
            sleep(Duration::from_secs(12)).await;
            let late = deleted.lock().unwrap().expect("it is gone") - over;
            assert!(late <= Duration::from_secs(1), "{late:?}");
            let count = count.load(Ordering::Relaxed);
            assert!(count <= 70, "{count} in 30 s");
            running.abort();
        }
    }

    /// As by a connection to a node that is dead.
    #[tokio::test(start_paused = true)]
    async fn an_orphan_whose_deletion_is_swallowed_goes_within_a_second_of_that() {
        let over = Instant::now() + Duration::from_millis(2500);
        let deleted = Arc::new(Mutex::new(None));
        let done = deleted.clone();
        let client = api_server(move |request| {
            let (done, is_deletion) = (done.clone(), *request.method() == Method::DELETE);
            async move {
                if !is_deletion {
                    return refusal(404, "NotFound");
                }
                if Instant::now() < over {
                    std::future::pending::<()>().await;
                }
                *done.lock().unwrap() = Some(Instant::now());
                gone()
            }
        });
        let known = context(client);
        let (orphans, suspects) = Orphans::new();
        let running = Orphans::run(known.reader, known.clock, suspects, known.metrics);
        let running = tokio::spawn(running);
        orphans.suspect(binding("fix"));
        sleep(Duration::from_secs(5)).await;
        let late = deleted.lock().unwrap().expect("it is gone") - over;
        assert!(late <= Duration::from_secs(1), "{late:?}");
        running.abort();
    }

    /// Somebody's admission webhook hangs where many of them are to be deleted.
    #[tokio::test(start_paused = true)]
    async fn orphans_that_hang_keep_no_other() {
        let (sender, mut deleted) = tokio::sync::mpsc::unbounded_channel();
        let client = api_server(move |request| {
            let (sender, path) = (sender.clone(), request.uri().path().to_owned());
            let is_deletion = *request.method() == Method::DELETE;
            async move {
                match () {
                    () if is_deletion && path.contains("hangs") => std::future::pending().await,
                    () if is_deletion => {
                        sender.send(Instant::now()).unwrap();
                        gone()
                    }
                    () => refusal(404, "NotFound"),
                }
            }
        });
        let known = context(client);
        let (orphans, suspects) = Orphans::new();
        let running = Orphans::run(known.reader, known.clock, suspects, known.metrics);
        let running = tokio::spawn(running);
        for number in 0..AT_ONCE + AGAIN_AT_ONCE {
            orphans.suspect(binding(&format!("hangs-{number}")));
        }
        // As they come, and when they are tried again.
        for wait in [0, 25] {
            sleep(Duration::from_secs(wait)).await;
            let begun = Instant::now();
            orphans.suspect(binding(&format!("fix-{wait}")));
            let late = deleted.recv().await.unwrap() - begun;
            assert!(late <= Duration::from_millis(1100), "after {wait} s: {late:?}");
        }
        running.abort();
    }
}
