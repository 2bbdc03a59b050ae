//! What the programs serve beside their work: metrics and health.

use std::collections::BTreeSet;

use lapse_e2e::plane::component::Component;
use lapse_e2e::plane::{InstallOptions, eventually, promtool};
use serde_json::json;

use crate::rbac;
use crate::world::{SOON, World};

/// The labels that there are. Each has few values.
const LABELS: [&str; 10] = [
    "kind",
    "le",
    "operation",
    "outcome",
    "ready",
    "reason",
    "scope",
    "state",
    "version",
    "webhook",
];

/// Names and values of the labels in a text of metrics.
fn labels(text: &str) -> BTreeSet<(String, String)> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sets = samples.filter_map(|line| line.split_once('{')?.1.rsplit_once('}'));
    let pairs =
        sets.flat_map(|(set, _)| set.split("\",")).filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned())).collect()
}

/// By the conventions of Prometheus, with help, and with nobody's name in it, however much happened.
#[tokio::test]
async fn what_is_served_follows_the_conventions() {
    let world = World::shared("metrics-conventions").await;
    let given = world.granted("given", json!({})).await;
    world.ask("denied", json!({})).await;
    world.decide(&world.bob, "denied", json!({"verdict": "Deny"})).await.unwrap();
    world.decide(&world.bob, "given", json!({"verdict": "Deny"})).await.unwrap();
    world.ended(&given.grant.unwrap().name).await;
    for component in world.lapse.components() {
        let text = component.metrics_text().await.unwrap();
        let said = promtool(&["check", "metrics"], Some(&text)).await.unwrap();
        assert!(said.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
        let labels = labels(&text);
        let names: BTreeSet<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
        let unknown: Vec<_> = names.iter().filter(|name| !LABELS.contains(name)).collect();
        assert!(unknown.is_empty(), "labels {unknown:?}");
        for (name, value) in &labels {
            for own in [&world.ns, &world.alice.name, &world.bob.name, "given", "denied"] {
                assert!(!value.contains(own), "{name}={value}");
            }
        }
    }
}

/// What there is, as the sweep counts it.
#[tokio::test]
async fn the_controller_says_what_there_is() {
    let role = ["kind=ClusterRole", "name=mend"];
    let set = role.map(|value| format!("controller.bindableRoles[4].{value}")).to_vec();
    let world = World::own("metrics-gauges", InstallOptions { set, ..Default::default() }).await;
    let controller = &world.lapse.controllers[0];
    let counted = async |name: &str, labels: &[&str], expected: f64| {
        eventually(&format!("{name} {labels:?} to be {expected}"), SOON, async || {
            let found = controller.counted(name, labels).await?;
            Ok(((found - expected).abs() < 0.5).then_some(()))
        })
        .await
        .unwrap();
    };
    world.granted("one", json!({})).await;
    world.granted("two", json!({"target": view()})).await;
    counted("lapse_grants_active", &[], 2.0).await;
    counted("lapse_subjects_active", &["scope=\"namespace\""], 1.0).await;
    counted("lapse_subjects_active", &["scope=\"cluster\""], 0.0).await;
    counted("lapse_policies", &["ready=\"True\""], 1.0).await;

    // A policy whose role is gone.
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]);
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "mend"}, "rules": rules,
        }))
        .await;
    let target = json!({"roles": [{"kind": "ClusterRole", "name": "mend"}], "namespaces": {"names": [world.ns]}});
    world.policy_named("mending", json!({"targets": [{"kubernetes": target}]})).await;
    counted("lapse_policies", &["ready=\"True\""], 2.0).await;
    world.kubectl(&world.admin, &["delete", "clusterrole", "mend"], None).await.unwrap();
    counted("lapse_policies", &["ready=\"False\""], 1.0).await;
    assert!(swept(controller).await > 0.0);
    let failed = controller.counted("lapse_sweeps_total", &["outcome=\"failed\""]).await.unwrap();
    assert!(failed < 0.5, "{failed}");
}

