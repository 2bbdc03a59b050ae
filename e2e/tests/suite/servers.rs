//! API servers and a store that do not agree: one of two API servers cut off from the store, the store restored from an
//! older copy, clocks that differ.

use std::path::Path;

use chrono::TimeDelta;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use lapse_cluster::clock;
use lapse_crds::{AccessRequest, EndReason, JitPolicy, RequestPhase};
use lapse_e2e::plane::api_proxy::Fault;
use lapse_e2e::plane::proxy::{Behaviour, Proxy};
use lapse_e2e::plane::{InstallOptions, eventually};
use rstest::rstest;
use serde_json::json;

use crate::world::{SOON, World, until};

async fn world(name: &str, controllers: usize) -> World {
    let options = InstallOptions { controllers, behind_proxy: true, ..InstallOptions::default() };
    World::own(name, options).await
}

/// The leader sees an API server that still answers from its memory and stores nothing. Rights end by the other replica,
/// which gives them, too, when the lease of the first is over.
#[tokio::test]
async fn an_api_server_that_is_cut_off_from_the_store_keeps_no_right() {
    let world = world("cut-off", 2).await;
    let plane = world.lapse.plane();
    let store = Proxy::start().unwrap();
    let etcd = plane.store().strip_prefix("http://").unwrap().parse().unwrap();
    store.set_backends(vec![etcd]);
    let between = format!("http://127.0.0.1:{}", store.port());
    let (_another, server) = plane.another_apiserver(&between).await.unwrap();
    let first = world.leader().await;
    let api = world.lapse.api.as_ref().unwrap();
    api.lead(first, &server).unwrap();
    world.granted("denied", json!({})).await;
    let status = world.granted("short", json!({"duration": "15s"})).await;
    assert_eq!(world.leader().await, first, "it gave them by its own API server");

    store.set_behaviour(Behaviour::Hold);
    let expires = status.expires_at.unwrap().time();
    world.decide(&world.bob, "denied", json!({"verdict": "Deny"})).await.unwrap();
    eventually("what was denied to be gone", SOON, async || {
        // The other may be over meanwhile.
        Ok((world.bindings().await.len() <= 1).then_some(()))
    })
    .await
    .unwrap();
    println!("denied: gone before {} of the other's end", expires - clock::now());
    until(expires).await;
    eventually("what is over to be gone", SOON, async || {
        Ok(world.bindings().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let late = clock::now() - expires;
    println!("its time: gone {late} after");
    assert!(late < TimeDelta::seconds(15), "{late}");
    world.locked_out(&world.alice).await;
    world.phase("denied", RequestPhase::Ended).await;
    world.phase("short", RequestPhase::Ended).await;
    world.granted("next", json!({})).await;
    assert_ne!(world.leader().await, first);

    store.set_behaviour(Behaviour::Forward);
    world.decide(&world.alice, "next", json!({"verdict": "End"})).await.unwrap();
    world.phase("next", RequestPhase::Ended).await;
    // The first can do everything again, once the lease of the other is over.
    world.lapse.controllers[1 - first].process.kill();
    world.granted("last", json!({})).await;
    world.decide(&world.alice, "last", json!({"verdict": "End"})).await.unwrap();
    world.phase("last", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The copy is of a moment ago, so a second later the store is as far as it was. The API server is started again, as
/// whoever restores etcd must do; nothing of Lapse is.
#[tokio::test]
async fn after_an_older_store_is_restored_rights_end_and_are_given() {
    let world = world("restored", 2).await;
    let plane = world.lapse.plane();
    let (data, backup) = (plane.folder().join("etcd"), plane.folder().join("backup"));
    world.granted("kept", json!({})).await;
    let status = world.granted("short", json!({"duration": "3m"})).await;
    let expires = status.expires_at.unwrap().time();
    world.ask("waiting", json!({})).await;
    world.phase("waiting", RequestPhase::Pending).await;
    let view = json!({"kind": "ClusterRole", "name": "view"});
    let targets = json!([{"kubernetes": {"roles": [view], "namespaces": {"names": [world.ns]}}}]);
    let requesters = json!([{"kind": "User", "name": world.alice.name}]);
    world
        .apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "ban"},
            "spec": {"effect": "Deny", "requesters": requesters, "targets": targets},
        }))
        .await;
    let view = json!({"target": {"kubernetes": {"role": view}}});
    world.ask("banned", view.clone()).await;
    world.phase("banned", RequestPhase::Denied).await;
    plane.etcd().kill();
    copy(&data, &backup);
    plane.etcd().start().unwrap();
    plane.ready().await.unwrap();

    // All of this will not have been.
    let requests: Api<AccessRequest> = world.api(&world.admin);
    eventually("the API server to store again", SOON, async || {
        Ok(world.decide(&world.bob, "kept", json!({"verdict": "Deny"})).await.ok())
    })
    .await
    .unwrap();
    world.phase("kept", RequestPhase::Ended).await;
    world.granted("young", json!({})).await;
    world.approve(&world.bob, "waiting").await.unwrap();
    world.phase("waiting", RequestPhase::Active).await;
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    policies.delete("ban", &DeleteParams::default()).await.unwrap();
    world.ask("allowed", view.clone()).await;
    world.phase("allowed", RequestPhase::Pending).await;

    plane.apiserver().kill();
    plane.etcd().kill();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&backup, &data).unwrap();
    plane.etcd().start().unwrap();
    plane.apiserver().start().unwrap();
    plane.ready().await.unwrap();
    let restored = clock::now();
    assert!(restored < expires, "restoring took too long: {}", restored - expires);
    assert!(requests.get_opt("young").await.unwrap().is_none());
    assert_eq!(world.bindings().await.len(), 2, "what was given before stands again");
    // Whoever saw its deletion believes that there is no such policy.
    let request = world.request("banned-again", view);
    let asks: Api<AccessRequest> = world.api(&world.alice);
    eventually("the webhook to answer", SOON, async || {
        Ok(asks.create(&PostParams::default(), &request).await.ok())
    })
    .await
    .unwrap();
    world.phase("banned-again", RequestPhase::Denied).await;
    println!("a policy that stands again counts {} after the restore", clock::now() - restored);

    until(expires).await;
    eventually("what is over to be gone", SOON, async || {
        Ok((world.bindings().await.len() == 1).then_some(()))
    })
    .await
    .unwrap();
    let late = clock::now() - expires;
    println!("its time was {} after the restore: gone {late} after", expires - restored);
    assert!(late < TimeDelta::seconds(15), "{late}");
    world.phase("short", RequestPhase::Ended).await;
    world.decide(&world.bob, "kept", json!({"verdict": "Deny"})).await.unwrap();
    world.phase("kept", RequestPhase::Ended).await;
    println!("heard of a Deny {} after the restore", clock::now() - restored);
    world.locked_out(&world.alice).await;
    // Its approval is gone, whatever the programs remember of it.
    assert_eq!(world.status("waiting").await.phase, RequestPhase::Pending);
    world.approve(&world.bob, "waiting").await.unwrap();
    world.phase("waiting", RequestPhase::Active).await;
    world.granted("young", json!({})).await;
}

