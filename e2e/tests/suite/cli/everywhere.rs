//! What waits in all namespaces, decided at once.

use lapse_crds::{EndReason, RequestPhase};
use lapse_e2e::plane::eventually;
use serde_json::json;

use super::created;
use super::terminal::Terminal;
use crate::rbac;
use crate::world::{SOON, World};

#[tokio::test]
async fn what_waits_in_several_namespaces_is_decided_at_once() {
    let here = World::shared("jit-here").await;
    let there = World::shared("jit-there").await;
    let roles = json!([{"kind": "ClusterRole", "name": "edit"}]);
    let both = json!({"names": [here.ns, there.ns]});
    here.policy(json!({"targets": [{"kubernetes": {"roles": roles, "namespaces": both}}]})).await;
    there.bind("jit-here-alice", "lapse:requester", &rbac::user(&here.alice.name)).await;
    let ask = async |namespace: &str, name: &str| {
        let args = ["request", "edit", "--policy", &here.ns, "--for", "10m"];
        let more = ["--reason", "It fails everywhere", "--batch", "outage", "--name", name];
        let args = [&["-n", namespace][..], &args, &more].concat();
        eventually("the binding to be known", SOON, async || {
            let answer = here.lapse.plane().jit(&here.alice, &args).await?;
            Ok((!answer.stderr.contains("is forbidden")).then_some(answer))
        })
        .await
        .unwrap()
    };
    created(&ask("jit-here", "one").await);
    created(&ask("jit-there", "two").await);
    here.waits("one", "managers").await;
    there.waits("two", "managers").await;

    // Of the own namespace alone, unless all are meant.
    let waiting = here.jit(&here.bob, &["list", "--to-approve", "-A"]).await.ok().unwrap();
    assert!(waiting.contains("jit-here ") && waiting.contains("jit-there "), "{waiting}");
    let named = here.jit(&here.bob, &["approve", "one", "-A"]).await;
    assert_eq!(named.status, 2, "a name is of one namespace: {named:?}");
    let unsure = here.jit(&here.bob, &["approve", "--all", "-A"]).await;
    assert_eq!(unsure.status, 2, "{unsure:?}");
    assert!(unsure.stderr.contains("Approve 2 requests that were not named?"), "{unsure:?}");
    assert_eq!(there.status("two").await.phase, RequestPhase::Pending);

    let mut terminal = Terminal::start(&here, &here.bob, &["approve", "--all", "-A"]).await;
    // What is being given is shown, each with its place.
    terminal.shows("jit-here/one").await;
    terminal.shows("jit-there/two").await;
    terminal.shows("Approve these 2 requests in 2 namespaces?").await;
    terminal.types("y\r");
    terminal.shows("jit-there/two of alice-jit-here approved").await;
    assert_eq!(terminal.ends().await, 0);
    here.phase("one", RequestPhase::Active).await;
    there.phase("two", RequestPhase::Active).await;

    let batch = "lapse.dev/batch=outage";
    let denied = here.jit(&here.bob, &["deny", "-A", "-l", batch, "--yes"]).await;
    assert!(denied.success(), "{denied:?}");
    for (world, name) in [(&here, "one"), (&there, "two")] {
        let ended = world.phase(name, RequestPhase::Ended).await;
        assert_eq!(ended.end_reason, Some(EndReason::Revoked));
    }
    let nothing = here.jit(&here.bob, &["approve", "--all", "-A", "--yes"]).await;
    assert!(nothing.success(), "{nothing:?}");
    assert!(nothing.stderr.contains("No request waits for you in any namespace."), "{nothing:?}");
    here.locked_out(&here.alice).await;
}
