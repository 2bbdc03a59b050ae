//! What people and their tools send is let through.

use kube::api::DynamicObject;
use lapse_crds::RequestPhase;
use rstest::rstest;
use serde_json::{Value, json};

use super::{entries, requests};
use crate::world::World;

/// A request with the longest reason, the most namespaces and many rules, with labels and annotations of tools.
fn largest(world: &World) -> Value {
    let names = |count: usize| -> Vec<String> {
        (0..count).map(|number| format!("{number:0>60}")).collect()
    };
    let rule = json!({
        "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"], "resourceNames": names(4),
    });
    let target = json!({"kubernetes": {"rules": vec![rule; 20], "namespaces": names(64)}});
    let changes =
        json!({"target": target, "reason": "<&>\n".repeat(1000), "ticket": "x".repeat(256)});
    let mut request = serde_json::to_value(world.request("largest", changes)).unwrap();
    request["metadata"]["labels"] = entries(20, 60);
    request["metadata"]["labels"]["app.kubernetes.io/instance"] = json!("shop-access");
    request["metadata"]["annotations"] = entries(15, 200);
    request["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] =
        json!(format!("shop-access:lapse.dev/AccessRequest:{}/largest", world.ns));
    request
}

#[rstest]
#[case::client_side("size-client", &[])]
#[case::server_side("size-server", &["--server-side"])]
#[tokio::test]
async fn the_largest_that_people_apply(#[case] ns: &str, #[case] how: &[&str]) {
    let world = World::shared(ns).await;
    let manifest = largest(&world).to_string();
    let args: Vec<&str> = ["apply", "-f", "-"].iter().chain(how).copied().collect();
    for _ in 0..2 {
        world.kubectl(&world.alice, &args, Some(&manifest)).await.unwrap();
    }
    // The policy of this test offers no rules.
    world.phase("largest", RequestPhase::Denied).await;
    let label = ["label", "areq", "largest", "-n", &world.ns, "team=shop"];
    world.kubectl(&world.alice, &label, None).await.unwrap();
    let stored: DynamicObject = requests(&world, &world.alice).get("largest").await.unwrap();
    let size = serde_json::to_string(&stored.data["spec"]).unwrap().len();
    assert!(size > 14_000, "{size} bytes are not much");
}