/// The controller's clock and the API server's differ by more than is tolerated: nothing is given, which is measured, and
/// what is held ends by the later of the two.
#[rstest]
#[case::behind("behind", -30)]
#[case::ahead("ahead", 30)]
#[tokio::test]
async fn clocks_that_disagree_give_nothing_and_end_everything(
    #[case] name: &str,
    #[case] ahead: i64,
) {
    let world = world(name, 1).await;
    let api = world.lapse.api.as_ref().unwrap();
    let status = world.granted("fix", json!({"duration": "45s"})).await;
    let expires = status.expires_at.unwrap().time();
    api.fault(Fault::Skew(TimeDelta::seconds(ahead)), |_| true);
    eventually("the skew to be measured", SOON, async || {
        let skew = world.lapse.controllers[0].counted("lapse_clock_skew_seconds", &[]).await?;
        #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
        let difference = skew - ahead as f64;
        Ok((difference.abs() < 3.0).then_some(()))
    })
    .await
    .unwrap();
    world.ask("next", json!({})).await;
    world.approve(&world.bob, "next").await.unwrap();
    eventually("the right to end", SOON, async || {
        Ok(world.bindings().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let late = clock::now() - (expires - TimeDelta::seconds(ahead.max(0)));
    println!("{name}: gone {late} after its end by the later clock");
    // The clock of the API server is known to the second, and may first be heard of when the right is over by it.
    assert!(late > TimeDelta::seconds(-2) && late < TimeDelta::seconds(60), "{late}");
    let grant = world.grant("fix").await.metadata.name.unwrap();
    let status = world.ended(&grant).await.status.unwrap();
    // By the next answer of the API server it may be up to a second earlier than by the one that the timer went by.
    assert_eq!(status.end_reason, Some(EndReason::Expired));
    assert_eq!(world.status("next").await.phase, RequestPhase::Pending, "nothing is given");
    world.locked_out(&world.alice).await;
    // What requests say follows when the clocks agree.
    api.heal();
    world.phase("fix", RequestPhase::Ended).await;
    world.phase("next", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
}
