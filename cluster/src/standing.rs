//! Who holds privileges that do not lapse: lists the cluster roles and all bindings, page by page, and keeps of them
//! the names of privileged roles and of who is bound to them.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_crds::{MANAGED_BY, MANAGED_BY_LAPSE};
use lapse_engine::standing::{PrivilegedRoles, StandingBinding, StandingSubjects};
use serde::de::DeserializeOwned;

use crate::call::{CallError, bounded_by, next_page, rest_of_list};

/// How many objects are listed at once.
const PAGE: u32 = 500;

/// Lists them, with at most so long for each page. `named` are the cluster roles that count as privileged besides those
/// that allow everything.
pub async fn standing_subjects(
    client: &Client,
    named: &[String],
    limit: Duration,
) -> Result<StandingSubjects, CallError> {
    let mut privileged = PrivilegedRoles::named(named.iter().cloned());
    pages::<ClusterRole>(client, limit, |role| {
        privileged.look_at(&role.name_any(), role.rules.as_deref().unwrap_or_default());
    })
    .await?;
    let mut standing = StandingSubjects::default();
    pages::<ClusterRoleBinding>(client, limit, |binding| {
        let subjects = binding.subjects.as_deref().unwrap_or_default();
        let (name, role) = (&*binding.name_any(), &binding.role_ref);
        standing.bound(&privileged, StandingBinding { namespace: None, name, role, subjects });
    })
    .await?;
    pages::<RoleBinding>(client, limit, |binding| {
        let subjects = binding.subjects.as_deref().unwrap_or_default();
        let namespace = binding.metadata.namespace.as_deref();
        let (name, role) = (&*binding.name_any(), &binding.role_ref);
        standing.bound(&privileged, StandingBinding { namespace, name, role, subjects });
    })
    .await?;
    Ok(standing)
}

/// Calls `each` for every object of a kind that is not Lapse's. The three lists are as of three moments anyway: one that
/// takes longer than the API server keeps a state of it goes on as it is then.
async fn pages<K>(
    client: &Client,
    limit: Duration,
    mut each: impl FnMut(&K),
) -> Result<(), CallError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let others = format!("{MANAGED_BY}!={MANAGED_BY_LAPSE}");
    let mut params = ListParams::default().labels(&others).limit(PAGE);
    let mut is_rest = false;
    loop {
        let what = format!("listing {}s", K::kind(&()));
        let page = match bounded_by(limit, what, api.list(&params)).await {
            Ok(page) => page,
            Err(error) => {
                let rest = error.answer().and_then(|answer| rest_of_list(&params, answer));
                // One page at least lies between two of them, so that this ends.
                params = rest.filter(|_| !is_rest).ok_or(error)?;
                is_rest = true;
                continue;
            }
        };
        is_rest = false;
        page.items.iter().for_each(&mut each);
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    fn expired(rest: &str) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
            "message": "the continue token is too old", "metadata": {"continue": rest},
        })
    }

    /// Bindings of olga and of otto on two pages; between them the API server has dropped the state of the first, and does
    /// so again before the rest if it `never_keeps` one.
    fn many_bindings(never_keeps: bool) -> Client {
        let page = |name: &str, next: &str| {
            let binding = json!({
                "metadata": {"name": format!("{name}-for-good")},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
            });
            json!({"metadata": {"continue": next}, "items": [binding]})
        };
        let service = tower::service_fn(move |asked: Request<Body>| {
            let (path, query) = (asked.uri().path(), asked.uri().query().unwrap_or_default());
            let body = match path.rsplit('/').next() {
                Some("clusterrolebindings") if query.contains("continue=old") => expired("rest"),
                Some("clusterrolebindings") if query.contains("continue=rest") && never_keeps => {
                    expired("rest")
                }
                Some("clusterrolebindings") if query.contains("continue=rest") => page("otto", ""),
                Some("clusterrolebindings") => page("olga", "old"),
                _ => json!({"metadata": {}, "items": []}),
            };
            let code = body["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            let answer = Response::builder().status(code.unwrap_or(200));
            let answer = answer.body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(answer.unwrap()) }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_list_that_outlasts_its_state_goes_on_as_it_is_then() {
        let (named, limit) = (["admin".to_owned()], Duration::from_secs(1));
        let standing = standing_subjects(&many_bindings(false), &named, limit).await.unwrap();
        let found: Vec<String> =
            standing.holders().map(|holder| holder.subject.name.clone()).collect();
        assert_eq!(found, ["olga", "otto"]);
        let error = standing_subjects(&many_bindings(true), &named, limit).await.unwrap_err();
        assert!(error.to_string().contains("the continue token is too old"), "{error}");
    }
}
