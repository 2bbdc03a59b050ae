//! What `kubectl get` shows is true, says where as well as what, and fits a terminal.

use std::collections::BTreeMap;

use kube::api::{ListParams, PostParams};
use lapse_crds::{EndReason, RequestPhase};
use lapse_e2e::plane::{InstallOptions, User};
use regex::Regex;
use serde_json::{Value, json};

use crate::rbac;
use crate::world::World;

/// How wide a terminal is that shows a list without breaking its lines.
const TERMINAL: usize = 120;

/// What kubectl shows in a list, by the name of the object and the column.
pub(crate) struct Shown(BTreeMap<String, BTreeMap<String, String>>);

impl Shown {
    pub(crate) async fn get(world: &World, args: &[&str]) -> Self {
        let args = [&["get", "--namespace", &world.ns], args].concat();
        let table = world.kubectl(&world.admin, &args, None).await.unwrap();
        if !args.contains(&"wide") {
            let widest = table.lines().map(|line| line.trim_end().chars().count()).max();
            assert!(widest.unwrap() <= TERMINAL, "{widest:?} characters are too many:\n{table}");
        }
        let header = table.lines().next().unwrap().trim_end();
        let columns = Regex::new(r"\S+ *").unwrap();
        let row = |line: &str| {
            let of = |column: regex::Match<'_>| {
                // Nothing comes after the last column, however long its cells are.
                let is_last = column.end() == header.len();
                let width = if is_last { usize::MAX } else { column.len() };
                let cell = line.chars().skip(column.start()).take(width);
                let cell = cell.collect::<String>().trim().to_owned();
                (column.as_str().trim().to_owned(), cell)
            };
            columns.find_iter(header).map(of).collect::<BTreeMap<_, _>>()
        };
        Self(table.lines().skip(1).map(row).map(|row| (row["NAME"].clone(), row)).collect())
    }

    /// These columns of an object.
    pub(crate) fn of<const N: usize>(&self, name: &str, columns: [&str; N]) -> [&str; N] {
        let row = self.0.get(name).unwrap_or_else(|| panic!("{name} is not shown: {:?}", self.0));
        columns.map(|column| row[column].as_str())
    }
}

/// Somebody asks for something in the policy's namespace.
async fn ask(world: &World, who: &User, name: &str, changes: Value) {
    let request = world.request(name, changes);
    world.api(who).create(&PostParams::default(), &request).await.unwrap();
}

async fn given(world: &World, name: &str) -> String {
    world.approve(&world.bob, name).await.unwrap();
    world.phase(name, RequestPhase::Active).await.grant.unwrap().name
}

