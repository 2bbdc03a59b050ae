//! Bindings that stand though their Grant is over, or though their own end has come and their Grant cannot be read.

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use lapse_crds::Grant;
use lapse_engine::Read;
use lapse_engine::grant::ObjectMarks;

use crate::bindings::Left;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::queue::{Item, Lane};
use crate::revoke;

/// How many are removed at once.
const AT_ONCE: usize = 8;

/// Removes what stands of a Grant that is over, if its deletion has not shown for a while, or has it looked at then.
///
/// Mostly nothing stands, and nothing is read. Where a binding was stored after its Grant had ended, another replica was
/// making it meanwhile.
pub(super) async fn take(context: &Context, name: &str) -> Result<(), ReconcileError> {
    let bindings = match context.touched.bindings.left_of(name) {
        Left::Nothing => return Ok(()),
        Left::NotYet(wait) => {
            context.touched.queue.soon(Item::Grant(name.to_owned()), Lane::End, wait);
            return Ok(());
        }
        Left::These(bindings) => bindings,
    };
    let grant = context.reader.grant(name).await;
    if let Read::Failed(why) = grant {
        return Err(ReconcileError::NotJudged(why));
    }
    remove(context, bindings, &grant).await
}

/// Removes what stands of a Grant that cannot be decoded, for this reason, and whose own end has come. Returns when the end of more comes.
pub(super) async fn take_due(
    context: &Context,
    name: &str,
    why: &str,
) -> Result<Option<DateTime<Utc>>, ReconcileError> {
    let (due, next) = context.touched.bindings.due_of(name, context.clock.now());
    let unread = Read::Failed(why.to_owned());
    remove(context, due, &unread).await?;
    Ok(next)
}

