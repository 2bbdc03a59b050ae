//! Somebody in more groups than a request can store: what was left out is no way around anything.

use kube::Api;
use kube::api::PostParams;
use lapse_crds::{AccessRequest, EndReason, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::{Value, json};

use crate::world::{SOON, World};

const CONTRACTORS: &str = "omitted-contractors";

impl World {
    async fn ban_group(&self, name: &str, group: &str) {
        let who = json!([{"kind": "Group", "name": group}]);
        self.apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": name},
            "spec": {"effect": "Deny", "requesters": who, "targets": [{"all": true}]},
        }))
        .await;
    }
}

#[tokio::test]
async fn groups_that_do_not_fit_are_no_way_around_a_rule() {
    let world = World::own("omitted", InstallOptions::default()).await;
    let numbered: Vec<String> = (0..2100).map(|number| format!("g{number}")).collect();
    let mut groups: Vec<&str> = numbered.iter().map(String::as_str).collect();
    groups.extend(["omitted-developers", CONTRACTORS]);
    let many = world.lapse.plane().user("many", &groups).await.unwrap();
    let api: Api<AccessRequest> = world.api(&many);
    let ask = async |name: &str, changes: Value| {
        api.create(&PostParams::default(), &world.request(name, changes)).await.unwrap()
    };
    let expression = format!("!requester.groups.exists(g, g == '{CONTRACTORS}')");
    let rule = json!([{"expression": expression, "message": "Not for contractors."}]);
    world.policy_named("omitted-rule", json!({"conditions": rule})).await;
    // This one stands before they ask, and they are not in its group: it keeps nobody away.
    world.ban_group("omitted-others", "omitted-nobody").await;
    let bans: Api<lapse_crds::JitPolicy> = Api::all(world.admin.client.clone());
    eventually("the Deny policy to be seen", SOON, async || {
        Ok(bans.get("omitted-others").await?.status.filter(|s| s.observed_generation >= Some(1)))
    })
    .await
    .unwrap();

    let asked = ask("fix", json!({})).await;
    let stamp = asked.spec.requester.unwrap();
    assert!(stamp.groups.contains(&"omitted-developers".to_owned()));
    assert!(!stamp.groups.contains(&CONTRACTORS.to_owned()), "the test needs it left out");
    assert!(stamp.groups_omitted.is_some_and(|omitted| omitted > 0), "{:?}", stamp.groups_omitted);
    assert_eq!(stamp.not_in_groups, ["omitted-nobody"]);
    let manifest = serde_json::to_string(&world.request("told", json!({}))).unwrap();
    let create = ["create", "--dry-run=server", "-f", "-"];
    let answer = world.lapse.plane().kubectl_with_input(&many, &create, Some(&manifest)).await;
    let told = answer.unwrap().stderr;
    let words = "55 of your groups do not fit and are left out, those first that no policy names: have the identity \
                 provider send fewer";
    assert!(told.contains(words), "{told}");
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&many).await;

    ask("by-rule", json!({"policy": "omitted-rule"})).await;
    let status = world.phase("by-rule", RequestPhase::Denied).await;
    let why = &status.conditions[0].message;
    assert!(why.contains("depends on groups that you are not in"), "{why}");

    // Whoever is locked out by a group is locked out, whatever their request says.
    world.ban_group("omitted-ban", CONTRACTORS).await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::DeniedByPolicy));
    world.locked_out(&many).await;
    ask("again", json!({})).await;
    let status = world.phase("again", RequestPhase::Denied).await;
    assert!(status.conditions[0].message.contains("omitted-ban denies it. Ask"), "{status:?}");
}