fn seconds(time: Option<lapse_crds::Timestamp>) -> String {
    time.unwrap().time().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn lists_say_what_where_until_when_and_why() {
    let world = World::own("shop", InstallOptions::default()).await;
    let requesters = json!([
        {"kind": "Group", "name": "shop-developers"},
        {"kind": "ServiceAccount", "name": "alice", "namespace": "shop"},
    ]);
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]);
    let edit = json!([{"kind": "ClusterRole", "name": "edit"}]);
    let targets = json!([{"kubernetes": {
        "roles": edit, "rules": rules, "namespaces": {"names": ["shop"]}, "clusterWide": true,
    }}]);
    world.policy(json!({"requesters": requesters, "targets": targets})).await;
    let alice = world.lapse.plane().user("alice", &["shop-developers"]).await.unwrap();
    for name in ["fix-checkout", "fix-payment", "fix-basket", "fix-search"] {
        ask(&world, &alice, name, json!({})).await;
    }
    world.phase("fix-checkout", RequestPhase::Pending).await;
    let held = given(&world, "fix-payment").await;
    let ended = given(&world, "fix-basket").await;
    world.decide(&alice, "fix-basket", json!({"verdict": "End"})).await.unwrap();
    let basket = world.phase("fix-basket", RequestPhase::Ended).await;
    assert_eq!(basket.end_reason, Some(EndReason::EndedByRequester));
    world.decide(&world.bob, "fix-search", json!({"verdict": "Deny"})).await.unwrap();
    world.phase("fix-search", RequestPhase::Denied).await;
    ask(&world, &alice, "fix-shipping", json!({"duration": "2h"})).await;
    world.phase("fix-shipping", RequestPhase::Denied).await;

    // Requests.
    let shown = Shown::get(&world, &["areq"]).await;
    let columns = ["PHASE", "REQUESTER", "TARGET", "WAITING-FOR", "EXPIRES", "REASON"];
    let expires = seconds(world.status("fix-payment").await.expires_at);
    let end = seconds(basket.ended_at);
    let (alice_asks, of_group) = ("alice", "group shop-managers");
    for (name, [phase, waiting_for, expires, reason]) in [
        ("fix-checkout", ["Pending", of_group, "", ""]),
        ("fix-payment", ["Active", "", &expires, ""]),
        ("fix-basket", ["Ended", "", &end, "EndedByRequester"]),
        ("fix-search", ["Denied", "", "", "by bob-shop"]),
        ("fix-shipping", ["Denied", "", "", "Duration"]),
    ] {
        let expected = [phase, alice_asks, "edit in shop", waiting_for, expires, reason];
        assert_eq!(shown.of(name, columns), expected, "{name}");
    }
    let wide = Shown::get(&world, &["areq", "--output", "wide"]).await;
    assert_eq!(wide.of("fix-payment", ["POLICY", "EMERGENCY"]), ["shop", ""]);

    // Grants.
    let shown = Shown::get(&world, &["gr"]).await;
    let columns = ["PHASE", "SUBJECT", "TARGET", "EXPIRES", "REASON", "REQUEST"];
    let expected = ["Active", "alice", "edit in shop", &expires, "", "fix-payment"];
    assert_eq!(shown.of(&held, columns), expected);
    let expected = ["Ended", "alice", "edit in shop", &end, "EndedByRequester", "fix-basket"];
    assert_eq!(shown.of(&ended, columns), expected);

    // The others.
    assert_eq!(Shown::get(&world, &["jp"]).await.of("shop", ["READY", "ACTIVE"])[0], "True");
    Shown::get(&world, &["adec"]).await;

    tells_accounts_from_people(&world, &held, &rules).await;
    says_rules_in_words(&world, &alice, rules).await;
}

/// A service account may have the name of a user, and is not taken for one.
async fn tells_accounts_from_people(world: &World, held: &str, rules: &Value) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "alice", "namespace": "shop"}});
    world.apply(account).await;
    world.bind("account", "lapse:requester", &rbac::account("shop", "alice")).await;
    let account = world.lapse.plane().service_account("shop", "alice").await.unwrap();
    // With a role that starts pods, one could act as the account that may ask.
    let target = json!({"target": {"kubernetes": {"rules": rules}}});
    ask(world, &account, "fix-stock", target).await;
    let given = given(world, "fix-stock").await;
    let grants = world.grants();
    let of = async |username: &str| {
        let selected = ListParams::default().fields(&format!("spec.username={username}"));
        let found = grants.list(&selected).await.unwrap().items.into_iter();
        found.map(|grant| grant.metadata.name.unwrap()).collect::<Vec<String>>()
    };
    assert_eq!(of("system:serviceaccount:shop:alice").await, [given.as_str()]);
    let of_alice = of("alice").await;
    assert!(of_alice.contains(&held.to_owned()) && !of_alice.contains(&given), "{of_alice:?}");
    let shown = Shown::get(world, &["gr", "--output", "wide"]).await;
    assert_eq!(shown.of(&given, ["SUBJECT"]), ["system:serviceaccount:shop:alice"]);
}

async fn says_rules_in_words(world: &World, alice: &User, rules: Value) {
    let target = json!({"target": {"kubernetes": {"rules": rules, "clusterWide": true}}});
    let approvers = json!([{"kind": "User", "name": world.ben.name}]);
    let stages = json!({"stages": [{"name": "owner", "required": 1, "approvers": approvers}]});
    let targets = json!([{"kubernetes": {"rules": rules, "clusterWide": true}}]);
    world.policy_named("shop-rules", json!({"targets": targets, "approval": stages})).await;
    let mut changes = target;
    changes["policy"] = json!("shop-rules");
    ask(world, alice, "look", changes).await;
    world.phase("look", RequestPhase::Pending).await;
    let shown = Shown::get(world, &["areq", "--output", "wide"]).await;
    let expected = ["get, list configmaps cluster-wide", "user ben-shop"];
    assert_eq!(shown.of("look", ["TARGET", "WAITING-FOR"]), expected);
}
