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
/// How many are asked for again at once: an API server on which many hang has too few places as it is. The others wait for
/// their turn. When what kept them is over, those that hold the places are answered or have had their second, so that all
/// go one after the other.
const AGAIN_AT_ONCE: usize = 64;
static AGAIN: Semaphore = Semaphore::const_new(AGAIN_AT_ONCE);

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
    take_back_beside(&AGAIN, client, echoes, place, uid).await
}

async fn take_back_beside(
    again: &Semaphore,
    client: &Client,
    echoes: &Echoes,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<(), CallError> {
    let writing = echoes.begin(Object::at(place));
    let first = delete(client, place, uid);
    tokio::select! {
        outcome = first => { outcome?; }
        () = asked_again(again, client, place, uid) => {}
    }
    writing.deleted();
    Ok(())
}

/// Asks for a deletion until that succeeds.
async fn asked_again(again: &Semaphore, client: &Client, place: &ObjectPlace<'_>, uid: &str) {
    let mut at = Instant::now() + ASKED_AGAIN;
    loop {
        sleep_until(at).await;
        // It is never closed.
        let _allowed = again.acquire().await;
        at = Instant::now() + ASKED_AGAIN;
        if let Ok(Ok(_)) = timeout_at(at, delete(client, place, uid)).await {
            return;
        }
    }
}

/// Deletes the object of this UID, and says whether it was there. That it is gone already, or that another stands under
/// its name, is no error: a live read tells.
pub(crate) async fn delete(
    client: &Client,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<bool, CallError> {
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
        took_beside(&Semaphore::new(AGAIN_AT_ONCE), swallowed_for, answers_after).await
    }

    async fn took_beside(
        again: &Semaphore,
        swallowed_for: Duration,
        answers_after: Duration,
    ) -> Duration {
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
        take_back_beside(again, &client, &Echoes::default(), &place, "b").await.unwrap();
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

    /// More than are asked for again at once.
    #[tokio::test(start_paused = true)]
    async fn five_hundred_deletions_without_an_answer_go_within_a_second_of_what_kept_them() {
        let again = Semaphore::new(AGAIN_AT_ONCE);
        let (outage, answer) = (Duration::from_millis(3500), Duration::from_millis(5));
        let all = (0..500).map(|_| took_beside(&again, outage, answer));
        let last = futures::future::join_all(all).await.into_iter().max().unwrap();
        println!("the last of 500 went {:?} after", last.saturating_sub(outage));
        assert!(last <= outage + ASKED_AGAIN + Duration::from_millis(100), "it took {last:?}");
    }

    /// Asking again takes nothing from the first.
    #[tokio::test(start_paused = true)]
    async fn where_deletions_take_long_they_come_through() {
        let long = Duration::from_secs(8);
        assert_eq!(took(Duration::ZERO, long).await, long);
    }
}