/// Each says what it looks at, as a kubelet and as a person asks.
#[tokio::test]
async fn each_program_says_that_it_is_alive_and_ready() {
    let world = World::shared("health").await;
    let of = [
        (
            &world.lapse.controllers[0],
            &["deadlines", "queue", "sweep", "reconciliations", "lease"][..],
            &["watches"][..],
            "lapse_ready",
        ),
        (
            &world.lapse.webhooks[0],
            &["admission", "keys"],
            &["keys", "configurations", "objects", "own-call"],
            "lapse_webhook_ready",
        ),
    ];
    for (component, alive, ready, gauge) in of {
        for (path, checks) in [("livez", alive), ("readyz", ready)] {
            let lines: Vec<String> = checks.iter().map(|check| format!("[+]{check} ok")).collect();
            let verbose = format!("{}\n{path} check passed\n", lines.join("\n"));
            let short = (format!("/{path}"), "ok".to_owned());
            for (path, expected) in [short, (format!("/{path}?verbose"), verbose)] {
                // Beside many other tests one may be unready for a moment.
                eventually(&format!("{path} to say {expected:?}"), SOON, async || {
                    let said = component.says(&path).await?;
                    anyhow::ensure!(said == expected, "it says {said:?}");
                    Ok(Some(()))
                })
                .await
                .unwrap();
            }
        }
        eventually(&format!("{gauge} to be 1"), SOON, async || {
            let is_ready = component.counted(gauge, &[]).await?;
            Ok(((is_ready - 1.0).abs() < f64::EPSILON).then_some(()))
        })
        .await
        .unwrap();
    }
}

/// What others than Lapse have bound counts, and what Lapse gives does not.
#[tokio::test]
async fn standing_privileges_are_counted() {
    let world = World::own("standing", InstallOptions::default()).await;
    let controller = &world.lapse.controllers[0];
    let counted = async |scope: &str, kind: &str| {
        let labels = [format!("scope=\"{scope}\""), format!("kind=\"{kind}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        controller.counted("lapse_subjects_standing", &labels).await.unwrap()
    };
    let count = async || {
        let mut counts = Vec::new();
        for kind in ["User", "Group", "ServiceAccount"] {
            counts.push((counted("cluster", kind).await, counted("namespace", kind).await));
        }
        counts
    };
    let is_counted = async || {
        eventually("standing privileges to be counted", SOON, async || {
            let text = controller.metrics_text().await?;
            Ok(text.contains("lapse_subjects_standing{").then_some(()))
        })
        .await
        .unwrap();
    };
    is_counted().await;
    let before = count().await;
    assert!(before[1].0 > 0.5, "Kubernetes itself binds system:masters: {before:?}");

    let user = rbac::user("vera");
    world.bind_everywhere("standing-vera", "cluster-admin", &user).await;
    world.bind("standing-vera", "admin", &user).await;
    world.bind("standing-vera-views", "view", &rbac::user("vera-who-views")).await;
    world.bind("standing-group", "admin", &rbac::group("standing-admins")).await;
    let target = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "admin"}}});
    let targets = json!([{"kubernetes": {
        "roles": [{"kind": "ClusterRole", "name": "admin"}], "namespaces": {"names": [world.ns]},
        "allowEscalation": true,
    }}]);
    world.policy(json!({"targets": targets})).await;
    world.granted("for-a-time", json!({"target": target})).await;
    // The next holder of the lease counts at once.
    controller.process.terminate(SOON).await.unwrap();
    controller.process.start().unwrap();
    controller.ready().await.unwrap();
    is_counted().await;
    let more =
        count().await.into_iter().zip(before).map(|(now, then)| (now.0 - then.0, now.1 - then.1));
    let more: Vec<_> = more.map(|(cluster, namespace)| format!("{cluster} {namespace}")).collect();
    assert_eq!(more, ["1 1", "0 1", "0 0"]);
}

fn view() -> serde_json::Value {
    json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "view"}}})
}

async fn swept(controller: &Component) -> f64 {
    controller.counted("lapse_sweep_last_success_timestamp_seconds", &[]).await.unwrap()
}
