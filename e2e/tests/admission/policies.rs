//! Policies: refused when they cannot work, warned about when they are unwise.

use lapse_crds::JitPolicy;
use lapse_e2e::plane::eventually;
use serde_json::{Value, json};

use crate::town::{SOON, Town, patch_cluster};

#[tokio::test]
async fn a_policy_that_cannot_work_is_refused_with_its_field() {
    let town = Town::shared("policies").await;
    let stage = |required: u32| json!({"name": "m", "required": required, "approvers": [{"kind": "User", "name": "bob"}]});
    let role = |name: &str| json!({"kubernetes": {"roles": [{"kind": "ClusterRole", "name": name}], "namespaces": {"names": ["policies"]}}});
    for (change, expected) in [
        (
            json!({"targets": [role("system:node")]}),
            "spec.targets[0].kubernetes.roles: the controller may not bind ClusterRole system:node",
        ),
        (json!({"duration": {"max": "48h"}}), "is 48h, but the installation allows"),
        (
            json!({"approval": {"stages": [stage(2)]}}),
            "(m) requires 2 approvals but names 1 approvers",
        ),
        (
            json!({"targets": [{"kubernetes": {"roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": ["lapse-system"]}}}]}),
            "lapse-system is the installation's own namespace",
        ),
    ] {
        let answer = town.kubectl(&town.admin, &["apply", "-f", "-"], &town.policy(&change)).await;
        assert!(!answer.success() && answer.stderr.contains(expected), "{answer:?}");
        // Changing a good one into a bad one is no way around.
        let spec = json!({"spec": change});
        let error =
            patch_cluster::<JitPolicy>(&town.admin.client, "policies", spec).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_unwise_policy_is_warned_about() {
    let town = Town::shared("unwise").await;
    let args = ["apply", "-f", "-"];
    let view = json!([{"kubernetes": {
        "roles": [{"kind": "ClusterRole", "name": "view"}], "namespaces": {"names": ["unwise"]},
    }}]);
    let fine = town.policy(&json!({"priority": 50, "targets": view, "approval": {"stages": []}}));
    let fine = town.kubectl(&town.admin, &args, &fine).await;
    assert!(fine.success() && !fine.stderr.contains("Warning"), "{fine:?}");
    let nobody = town.policy(&json!({"requesters": []}));
    let answer = town.kubectl(&town.admin, &args, &nobody).await;
    assert!(answer.success(), "{answer:?}");
    assert!(
        answer.stderr.contains("Warning: spec.requesters is empty: nobody can request anything")
    );
    // What is stored already may always be labelled, even if the installation has changed since.
    let labels = json!({"metadata": {"labels": {"team": "shop"}}});
    patch_cluster::<JitPolicy>(&town.admin.client, "unwise", labels).await.unwrap();
}

#[tokio::test]
async fn what_other_policies_and_the_roles_make_of_a_policy_is_told() {
    let town = Town::shared("beside").await;
    let dry_run = async |name: &str, change: &Value| {
        let mut policy = town.policy(change);
        policy["metadata"]["name"] = json!(name);
        let args = ["apply", "--dry-run=server", "-f", "-"];
        let answer = town.kubectl(&town.admin, &args, &policy).await;
        assert!(answer.success(), "{answer:?}");
        answer.stderr
    };
    // The webhook learns by a watch of what is stored.
    let told = eventually("the policy to be known", SOON, async || {
        let told = dry_run("beside-easy", &json!({"approval": {"stages": []}})).await;
        Ok(told.contains("of JitPolicy beside").then_some(told))
    });
    let told = told.await.unwrap();
    let own = dry_run("beside", &json!({"approval": {"stages": []}})).await;
    assert!(!own.contains("JitPolicy"), "a policy is compared with its older self: {own}");
    for words in [
        "group shop-developers can get ClusterRole edit under JitPolicy beside-easy without approval, which beside grants with 1 approval",
        "spec.priority is 100, the same as that of JitPolicy beside",
        "ClusterRole edit is powerful: in beside it can read secrets",
    ] {
        assert!(told.contains(&format!("Warning: {words}")), "no {words:?} in {told}");
    }
    let admin = json!([{"kubernetes": {
        "roles": [{"kind": "ClusterRole", "name": "admin"}], "namespaces": {"all": true},
    }}]);
    let apart = json!([{"policy": "beside-gone"}]);
    let told = dry_run("other", &json!({"targets": admin, "separationOfDuties": apart})).await;
    for words in [
        "spec.targets[0].kubernetes: every request for ClusterRole admin in the namespaces that are selected is denied without allowEscalation",
        "spec.separationOfDuties[0].policy: there is no JitPolicy beside-gone",
    ] {
        assert!(told.contains(&format!("Warning: {words}")), "no {words:?} in {told}");
    }
    assert!(told.lines().all(|line| line.chars().count() <= 256 + "Warning: ".len()), "{told}");
}
