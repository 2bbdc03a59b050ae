//! What the components must not do, tried with their own tokens.

use http::Request;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use lapse_cluster::rights::Component;
use lapse_e2e::plane::{InstallOptions, Lapse, PlaneOptions, User, eventually};
use serde_json::{Value, json};

use crate::rbac;
use crate::world::{SOON, World, refused, typed};

const CORE: &str = "/api/v1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const LAPSE: &str = "/apis/lapse.dev/v1alpha1";
const OWN: &str = "namespaces/lapse-system";

/// A request that must be refused.
struct Try {
    method: &'static str,
    path: String,
    body: Value,
    /// Who is impersonated, if anybody.
    impersonate: Option<&'static str>,
    /// Whether the administrator would be let through, so that only the right is missing.
    sound: bool,
}

/// A request that an administrator may make.
fn ask(method: &'static str, path: impl Into<String>, body: Value) -> Try {
    Try { method, path: path.into(), body, impersonate: None, sound: true }
}

/// A request that admission refuses the administrator, too, or that names nothing that exists.
fn alone(method: &'static str, path: impl Into<String>, body: Value) -> Try {
    Try { sound: false, ..ask(method, path, body) }
}

/// The status and the message of the answer. Nothing is stored.
async fn answer(who: &User, of: &Try) -> (u16, String) {
    let separator = if of.path.contains('?') { '&' } else { '?' };
    let uri = match of.method {
        "GET" => of.path.clone(),
        _ => format!("{}{separator}dryRun=All", of.path),
    };
    let media = match of.method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let mut request = Request::builder().method(of.method).uri(uri).header("content-type", media);
    if let Some(user) = of.impersonate {
        request = request.header("Impersonate-User", user);
    }
    let body = if of.body.is_null() { Vec::new() } else { of.body.to_string().into_bytes() };
    match who.client.request_text(request.body(body).unwrap()).await {
        Ok(text) => (200, text),
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        Err(error) => panic!("{} {}: {error}", of.method, of.path),
    }
}

/// What neither may do. None of it is on the list, or near to anything that is.
fn neither(world: &World) -> Vec<Try> {
    let ns = &world.ns;
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    let rules = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let container = json!({"name": "c", "image": "i"});
    let token = json!({"spec": {"expirationSeconds": 3600}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}});
    let of_webhook = json!({"kubernetes.io/service-account.name": "lapse-webhook"});
    let secret = json!({
        "metadata": {"name": "s", "annotations": of_webhook},
        "type": "kubernetes.io/service-account-token",
    });
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let review = ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review);
    let decision = json!({"request": {"name": "fix"}, "verdict": "Approve"});
    let decision = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "d"}, "spec": decision,
    });
    let request = serde_json::to_value(world.request("asked", json!({}))).unwrap();
    let binding = json!({"metadata": {"name": "b"}, "roleRef": rbac::cluster_role("view"), "subjects": [rbac::user("mallory")]});
    vec![
        ask("GET", format!("{CORE}/secrets"), Value::Null),
        ask("GET", format!("{CORE}/{OWN}/secrets"), Value::Null),
        ask("GET", format!("{CORE}/{OWN}/secrets/sh.helm.release.v1.lapse.v1"), Value::Null),
        ask("GET", format!("{CORE}/namespaces/{ns}/secrets"), Value::Null),
        ask("POST", format!("{CORE}/{OWN}/secrets"), secret),
        ask("POST", format!("{CORE}/{OWN}/pods"), pod.clone()),
        ask("POST", format!("{CORE}/namespaces/{ns}/pods"), pod),
        alone("POST", format!("{CORE}/namespaces/{ns}/pods/p/exec?command=sh"), Value::Null),
        ask("POST", format!("{CORE}/{OWN}/serviceaccounts/lapse-controller/token"), token.clone()),
        ask("POST", format!("{CORE}/{OWN}/serviceaccounts/lapse-webhook/token"), token.clone()),
        ask("POST", format!("{CORE}/namespaces/{ns}/serviceaccounts/default/token"), token),
        ask("PATCH", format!("{CORE}/{OWN}/serviceaccounts/lapse-controller"), label.clone()),
        ask("PATCH", format!("{CORE}/namespaces/{ns}"), label.clone()),
        ask("PATCH", format!("{CORE}/{OWN}/configmaps/lapse-settings"), json!({"data": {"x": ""}})),
        Try { impersonate: Some("admin"), ..review },
        Try {
            impersonate: Some("system:serviceaccount:lapse-system:lapse-controller"),
            ..ask("GET", format!("{LAPSE}/grants"), Value::Null)
        },
        ask(
            "PATCH",
            "/apis/apps/v1/namespaces/lapse-system/deployments/lapse-controller",
            label.clone(),
        ),
        ask(
            "PATCH",
            "/apis/apps/v1/namespaces/lapse-system/deployments/lapse-webhook",
            label.clone(),
        ),
        ask("DELETE", "/apis/batch/v1/namespaces/lapse-system/cronjobs/lapse-sweep", Value::Null),
        ask("PATCH", format!("{RBAC}/clusterroles/lapse-controller"), rules.clone()),
        ask("PATCH", format!("{RBAC}/clusterroles/lapse-webhook"), rules.clone()),
        ask("PATCH", format!("{RBAC}/{OWN}/roles/lapse-webhook"), rules.clone()),
        ask("PATCH", format!("{RBAC}/clusterroles/view"), rules.clone()),
        ask("PATCH", format!("{RBAC}/clusterrolebindings/lapse-controller"), label.clone()),
        ask("PATCH", format!("{RBAC}/namespaces/{ns}/rolebindings/{ns}-developers"), label.clone()),
        ask("DELETE", format!("{RBAC}/namespaces/{ns}/rolebindings"), Value::Null),
        ask("POST", format!("{RBAC}/namespaces/{ns}/rolebindings"), binding.clone()),
        ask("POST", format!("{RBAC}/clusterrolebindings"), binding),
        ask(
            "PATCH",
            format!("{ADMISSION}/validatingadmissionpolicies/lapse-grants"),
            label.clone(),
        ),
        ask(
            "DELETE",
            format!("{ADMISSION}/validatingadmissionpolicybindings/lapse-grants"),
            Value::Null,
        ),
        ask("DELETE", format!("{ADMISSION}/validatingwebhookconfigurations/lapse"), Value::Null),
        ask(
            "POST",
            format!("{ADMISSION}/mutatingwebhookconfigurations"),
            json!({"metadata": {"name": "own"}}),
        ),
        ask(
            "PATCH",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/grants.lapse.dev",
            label.clone(),
        ),
        alone(
            "PATCH",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests/c/approval",
            label.clone(),
        ),
        alone(
            "PATCH",
            format!("{LAPSE}/namespaces/{ns}/accessrequests/fix"),
            json!({"spec": {"reason": "another one"}}),
        ),
        ask("POST", format!("{LAPSE}/namespaces/{ns}/accessrequests"), request),
        alone("POST", format!("{LAPSE}/namespaces/{ns}/accessdecisions"), decision),
        ask("PATCH", format!("{LAPSE}/jitpolicies/{ns}"), json!({"spec": {"priority": 7}})),
        ask("DELETE", format!("{LAPSE}/jitpolicies/{ns}"), Value::Null),
        alone("GET", format!("{CORE}/nodes/n/proxy/pods"), Value::Null),
    ]
}

