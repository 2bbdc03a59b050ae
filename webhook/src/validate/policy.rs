//! Policies: one that cannot work is refused, one that is unwise is warned about.

use futures::future::join_all;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::Api;
use kube::core::DynamicObject;
use kube::core::admission::Operation;
use lapse_cluster::Reader;
use lapse_crds::{JitPolicy, PolicyMode, RoleKind, RoleRef};
use lapse_engine::policy::{PolicyState, lint, named_roles};

use crate::admission::{Admission, Admitted, NotAdmitted, Request};

/// Admits a policy.
pub(crate) async fn policy(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let Some(object) = &request.object else {
        return Err(NotAdmitted::Failed("The API server sent no object".to_owned()));
    };
    if is_housekeeping(request, object) {
        return Ok(Admitted::default());
    }
    let policy = decode(object)?;
    let mut warnings = lint(&policy.spec);
    match PolicyState::of(&policy, admission.reader().settings()).defect {
        None => {}
        // A policy that gives nothing can always be stored: the off switch must work when the
        // installation was narrowed since.
        Some(error) if policy.spec.mode == PolicyMode::Disabled => {
            warnings.push(format!("it cannot be switched on as it is: {error}"));
        }
        Some(error) => return Err(NotAdmitted::Invalid(error.to_string())),
    }
    let roles = named_roles(&policy.spec);
    let missing =
        roles.iter().map(|(role, namespaces)| missing(admission.reader(), role, namespaces));
    warnings.extend(join_all(missing).await.into_iter().flatten());
    Ok(Admitted { patch: None, warnings, done: "compiled" })
}

/// An update that leaves the spec alone, or that is part of a deletion. The installation may have
/// changed since the policy was made; its finalizers must go and its labels may change nevertheless.
fn is_housekeeping(request: &Request, object: &DynamicObject) -> bool {
    let old = request.old_object.as_ref();
    request.operation == Operation::Update
        && (object.metadata.deletion_timestamp.is_some()
            || old.is_some_and(|old| old.data.get("spec") == object.data.get("spec")))
}

fn decode(object: &DynamicObject) -> Result<JitPolicy, NotAdmitted> {
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|error| NotAdmitted::Invalid(format!("the policy cannot be read: {error}")))
}

/// Warns of a role that does not exist. It is no error: the role may come with the next manifest. What
/// cannot be looked up is no reason to warn.
async fn missing(reader: &Reader, role: &RoleRef, namespaces: &[String]) -> Option<String> {
    let there_is_no = |place: &str| {
        format!("there is no {role}{place}: requests for it are refused until it exists")
    };
    match role.kind {
        RoleKind::ClusterRole => {
            let api: Api<ClusterRole> = Api::all(reader.client().clone());
            let found = reader.get(api, &role.name).await;
            found.is_missing().then(|| there_is_no(""))
        }
        RoleKind::Role => {
            let look = |namespace: &String| {
                let api: Api<Role> = Api::namespaced(reader.client().clone(), namespace);
                let place = format!(" in namespace {namespace}");
                async move { reader.get(api, &role.name).await.is_missing().then_some(place) }
            };
            let places = join_all(namespaces.iter().map(look)).await;
            let place = places.into_iter().flatten().next()?;
            Some(there_is_no(&place))
        }
    }
}
