//! The chart, by the real Helm and the real API server.

use std::path::PathBuf;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};
use lapse_e2e::plane::{InstallOptions, Plane, PlaneOptions, workspace};
use serde_json::json;

use crate::rendered::Rendered;
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
    let cases: [&[&str]; 4] = [
        &[],
        &[
            "--set",
            "webhook.url=https://127.0.0.1:9443",
            "--set",
            "controller.allowClusterWide=true",
        ],
        &["--set-json", "controller.bindableRoles=[]", "--set", "crds.install=false"],
        &[
            "--set",
            "networkPolicy.egress.enabled=true",
            "--set-json",
            r#"networkPolicy.egress.apiServerCIDRs=["10.96.0.1/32"]"#,
            "--set-json",
            "networkPolicy.metricsFrom=[]",
        ],
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

/// The definitions are generated and know no release; as objects of one they say of which.
#[tokio::test]
async fn every_object_carries_the_standard_labels() {
    let rendered = Rendered::with(&["controller.endWorkloads=true"]).await;
    let of_kind = |kind: &str| rendered.objects().iter().filter(|o| o["kind"] == kind).count();
    assert_eq!(of_kind("CustomResourceDefinition"), lapse_crds::all().len());
    for object in rendered.objects() {
        let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
        let labels = &object["metadata"]["labels"];
        for label in ["name", "instance", "version", "part-of", "managed-by"] {
            assert!(labels[format!("app.kubernetes.io/{label}")].is_string(), "{what}: {label}");
        }
        assert!(labels["helm.sh/chart"].is_string(), "{what}: helm.sh/chart");
        assert_eq!(labels["app.kubernetes.io/name"], "lapse", "{what}");
    }
}

/// Each program says which release it is.
#[tokio::test]
async fn both_programs_say_which_release_runs() {
    let world = World::shared("chart-release").await;
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    for component in world.lapse.controllers.iter().chain(&world.lapse.webhooks) {
        let said = component.counted("lapse_build_info", &[&version]).await.unwrap();
        assert!((said - 1.0).abs() < f64::EPSILON, "{said}");
    }
}

/// What the controller is told to look for is what the chart installs, with whatever values.
#[tokio::test]
async fn the_controller_looks_for_every_admission_policy_and_no_other() {
    for ends_workloads in [false, true] {
        let value = format!("controller.endWorkloads={ends_workloads}");
        let rendered = Rendered::with(&[&value]).await;
        let policies: Vec<ValidatingAdmissionPolicy> = rendered.all("ValidatingAdmissionPolicy");
        let mut names: Vec<String> = policies.iter().map(ResourceExt::name_any).collect();
        let bindings: Vec<ValidatingAdmissionPolicyBinding> =
            rendered.all("ValidatingAdmissionPolicyBinding");
        let mut enforced: Vec<String> = bindings.iter().map(ResourceExt::name_any).collect();
        for list in [&mut names, &mut enforced] {
            list.sort();
        }
        let mut expected = rendered.settings().admission_policies;
        expected.sort();
        assert_eq!((&names, &enforced), (&expected, &expected));
    }
}