/// What the controller may not do, near to what it may.
fn controller(world: &World) -> Vec<Try> {
    let ns = &world.ns;
    let marks = json!({
        "name": "lapse:stolen",
        "labels": {"app.kubernetes.io/managed-by": "lapse", "lapse.dev/grant": "x"},
        "annotations": {"lapse.dev/grant-uid": "x"},
    });
    let binding = |metadata: &Value, role: &str| json!({"metadata": metadata, "roleRef": rbac::cluster_role(role), "subjects": [rbac::user("mallory")]});
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    let mut renamed = marks.clone();
    renamed["name"] = json!("stolen");
    let bindings = format!("{RBAC}/namespaces/{ns}/rolebindings");
    let wide = format!("{RBAC}/clusterrolebindings");
    let key = json!({"data": {"0123456789abcdef": "{}"}});
    let hooks = json!({"webhooks": []});
    let configuration = |kind: &str| format!("{ADMISSION}/{kind}webhookconfigurations/lapse");
    vec![
        ask("GET", format!("{CORE}/{OWN}/secrets/lapse-webhook-keys"), Value::Null),
        alone("PATCH", format!("{CORE}/{OWN}/configmaps/lapse-attestation-keys"), key),
        ask("PATCH", configuration("validating"), hooks.clone()),
        ask("PATCH", configuration("mutating"), hooks),
        // More than it holds, a role that is not on its list, names that are not its own.
        alone("POST", format!("{RBAC}/clusterroles"), json!({"metadata": marks, "rules": rules})),
        alone("POST", bindings.clone(), binding(&marks, "system:node")),
        alone("POST", wide.clone(), binding(&marks, "system:node")),
        alone("POST", bindings.clone(), binding(&renamed, "view")),
        alone("POST", wide.clone(), binding(&renamed, "view")),
        // What others bound, and what it is itself.
        ask("DELETE", format!("{bindings}/{ns}-developers"), Value::Null),
        ask("DELETE", format!("{wide}/{ns}-approve"), Value::Null),
        ask("DELETE", format!("{wide}/cluster-admin"), Value::Null),
        ask("DELETE", format!("{wide}/lapse-webhook"), Value::Null),
        ask("DELETE", format!("{RBAC}/clusterroles/lapse-controller"), Value::Null),
        ask("DELETE", format!("{RBAC}/clusterroles/lapse:approver"), Value::Null),
        ask("DELETE", format!("{RBAC}/{OWN}/roles/lapse-webhook"), Value::Null),
        ask("DELETE", format!("{LAPSE}/grants"), Value::Null),
        ask(
            "DELETE",
            "/apis/coordination.k8s.io/v1/namespaces/lapse-system/leases/lapse-controller",
            Value::Null,
        ),
    ]
}

