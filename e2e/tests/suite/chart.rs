//! The chart, by the real Helm and the real API server.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::PostParams;
use lapse_e2e::plane::{InstallOptions, Plane, PlaneOptions, eventually, workspace};
use serde_json::{Value, json};

use crate::rendered::Rendered;
use crate::world::{SOON, World, refused};

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
    // The values that the linter has, too.
    let everything = workspace::root().join(".ci/everything.yaml").display().to_string();
    let cases: [&[&str]; 5] = [
        &[],
        &["--values", &everything],
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
            "--set-json",
            r#"networkPolicy.egress.collectorTo=[{"podSelector":{}}]"#,
            "--set",
            "tracing.endpoint=http://otel:4318,tracing.samplingRatio=0.5",
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
        ("controller.replicas=0", "/controller/replicas"),
        ("guard=null", "guard"),
        ("controller.podLabels.team=a b", "/controller/podLabels/team"),
        ("controller.nodeSelector.pool=a/b", "/controller/nodeSelector/pool"),
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
    world.let_in(&world.alice).await;
    // Narrowing is never refused, and says which policies it switches off.
    let words = "these policies have what was started or entered under a grant deleted:\nupgraded.";
    let narrower = ["controller.endWorkloads=false"];
    assert!(!world.lapse.upgrade(&narrower).await.unwrap().contains("WARNING"));
    world.policy(json!({"session": {"onEnd": {"startedWorkloads": "Delete"}}})).await;
    let said = world.lapse.upgrade(&narrower).await.unwrap();
    assert!(said.contains(words), "{said}");
    assert!(!world.lapse.upgrade(&[]).await.unwrap().contains(words));
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
    // The audit log and the managers of fields say it, too.
    world.granted("fix", json!({})).await;
    let log = std::fs::read_to_string(world.lapse.plane().audit_log()).unwrap();
    let events: Vec<Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for program in ["lapse-controller", "lapse-webhook"] {
        let user = format!("system:serviceaccount:lapse-system:{program}");
        let agent = format!("{program}/{}", env!("CARGO_PKG_VERSION"));
        let mut of_it = events.iter().filter(|event| event["user"]["username"] == *user).peekable();
        assert!(of_it.peek().is_some(), "{program}");
        assert!(of_it.all(|event| {
            let said = event["userAgent"].as_str().unwrap_or_default();
            // The tests act in its name, too.
            said == agent || !said.starts_with("lapse")
        }));
        assert!(events.iter().any(|event| event["userAgent"] == *agent), "{program}");
    }
    let managers = world.grant("fix").await.metadata.managed_fields.unwrap();
    assert!(managers.iter().all(|entry| entry.manager.as_deref() == Some("lapse-controller")));
}

/// What the controller compares the cluster with is what the chart installs, with whatever values.
#[tokio::test]
async fn the_controller_looks_for_every_admission_object_and_no_other() {
    for ends_workloads in [false, true] {
        let value = format!("controller.endWorkloads={ends_workloads}");
        let rendered = Rendered::with(&[&value]).await;
        let mut installed: Vec<Value> = Vec::new();
        for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
            for object in rendered.all::<Value>(kind) {
                let name = &object["metadata"]["name"];
                installed.push(json!({"kind": kind, "name": name, "content": object["spec"]}));
            }
        }
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            for object in rendered.all::<Value>(kind) {
                let mut content = json!({});
                for webhook in object["webhooks"].as_array().unwrap() {
                    let mut rest = webhook.clone();
                    rest.as_object_mut()
                        .unwrap()
                        .retain(|key, _| key != "name" && key != "clientConfig");
                    content[webhook["name"].as_str().unwrap()] = rest;
                }
                let name = &object["metadata"]["name"];
                installed.push(json!({"kind": kind, "name": name, "content": content}));
            }
        }
        let mut expected = rendered.admission();
        for list in [&mut installed, &mut expected] {
            list.sort_by_key(|object| format!("{} {}", object["kind"], object["name"]));
        }
        assert!(installed.len() >= 40, "{}", installed.len());
        assert_eq!(expected, installed);
    }
}

