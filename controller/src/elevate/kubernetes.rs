//! Rights of Kubernetes: roles and bindings, made with POST and taken back by UID.

use std::time::Duration;

use kube::Client;
use kube::api::{DynamicObject, PostParams};
use lapse_cluster::objects::{ObjectPlace, manifest};
use lapse_cluster::{CallError, bounded};
use lapse_crds::Grant;
use lapse_engine::grant::ObjectSpec;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::delete_by_uid::delete_by_uid;
use crate::echoes::{Echoes, Object};

/// Creates an object, and returns it as it was stored. A name that is taken is an error: nothing that exists is ever
/// adopted.
pub(crate) async fn create(
    client: &Client,
    grant: &Grant,
    object: &ObjectSpec,
) -> Result<DynamicObject, CallError> {
    let made = manifest(grant, object);
    let api = ObjectPlace::of(object).api(client);
    let what = format!("creating {}", object.describe());
    bounded(what, api.create(&PostParams::default(), &made)).await
}

/// How long a deletion waits for its answer until it is asked for again, and again after as long.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// How many are asked for again at once: an API server on which many hang has too few places as it is.
static AGAIN: Semaphore = Semaphore::const_new(64);

/// Deletes the object of a Grant, whoever takes it back: that it is gone gives this process no reason to look.
///
/// One that gets no answer is asked for once more each second, beside the first: what swallowed that may be over, and where
/// every deletion takes long, the first comes through.
pub(crate) async fn take_back(
    client: &Client,
    echoes: &Echoes,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<(), CallError> {
    let writing = echoes.begin(Object::at(place));
    let first = delete(client, place, uid);
    tokio::select! {
        outcome = first => outcome?,
        () = asked_again(client, place, uid) => {}
    }
    writing.deleted();
    Ok(())
}

/// Asks for a deletion until that succeeds.
async fn asked_again(client: &Client, place: &ObjectPlace<'_>, uid: &str) {
    let mut at = Instant::now() + ASKED_AGAIN;
    loop {
        sleep_until(at).await;
        at += ASKED_AGAIN;
        let Ok(_allowed) = AGAIN.try_acquire() else { continue };
        if let Ok(Ok(())) = timeout_at(at, delete(client, place, uid)).await {
            return;
        }
    }
}

/// Deletes the object of this UID. That it is gone already, or that another stands under its name,
/// is no error: a live read tells.
pub(crate) async fn delete(
    client: &Client,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<(), CallError> {
    let what = format!("{} {}", place.kind, place.name);
    delete_by_uid(&place.api(client), place.name, uid, None, what).await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use lapse_crds::RbacKind;
    use tokio::time::sleep;

    use super::*;
    use crate::fake::{api_server, gone};

    /// How long a deletion takes in a cluster that answers those asked for since then so late.
    async fn took(swallowed_for: Duration, answers_after: Duration) -> Duration {
        let begun = Instant::now();
        let client = api_server(move |_| async move {
            if begun.elapsed() < swallowed_for {
                pending::<()>().await;
            }
            sleep(answers_after).await;
            gone()
        });
        let namespace = Some("shop");
        let place = ObjectPlace { kind: RbacKind::RoleBinding, namespace, name: "lapse:fix" };
        take_back(&client, &Echoes::default(), &place, "b").await.unwrap();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_without_an_answer_is_asked_for_again() {
        for seconds in [1, 4, 9] {
            let outage = Duration::from_millis(1000 * seconds - 500);
            let took = took(outage, Duration::ZERO).await;
            assert!(took <= outage + ASKED_AGAIN, "after {outage:?} it took {took:?}");
        }
    }

    /// Asking again takes nothing from the first.
    #[tokio::test(start_paused = true)]
    async fn where_deletions_take_long_they_come_through() {
        let long = Duration::from_secs(8);
        assert_eq!(took(Duration::ZERO, long).await, long);
    }
}