async fn remove(
    context: &Context,
    bindings: Vec<ObjectMarks>,
    grant: &Read<Grant>,
) -> Result<(), ReconcileError> {
    let Context { reader, clock, metrics, .. } = context;
    // The marker goes last: what it marks is guarded until then.
    let home = reader.settings().namespace.as_str();
    let (markers, bindings): (Vec<_>, Vec<_>) =
        bindings.into_iter().partition(|object| object.namespace.as_deref() == Some(home));
    let judge = async |object: ObjectMarks| {
        // It may have gone before anybody watched, so that no event will say so.
        if revoke::judge(reader, clock, metrics, &object, grant).await? {
            context.touched.bindings.gone(&object);
        }
        Ok(())
    };
    for objects in [bindings, markers] {
        let judged = stream::iter(objects).map(&judge).buffer_unordered(AT_ONCE);
        // Each is tried, whatever became of the others.
        let judged: Vec<_> = judged.collect().await;
        judged.into_iter().collect::<Result<(), _>>().map_err(ReconcileError::NotTaken)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use chrono::TimeDelta;
    use lapse_cluster::Stored;
    use lapse_crds::{Grant, GrantPhase, RbacKind};
    use lapse_engine::grant::{ObjectMarks, object_name};
    use serde_json::json;

    use super::super::reconcile;
    use crate::bindings::AFTER_END;
    use crate::context::Context;
    use crate::fake::{api_server, context, gone, held, refusal};
    use crate::queue::{Done, Item, Lane};

    fn ended() -> Grant {
        let mut grant = held("fix", "2999-01-01T00:00:00Z");
        grant.metadata.resource_version = Some("2".to_owned());
        let status = grant.status.as_mut().unwrap();
        (status.phase, status.bindings) = (GrantPhase::Ended, Vec::new());
        grant
    }

    fn binding() -> ObjectMarks {
        ObjectMarks {
            kind: RbacKind::RoleBinding,
            namespace: Some("shop".to_owned()),
            name: object_name("fix"),
            uid: "b".to_owned(),
            grant: Some("fix".to_owned()),
            grant_uid: Some("uid-of-fix".to_owned()),
            expires_at: None,
            is_ours: true,
        }
    }

    /// What an API server is asked for in which this Grant is stored.
    fn watched(stored: Grant) -> (Context, Arc<Mutex<Vec<String>>>) {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = asked.clone();
        let client = api_server(move |request| {
            let asks_for_grant = request.uri().path().ends_with("/grants/fix");
            told.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
            let answer = match *request.method() {
                http::Method::DELETE => gone(),
                _ if asks_for_grant => (200, json!(stored)),
                _ => refusal(404, "NotFound"),
            };
            async move { answer }
        });
        (context(client), asked)
    }

    /// Has it looked at as what an event shows, and says whether it is to be looked at again as an end.
    async fn looked_at(context: &Context) -> bool {
        let done = reconcile(context, "fix", Lane::Follow).await.unwrap();
        assert!(matches!(done, Done::Until(None)), "nothing is held");
        let due = context.touched.queue.due_by(context.clock.now() + AFTER_END);
        due.contains(&(Item::Grant("fix".to_owned()), Lane::End))
    }

    /// Another replica was making it when this one saw that there is none.
    #[tokio::test(start_paused = true)]
    async fn a_binding_that_was_stored_while_its_grant_ended_goes() {
        let (context, asked) = watched(ended());
        let touched = &context.touched;
        drop(touched.index.wrote_grant(&held("fix", "2999-01-01T00:00:00Z")));
        touched.bindings.stands(&binding());
        let change = touched.index.wrote_grant(&ended()).unwrap();
        touched.by_grant(&change);
        let due = touched.queue.due_by(context.clock.now() + AFTER_END);
        assert!(due.contains(&(Item::Grant("fix".to_owned()), Lane::End)), "{due:?}");

        assert!(looked_at(&context).await, "its deletion may show yet");
        assert_eq!(*asked.lock().unwrap(), [""; 0]);
        tokio::time::advance(AFTER_END).await;
        assert!(!looked_at(&context).await);
        assert_eq!(
            *asked.lock().unwrap(),
            [
                "GET /apis/lapse.dev/v1alpha1/grants/fix",
                "DELETE /apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/lapse:fix",
            ]
        );
        assert!(!looked_at(&context).await);
        assert_eq!(asked.lock().unwrap().len(), 2, "it is gone");
    }

    /// A Grant of a newer release, say.
    #[tokio::test(start_paused = true)]
    async fn a_binding_goes_at_its_own_end_where_its_grant_cannot_be_decoded() {
        let (context, asked) = watched(ended());
        let odd = json!({"metadata": {"name": "fix", "uid": "uid-of-fix"}, "spec": 1});
        let odd: Stored<Grant> = serde_json::from_str(&odd.to_string()).unwrap();
        drop(context.touched.index.apply_grant(&odd));
        let now = context.clock.now();
        let later = now + TimeDelta::hours(1);
        for (uid, at) in [("b", later), ("c", now)] {
            let binding = ObjectMarks { uid: uid.to_owned(), expires_at: Some(at), ..binding() };
            context.touched.bindings.stands(&binding);
        }
        for _ in 0..2 {
            let done = reconcile(&context, "fix", Lane::Follow).await.unwrap();
            assert_eq!(done, Done::HeldUntil(later));
            assert_eq!(
                *asked.lock().unwrap(),
                [
                    "DELETE /apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/lapse:fix"
                ]
            );
        }
    }

    /// As it is when a restored store shows an earlier state.
    #[tokio::test(start_paused = true)]
    async fn a_binding_whose_grant_is_live_after_all_stays() {
        let (context, asked) = watched(held("fix", "2999-01-01T00:00:00Z"));
        context.touched.bindings.stands(&binding());
        assert!(looked_at(&context).await);
        tokio::time::advance(AFTER_END).await;
        assert!(!looked_at(&context).await);
        assert_eq!(*asked.lock().unwrap(), ["GET /apis/lapse.dev/v1alpha1/grants/fix"]);
        assert!(context.touched.bindings.any_of("fix"));
    }
}
