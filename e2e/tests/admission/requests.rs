//! Requests: stamped, signed, and never changed.

use kube::Api;
use kube::api::{Patch, PatchParams};
use lapse_crds::{ATTESTATION, AccessRequest};
use serde_json::{Value, json};

use crate::town::{Town, message};

#[tokio::test]
async fn a_request_says_who_made_it_whatever_its_manifest_says() {
    let town = Town::shared("stamped").await;
    let claim = json!({"requester": {"username": "olga", "groups": ["system:masters"]}});
    let request = town.request("fix", &claim);
    let created: AccessRequest = town.create(&town.alice, &request).await.unwrap();
    let requester = created.spec.requester.unwrap();
    assert_eq!(requester.username, "alice");
    assert_eq!(requester.groups, ["shop-developers", "system:authenticated"]);
    assert!(requester.credential_id.unwrap().starts_with("X509SHA256="));
    town.attested::<AccessRequest>("fix").await.unwrap();
}

#[tokio::test]
async fn a_service_account_asks_as_itself() {
    let town = Town::shared("robots").await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "robot-asks", "namespace": "robots"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lapse:requester"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "robots"}],
    });
    town.kubectl(&town.admin, &["apply", "-f", "-"], &binding).await.ok().unwrap();
    let robot = town.lapse.plane().service_account("robots", "default").await.unwrap();
    let ask = json!({
        "verb": "create", "group": "lapse.dev", "resource": "accessrequests", "namespace": "robots",
    });
    town.authorized(&robot, &ask).await;
    let request = town.request("deploy", &json!({}));
    let created: AccessRequest = town.create(&robot, &request).await.unwrap();
    let requester = created.spec.requester.unwrap();
    assert_eq!(requester.username, "system:serviceaccount:robots:default");
    assert!(requester.groups.contains(&"system:serviceaccounts:robots".to_owned()));
    assert!(requester.uid.is_some() && requester.credential_id.unwrap().starts_with("JTI="));
    town.attested::<AccessRequest>("deploy").await.unwrap();
}

#[tokio::test]
async fn a_dry_run_is_stamped_and_not_signed() {
    let town = Town::shared("dry").await;
    let mut request = town.request("fix", &json!({}));
    request["metadata"]["annotations"] = json!({ATTESTATION: "from an earlier export"});
    for args in [
        &["create", "--dry-run=server", "-o", "json", "-f", "-"][..],
        &["apply", "--dry-run=server", "-o", "json", "-f", "-"],
        &["apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-"],
    ] {
        let answer = town.kubectl(&town.alice, args, &request).await.ok().unwrap();
        let shown: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(shown["spec"]["requester"]["username"], "alice");
        assert!(shown["metadata"]["annotations"].get(ATTESTATION).is_none(), "{shown}");
    }
    let api: Api<AccessRequest> = town.api(&town.admin);
    assert!(api.get_opt("fix").await.unwrap().is_none());
}

#[tokio::test]
async fn the_same_manifest_again_changes_nothing() {
    let town = Town::shared("again").await;
    let api: Api<AccessRequest> = town.api(&town.admin);
    for (name, args) in [
        ("client-side", &["apply", "-f", "-"][..]),
        ("server-side", &["apply", "--server-side", "-f", "-"]),
    ] {
        let manifest = town.request(name, &json!({}));
        town.kubectl(&town.alice, args, &manifest).await.ok().unwrap();
        let first = api.get(name).await.unwrap();
        town.kubectl(&town.alice, args, &manifest).await.ok().unwrap();
        let mut second = api.get(name).await.unwrap();
        // Before anybody has looked at it, the API server stores with the next write what it fills in of the status.
        second.metadata.resource_version.clone_from(&first.metadata.resource_version);
        assert_eq!(first, second, "{name}");
        town.attested::<AccessRequest>(name).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_asked_cannot_be_changed() {
    let town = Town::shared("fixed").await;
    town.ask("fix").await;
    let api: Api<AccessRequest> = town.api(&town.admin);
    let patch = async |patch: Value| {
        let patched = api.patch("fix", &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(message)
    };
    let error = patch(json!({"spec": {"duration": "8h"}})).await.unwrap_err();
    assert!(error.contains("cannot be changed"), "{error}");
    let error = patch(json!({"spec": {"requester": {"username": "olga"}}})).await.unwrap_err();
    assert!(error.contains("cannot be changed"), "{error}");
    for stolen in [json!(null), json!("{}")] {
        let annotations = json!({"metadata": {"annotations": {ATTESTATION: stolen}}});
        let error = patch(annotations).await.unwrap_err();
        assert!(error.contains("signature"), "{error}");
    }
    patch(json!({"metadata": {"labels": {"team": "shop"}}})).await.unwrap();
    town.attested::<AccessRequest>("fix").await.unwrap();
}

#[tokio::test]
async fn what_the_schema_refuses_is_explained_by_the_schema() {
    let town = Town::shared("schema").await;
    for (change, expected) in [
        (json!({"duration": "5 minutes"}), "spec.duration"),
        (json!({"target": {}}), "a target has exactly one kind"),
        (json!({"target": null}), "spec.target: Required value"),
        (json!({"reason": 7}), "spec.reason"),
    ] {
        let request = town.request("wrong", &change);
        let error = town.create::<AccessRequest>(&town.alice, &request).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("webhook") && !error.contains("stamp"), "{error}");
    }
}
