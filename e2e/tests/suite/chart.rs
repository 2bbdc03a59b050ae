//! The chart, by the real Helm and the real API server.

use std::path::PathBuf;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::PostParams;
use lapse_e2e::plane::{InstallOptions, Plane, PlaneOptions, workspace};
use serde_json::json;

use crate::world::World;

fn chart() -> PathBuf {
    workspace::root().join("charts/lapse")
}

#[tokio::test]
async fn lints_and_its_output_is_accepted() {
    // A control plane without Lapse: what is dry run is what a first installation makes.
    let plane = Plane::start(PlaneOptions::default()).await.unwrap();
    let admin = plane.admin().await.unwrap();
    let chart = chart();
    let chart = chart.to_str().unwrap();
    plane.kubectl(&admin, &["create", "namespace", "lapse-system"]).await.unwrap().ok().unwrap();
    plane.helm(&["lint", "--strict", chart]).await.unwrap().ok().unwrap();
    let cases: [&[&str]; 3] = [
        &[],
        &[
            "--set",
            "webhook.url=https://127.0.0.1:9443",
            "--set",
            "controller.allowClusterWide=true",
        ],
        &["--set-json", "controller.bindableRoles=[]", "--set", "crds.install=false"],
    ];
    for values in cases {
        let mut args = vec!["template", "lapse", chart, "--namespace", "lapse-system"];
        args.extend(values);
        let manifests = plane.helm(&args).await.unwrap().ok().unwrap();
        let dry_run =
            ["apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", "-"];
        let answer = plane.kubectl_with_input(&admin, &dry_run, Some(&manifests)).await.unwrap();
        assert!(!answer.stderr.contains("violate"), "pod security: {}", answer.stderr);
        answer.ok().unwrap();
    }
    plane.stop().await.unwrap();
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused_with_their_name() {
    let world = World::shared("chart-values").await;
    let chart = chart();
    let cases = [
        ("duration.min=5", "/duration/min"),
        ("duration.min=48h", "duration"),
        ("no.such.value=1", "no"),
        ("webhook.url=http://example.com", "/webhook/url"),
        ("controller.replicas=-1", "/controller/replicas"),
    ];
    for (value, words) in cases {
        let args = [
            "template",
            "lapse",
            chart.to_str().unwrap(),
            "--namespace",
            "lapse-system",
            "--set",
            value,
        ];
        let answer = world.lapse.plane().helm(&args).await.unwrap();
        assert!(!answer.success(), "{value} was accepted");
        assert!(answer.stderr.contains(words), "{value}: {}", answer.stderr);
    }
}

/// An upgrade leaves what the webhook made: keys, path, published keys. What was signed stays valid.
#[tokio::test]
async fn an_upgrade_keeps_keys_and_grants() {
    let world = World::own("upgraded", InstallOptions::default()).await;
    world.granted("held", json!({})).await;
    world.ask("waiting", json!({})).await;
    let secrets: Api<Secret> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    let maps: Api<ConfigMap> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    let before = secrets.get("lapse-webhook-keys").await.unwrap().data;
    let published = maps.get("lapse-attestation-keys").await.unwrap().data;
    assert!(before.as_ref().is_some_and(|data| !data.is_empty()));
    world.lapse.upgrade(&["controller.replicas=3"]).await.unwrap();
    assert_eq!(secrets.get("lapse-webhook-keys").await.unwrap().data, before);
    assert_eq!(maps.get("lapse-attestation-keys").await.unwrap().data, published);
    world.approve(&world.bob, "waiting").await.unwrap();
    world.phase("waiting", lapse_crds::RequestPhase::Active).await;
    assert!(world.can_write(&world.alice).await);
}

/// What the components must never be able to do, asked of the API server's own authorizer.
#[tokio::test]
async fn the_components_hold_no_more_than_they_need() {
    let world = World::shared("least-rights").await;
    let rbac = "rbac.authorization.k8s.io";
    let admission = "admissionregistration.k8s.io";
    let of_both = [
        ("", "get", "secrets", "default"),
        ("", "list", "secrets", ""),
        ("", "create", "pods", "default"),
        ("", "impersonate", "users", ""),
        ("", "create", "serviceaccounts/token", "lapse-system"),
        (rbac, "escalate", "clusterroles", ""),
        (rbac, "update", "clusterroles", ""),
        (rbac, "patch", "roles", "default"),
        (rbac, "update", "rolebindings", "default"),
        (rbac, "patch", "clusterrolebindings", ""),
        (admission, "update", "validatingadmissionpolicies", ""),
        (admission, "delete", "validatingwebhookconfigurations", ""),
        ("apiextensions.k8s.io", "update", "customresourcedefinitions", ""),
        ("apps", "update", "deployments", "lapse-system"),
        ("lapse.dev", "create", "accessrequests", "default"),
        ("lapse.dev", "create", "accessdecisions", "default"),
        ("lapse.dev", "update", "jitpolicies", ""),
        ("lapse.dev", "approve", "jitpolicies", ""),
    ];
    let of_controller = [
        ("", "get", "secrets", "lapse-system"),
        (admission, "update", "mutatingwebhookconfigurations", ""),
    ];
    let of_webhook = [
        (rbac, "create", "rolebindings", "default"),
        (rbac, "bind", "clusterroles", ""),
        (rbac, "create", "clusterroles", ""),
        ("", "update", "configmaps", "default"),
        ("lapse.dev", "create", "grants", ""),
        ("lapse.dev", "delete", "accessdecisions", "default"),
        ("lapse.dev", "update", "accessrequests/status", "default"),
        (admission, "create", "mutatingwebhookconfigurations", ""),
    ];
    let cases = [("lapse-controller", &of_controller[..]), ("lapse-webhook", &of_webhook[..])];
    for (account, own) in cases {
        for right in of_both.iter().chain(own) {
            assert!(!allowed(&world, account, *right).await, "{account} may {right:?}");
        }
    }
    // That the question is asked rightly shows in what they do need.
    assert!(allowed(&world, "lapse-controller", (rbac, "create", "rolebindings", "default")).await);
    assert!(
        allowed(&world, "lapse-webhook", ("lapse.dev", "get", "accessrequests", "default")).await
    );
}

async fn allowed(
    world: &World,
    account: &str,
    (group, verb, resource, namespace): (&str, &str, &str, &str),
) -> bool {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        verb: Some(verb.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        namespace: Some(namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:lapse-system:{account}")),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                "system:serviceaccounts:lapse-system".to_owned(),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(world.admin.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    answer.status.is_some_and(|status| status.allowed)
}