/// What the webhook may not do, near to what it may.
fn webhook(world: &World) -> Vec<Try> {
    let ns = &world.ns;
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    let ended = json!({"status": {"phase": "Ended"}});
    let lease = "/apis/coordination.k8s.io/v1/namespaces/lapse-system/leases/lapse-controller";
    let grant =
        json!({"apiVersion": "lapse.dev/v1alpha1", "kind": "Grant", "metadata": {"name": "g"}});
    vec![
        ask("GET", format!("{CORE}/{OWN}/configmaps"), Value::Null),
        ask("DELETE", format!("{CORE}/{OWN}/secrets/lapse-webhook-keys"), Value::Null),
        ask("PATCH", lease, label),
        alone("POST", format!("{LAPSE}/grants"), grant),
        alone("PUT", format!("{LAPSE}/grants/g/status"), ended.clone()),
        ask("DELETE", format!("{LAPSE}/grants"), Value::Null),
        alone("PATCH", format!("{LAPSE}/namespaces/{ns}/accessrequests/fix/status"), ended),
        alone("DELETE", format!("{LAPSE}/namespaces/{ns}/accessdecisions/d"), Value::Null),
        ask("DELETE", format!("{LAPSE}/namespaces/{ns}/accessrequests/fix"), Value::Null),
        alone("DELETE", format!("{RBAC}/namespaces/{ns}/rolebindings/lapse:x"), Value::Null),
    ]
}

#[tokio::test]
async fn what_a_component_must_not_do_is_refused() {
    let world = World::shared("least-refused").await;
    world.ask("fix", json!({})).await;
    let plane = world.lapse.plane();
    let mut wrong = Vec::new();
    // The gateway has tests of its own, where there is one.
    for component in [Component::Controller, Component::Webhook] {
        let thief = plane.service_account("lapse-system", component.account()).await.unwrap();
        let own = match component {
            Component::Controller => controller(&world),
            Component::Webhook => webhook(&world),
            Component::Gateway => continue,
        };
        for tried in neither(&world).into_iter().chain(own) {
            let what = format!("{} {} as {component:?}", tried.method, tried.path);
            let (code, said) = answer(&thief, &tried).await;
            let why = ["cannot", "ValidatingAdmissionPolicy", "not currently held"];
            if code != 403 || !why.iter().any(|words| said.contains(words)) {
                wrong.push(format!("{what}: {code} {said}"));
            }
            // Else the refusal would prove nothing: the request could be wrong in itself.
            let (code, said) = answer(&world.admin, &tried).await;
            if tried.sound && code >= 300 {
                wrong.push(format!("{what}, and as an administrator: {code} {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Labels of Lapse on what others bound, from before the policies that keep them stood: it goes by name.
#[tokio::test]
async fn a_stolen_token_deletes_no_foreign_binding_by_its_labels() {
    let options = InstallOptions { controllers: 0, webhooks: 0, ..InstallOptions::default() };
    let lapse = Lapse::start(PlaneOptions::default(), options).await.unwrap();
    let plane = lapse.plane();
    let admin = plane.admin().await.unwrap();
    let thief = plane.service_account("lapse-system", "lapse-controller").await.unwrap();
    let reserved = "validatingadmissionpolicybinding/lapse-rbac-reserved";
    plane.kubectl(&admin, &["delete", reserved]).await.unwrap().ok().unwrap();
    let labels = json!({"app.kubernetes.io/managed-by": "lapse", "lapse.dev/grant": "x"});
    let binding: RoleBinding = typed(json!({
        "metadata": {
            "name": "somebody-elses", "labels": labels, "annotations": {"lapse.dev/grant-uid": "x"},
        },
        "roleRef": rbac::cluster_role("view"), "subjects": [rbac::user("mallory")],
    }));
    let bindings: Api<RoleBinding> = Api::namespaced(admin.client.clone(), "default");
    eventually("the labels to be let through", SOON, async || {
        Ok(Some(bindings.create(&PostParams::default(), &binding).await?))
    })
    .await
    .unwrap();
    let stolen: Api<RoleBinding> = Api::namespaced(thief.client.clone(), "default");
    // The API server learns of a policy a little after it was written.
    let dry_run = DeleteParams { dry_run: true, ..DeleteParams::default() };
    eventually("the policies to be in force", SOON, async || {
        Ok(stolen.delete("somebody-elses", &dry_run).await.err())
    })
    .await
    .unwrap();
    let deleted = stolen.delete("somebody-elses", &DeleteParams::default()).await;
    refused(deleted.map_err(Into::into), "lapse-controller-rbac");
    assert!(bindings.get_opt("somebody-elses").await.unwrap().is_some());
}
