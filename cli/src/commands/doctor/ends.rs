//! Whether what is over is gone: no Grant past its time, and no binding of Lapse's without a live Grant.

use std::collections::HashMap;
use std::fmt::Debug;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Resource};
use lapse_crds::{Grant, MANAGED_BY, MANAGED_BY_LAPSE, RbacKind};
use lapse_engine::grant::{ObjectMarks, late, unheard_for};
use lapse_engine::summary::GrantSummary;
use serde::de::DeserializeOwned;

use super::endpoints::{SEE_HOST, SLOW};
use super::finding::{Check, Examined, Finding, Many};
use super::installation::Installation;
use super::trust::now;
use crate::countdown::{moment as written, span};
use crate::fault::Fault;
use crate::output::number;
use crate::pages::Pages;
use crate::session::Session;

/// What to do about it.
const ACTION: &str = "see the log of the controllers; `kubectl delete` the binding to end the access now (docs/runbooks.md)";
/// How many bindings are looked at again at once.
const AT_ONCE: usize = 8;

pub(super) async fn examine(session: &Session, installation: &Installation) -> Examined {
    let check = Check::Ends;
    // Before the Grants: whatever is there already has its Grant, as that is written first.
    let bindings = async {
        let mut all = bindings::<ClusterRoleBinding>(session, RbacKind::ClusterRoleBinding).await?;
        all.extend(bindings::<RoleBinding>(session, RbacKind::RoleBinding).await?);
        Ok::<_, Fault>(all)
    };
    let right = "list on rolebindings and clusterrolebindings in the whole cluster";
    let bindings = check.look("list bindings", right, bindings).await;
    let (mut live, mut found) = (HashMap::new(), Many::default());
    let moment = now(session);
    let api: Api<Grant> = Api::all(session.client.clone());
    let listing = Pages::of(session, "listing grants", api, ListParams::default()).each(|grant| {
        let grant = GrantSummary::of(&grant);
        let late = late(&grant, moment).map(|told| check.problem(told.notice.message, ACTION));
        found.extend(late.into_iter().chain(unheard(&grant, moment)));
        if grant.live.is_some() {
            live.insert(grant.uid.clone(), grant);
        }
    });
    check.look("list Grants", "ClusterRole lapse:auditor", Box::pin(listing)).await?;
    let home = &installation.namespace;
    match bindings {
        Err(finding) => found.extend([finding]),
        Ok(bindings) => {
            let alone = bindings.into_iter().filter(|marks| {
                let grant = marks.grant_uid.as_deref().and_then(|uid| live.get(uid));
                !grant.is_some_and(|grant| marks.is_of(grant, home))
            });
            let looked = stream::iter(alone).map(async |marks| still_alone(session, marks).await);
            let looked =
                looked.buffered(AT_ONCE).try_filter_map(async |left| Ok(left)).try_collect();
            let alone: Vec<ObjectMarks> = check.look("read bindings", right, looked).await?;
            found.extend(alone.iter().map(without_grant));
        }
    }
    let mut found = found.named(check, more);
    if found.is_empty() {
        let live = number(live.len(), "grant is", "grants are");
        found.push(check.ok(format!("nothing outlives its time; {live} active")));
    }
    Ok(found)
}

/// What is said of those that are not named.
fn more(count: usize) -> (String, &'static str) {
    (format!("{count} more outlive their time"), ACTION)
}

/// The bindings of a kind that are Lapse's.
async fn bindings<K>(session: &Session, kind: RbacKind) -> Result<Vec<ObjectMarks>, Fault>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGED_BY_LAPSE}"));
    let api: Api<K> = Api::all(session.client.clone());
    let mut all = Vec::new();
    let pages = Pages::of(session, "listing bindings", api, ours);
    pages.each(|binding| all.push(ObjectMarks::of(kind, binding.meta()))).await?;
    all.retain(|marks| marks.is_ours);
    Ok(all)
}

/// One whose Grant was not seen, if it still stands: it may have gone with its Grant since.
async fn still_alone(session: &Session, marks: ObjectMarks) -> Result<Option<ObjectMarks>, Fault> {
    let client = session.client.clone();
    let uid = match &marks.namespace {
        Some(namespace) => {
            uid::<RoleBinding>(session, Api::namespaced(client, namespace), &marks.name).await?
        }
        None => uid::<ClusterRoleBinding>(session, Api::all(client), &marks.name).await?,
    };
    Ok(Some(marks).filter(|marks| uid.as_deref() == Some(&*marks.uid)))
}

