//! Rights of Kubernetes: roles and bindings, made with POST and taken back by UID.

use std::time::Duration;

use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};
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
static AGAIN: Semaphore = {
    // Tests run side by side, each by a clock of its own: none is to wait for another.
    Semaphore::const_new(if cfg!(test) { Semaphore::MAX_PERMITS } else { AGAIN_AT_ONCE })
};

/// Deletes the object of a Grant, whoever takes it back: that it is gone gives this process no reason to look.
pub(crate) async fn take_back(
    client: &Client,
    echoes: &Echoes,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<(), CallError> {
    let writing = echoes.begin(Object::at(place));
    insist(&AGAIN, client, place, uid).await?;
    writing.deleted();
    Ok(())
}

/// Deletes the object of this UID, and says whether it was there.
///
/// A deletion that gets no answer is asked for once more each second, beside the first: what swallowed that may be over, and
/// where every deletion takes long, the first comes through.
pub(crate) async fn delete_in_time(
    client: &Client,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<bool, CallError> {
    insist(&AGAIN, client, place, uid).await
}

async fn insist(
    again: &Semaphore,
    client: &Client,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<bool, CallError> {
    tokio::select! {
        first = delete(client, place, uid) => first,
        was_there = asked_again(again, client, place, uid) => Ok(was_there),
    }
}

/// Asks for a deletion until that succeeds.
async fn asked_again(
    again: &Semaphore,
    client: &Client,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> bool {
    let mut at = Instant::now() + ASKED_AGAIN;
    loop {
        sleep_until(at).await;
        // It is never closed.
        let _allowed = again.acquire().await;
        at = Instant::now() + ASKED_AGAIN;
        if let Ok(Ok(was_there)) = timeout_at(at, delete(client, place, uid)).await {
            return was_there;
        }
    }
}

/// Deletes the object of this UID, and says whether it was there. That it is gone already, or that another stands under
/// its name, is no error.
pub(crate) async fn delete(
    client: &Client,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<bool, CallError> {
    let what = format!("{} {}", place.kind, place.name);
    let api = place.api(client);
    match delete_by_uid(&api, place.name, uid, None, what).await {
        Err(error) if error.is_conflict() => {
            if stands(&api, place, uid).await? {
                Err(error)
            } else {
                Ok(false)
            }
        }
        outcome => outcome,
    }
}

async fn stands(
    api: &Api<DynamicObject>,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<bool, CallError> {
    let what = format!("reading {} {}", place.kind, place.name);
    match bounded(what, api.get_metadata(place.name)).await {
        Ok(found) => Ok(found.metadata.uid.as_deref() == Some(uid)),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::Method;
    use lapse_crds::RbacKind;
    use serde_json::json;
    use tokio::time::sleep;

    use super::*;
    use crate::fake::{api_server, gone, refusal};

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
        insist(again, &client, &place, "b").await.unwrap();
        begun.elapsed()
    }

    /// An admission webhook may refuse with any code.
    #[tokio::test]
    async fn a_conflict_is_believed_if_another_stands_there() {
        let deleted = async |stands: Option<&'static str>| {
            let client = api_server(move |request| async move {
                match stands {
                    _ if *request.method() == Method::DELETE => refusal(409, "Conflict"),
                    Some(uid) => (200, json!({"metadata": {"name": "lapse:fix", "uid": uid}})),
                    None => refusal(404, "NotFound"),
                }
            });
            let namespace = Some("shop");
            let place = ObjectPlace { kind: RbacKind::RoleBinding, namespace, name: "lapse:fix" };
            delete(&client, &place, "b").await
        };
        assert!(deleted(Some("b")).await.unwrap_err().is_conflict(), "it was refused");
        assert!(!deleted(Some("c")).await.unwrap());
        assert!(!deleted(None).await.unwrap());
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
