//! What exactly the role of a request allows.

use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessRequest, KubernetesTarget, RoleKind, RoleRef, RoleRule};
use lapse_engine::rules::compact;
use lapse_engine::target::Privilege;

use crate::output::plain;
use crate::session::Session;

/// The rules of the role, in words; or what there is to say instead.
pub(super) async fn allows(session: &Session, request: &AccessRequest) -> Result<String, String> {
    let (target, role) = role_of(request).map_err(ToOwned::to_owned)?;
    let client = session.client.clone();
    let what = format!("reading {role}");
    let rules = match role.kind {
        RoleKind::ClusterRole => {
            let api: Api<ClusterRole> = Api::all(client);
            session.call(what, api.get(&role.name)).await.map(|role| role.rules)
        }
        RoleKind::Role => {
            let own = request.namespace().unwrap_or_default();
            let namespace = target.namespaces.first().unwrap_or(&own);
            let api: Api<Role> = Api::namespaced(client, namespace);
            session.call(what, api.get(&role.name)).await.map(|role| role.rules)
        }
    };
    match rules {
        Ok(rules) => {
            let rules =
                compact(&rules.unwrap_or_default()).into_iter().map(RoleRule::from).collect();
            Ok(plain(&Privilege::Rules(rules).to_string()))
        }
        Err(fault) if fault.is_forbidden() => {
            Err(format!("what {role} allows, which you may not read"))
        }
        Err(fault) => Err(fault.to_string()),
    }
}

/// The role that is asked for, and where; or what is allowed without one, in words.
fn role_of(request: &AccessRequest) -> Result<(&KubernetesTarget, &RoleRef), &'static str> {
    let target = request.spec.target.kubernetes.as_ref().ok_or("what it names, on that host")?;
    Ok((target, target.role.as_ref().ok_or("only these rules")?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_no_role_is_told_in_words() {
        let of = |target: Value| {
            let request = json!({
                "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"name": "fix"},
                "spec": {"target": target},
            });
            let request: AccessRequest = serde_json::from_value(request).unwrap();
            role_of(&request).map(|(_, role)| role.to_string()).map_err(ToOwned::to_owned)
        };
        let edit = json!({"kind": "ClusterRole", "name": "edit"});
        assert_eq!(of(json!({"kubernetes": {"role": edit}})), Ok("ClusterRole edit".to_owned()));
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
        assert_eq!(of(json!({"kubernetes": {"rules": rules}})), Err("only these rules".to_owned()));
        let host = json!({"endpoint": {"name": "web-1", "admin": {}}});
        assert_eq!(of(host), Err("what it names, on that host".to_owned()));
    }
}