async fn uid<K>(session: &Session, api: Api<K>, name: &str) -> Result<Option<String>, Fault>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let found = session.call("reading a binding", api.get_opt(name)).await?;
    Ok(found.and_then(|binding| binding.meta().uid.clone()))
}

/// One that was taken back before its time on a host that has not confirmed it.
fn unheard(grant: &GrantSummary, now: DateTime<Utc>) -> Option<Finding> {
    let since = unheard_for(grant, now).filter(|since| *since > SLOW)?;
    let host = &grant.live.as_ref()?.target.as_ref()?.scope.endpoint()?.name;
    let message = format!(
        "the access of {} on Endpoint {host} was revoked {} ago, which the host has not confirmed: until it hears of it, it \
         goes on to {} (Grant {})",
        grant.subject,
        span(since),
        written(grant.expires_at.time(), now),
        grant.name
    );
    Some(Check::Ends.problem(message, SEE_HOST))
}

fn without_grant(marks: &ObjectMarks) -> Finding {
    let ObjectMarks { kind, namespace, name, .. } = marks;
    let place = namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    let message = format!("{kind} {name}{place} exists, and no active Grant owns it");
    Check::Ends.problem(message, ACTION)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::finding::{NAMED, Outcome};
    use super::*;

    fn grant(target: &Value) -> Grant {
        let ended = json!({
            "type": "Ended", "status": "False", "reason": "Unverified", "message": "",
            "lastTransitionTime": "2026-01-01T00:10:00Z",
        });
        serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant", "metadata": {"name": "fix-0a", "uid": "g"},
            "spec": {
                "request": {"namespace": "shop", "name": "fix", "uid": "u"},
                "policy": {"name": "shop", "uid": "p", "generation": 1},
                "subject": {"kind": "User", "name": "alice"}, "target": target,
                "startsAt": "2026-01-01T00:00:00.000000Z", "expiresAt": "2026-01-01T01:00:00.000000Z",
                "rulesHash": "sha256:0",
            },
            "status": {"phase": "Ending", "conditions": [ended]},
        }))
        .unwrap()
    }

    #[test]
    fn a_host_that_has_not_confirmed_an_end_is_told() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let host =
            json!({"endpoint": {"name": "web-1", "uid": "e", "localUser": "al", "admin": {}}});
        let grant_of = |target: &Value| GrantSummary::of(&grant(target));
        let told = unheard(&grant_of(&host), at("2026-01-01T00:15:00Z")).unwrap().message;
        insta::assert_snapshot!(told, @"the access of user alice on Endpoint web-1 was revoked 5m ago, which the host has not confirmed: until it hears of it, it goes on to 2026-01-01T01:00:00Z (in 45m) (Grant fix-0a)");
        assert_eq!(unheard(&grant_of(&host), at("2026-01-01T00:11:00Z")), None, "it is still new");
        assert_eq!(
            unheard(&grant_of(&host), at("2026-01-01T01:00:00Z")),
            None,
            "it is late by then"
        );
        let role = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "namespaces": ["shop"]}});
        assert_eq!(unheard(&grant_of(&role), at("2026-01-01T00:15:00Z")), None);
    }

    #[test]
    fn problems_that_are_not_named_are_problems() {
        let late = Check::Ends.problem("it is late", ACTION);
        let mut found = Many::default();
        found.extend(std::iter::repeat_n(late, NAMED + 3));
        let found = found.named(Check::Ends, more);
        let last = found.last().unwrap();
        assert_eq!((found.len(), last.outcome), (NAMED + 1, Outcome::Problem));
        assert_eq!(last.message, "3 more outlive their time");
    }

    #[test]
    fn a_binding_without_a_grant_is_told_with_its_place() {
        let metadata = json!({"name": "lapse:forged", "namespace": "shop", "uid": "b", "labels": {"app.kubernetes.io/managed-by": "lapse"}});
        let metadata = serde_json::from_value(metadata).unwrap();
        let told = without_grant(&ObjectMarks::of(RbacKind::RoleBinding, &metadata)).message;
        assert_eq!(told, "RoleBinding lapse:forged in shop exists, and no active Grant owns it");
    }
}