/// What the document says of mending, done as it says, after changes of each kind: an upgrade alone would not take away
/// what was added.
#[tokio::test]
async fn what_is_changed_is_seen_and_mended() {
    let world = World::own("mended", InstallOptions::default()).await;
    let controller = &world.lapse.controllers[0];
    let counted = async |missing: f64, changed: f64| {
        eventually(&format!("{missing} missing and {changed} changed"), SOON, async || {
            let is_missing = controller.counted("lapse_admission_policies_missing", &[]).await?;
            let is_changed = controller.counted("lapse_admission_policies_changed", &[]).await?;
            let is_so = |a: f64, b: f64| (a - b).abs() < 0.5;
            Ok((is_so(is_missing, missing) && is_so(is_changed, changed)).then_some(()))
        })
        .await
        .unwrap();
    };
    let kubectl = async |args: &[&str]| world.kubectl(&world.admin, args, None).await.unwrap();
    let patched = async |what: &str, kind: &str, patch: &Value| {
        let (kind, patch) = (format!("--type={kind}"), patch.to_string());
        kubectl(&["patch", what, "lapse-grants", &kind, "--patch", &patch]).await
    };
    let policy = "validatingadmissionpolicy";
    let binding = "validatingadmissionpolicybinding";

    // The API server's defaults are no change, and neither is what the webhook writes.
    eventually("the first sweep", SOON, async || {
        let swept = controller.counted("lapse_clock_skew_seconds", &[]).await?;
        Ok((swept != 0.0).then_some(()))
    })
    .await
    .unwrap();
    counted(0.0, 0.0).await;

    patched(binding, "merge", &json!({"spec": {"validationActions": ["Audit"]}})).await;
    counted(0.0, 1.0).await;
    // It says that all is well, and is not: both merge the list.
    world.lapse.upgrade(&[]).await.unwrap();
    let actions = ["get", binding, "lapse-grants", "--output=jsonpath={.spec.validationActions}"];
    assert_eq!(kubectl(&actions).await, r#"["Audit","Deny"]"#);

    // One that replaces a value is refused, and what is added to a map or a list stays even if it is forced.
    let more = json!({"name": "never", "expression": "false"});
    patched(
        policy,
        "json",
        &json!([
            {"op": "replace", "path": "/spec/failurePolicy", "value": "Ignore"},
            {"op": "add", "path": "/spec/matchConditions/-", "value": more},
        ]),
    )
    .await;
    let here = json!({"matchLabels": {"a": "b"}});
    let patch = json!([{"op": "add", "path": "/webhooks/0/namespaceSelector", "value": here}]);
    let webhooks = ["patch", "validatingwebhookconfiguration", "lapse", "--type=json", "--patch"];
    kubectl(&[&webhooks[..], &[&patch.to_string()]].concat()).await;
    kubectl(&["delete", binding, "lapse-size"]).await;
    counted(1.0, 3.0).await;
    for words in [
        "ValidatingAdmissionPolicy lapse-grants: failurePolicy, matchConditions",
        "ValidatingAdmissionPolicyBinding lapse-grants: validationActions",
        "ValidatingWebhookConfiguration lapse: validate.lapse.dev.namespaceSelector",
        "ValidatingAdmissionPolicyBinding lapse-size",
    ] {
        eventually(&format!("the log to say {words:?}"), SOON, async || {
            let log = std::fs::read_to_string(&controller.process.spec().log)?;
            Ok(log.contains(words).then_some(()))
        })
        .await
        .unwrap();
    }
    refused(world.lapse.upgrade(&[]).await, "conflict with \"kubectl-patch\"");

    // What is changed is deleted; the upgrade makes it anew.
    kubectl(&["delete", &format!("{policy},{binding}"), "lapse-grants"]).await;
    kubectl(&["delete", "validatingwebhookconfiguration", "lapse"]).await;
    world.lapse.upgrade(&[]).await.unwrap();
    counted(0.0, 0.0).await;
    assert_eq!(kubectl(&actions).await, r#"["Deny"]"#);
    eventually("the webhook to have written where it is called", SOON, async || {
        let asked = world.request("asked", json!({}));
        let api: Api<lapse_crds::AccessRequest> = world.api(&world.alice);
        Ok(Some(api.create(&PostParams::default(), &asked).await?))
    })
    .await
    .unwrap();
    world.approve(&world.bob, "asked").await.unwrap();
    world.phase("asked", lapse_crds::RequestPhase::Active).await;
}
