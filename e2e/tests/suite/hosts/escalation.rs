//! Root on a host under another name.

use lapse_crds::{Guard, RequestPhase};
use serde_json::json;

use super::{enrolled, world};

#[tokio::test]
async fn a_group_that_makes_root_needs_a_policy_that_accepts_it() {
    let world = world("hosts-escalation").await;
    let (agent, mut attached) = enrolled(&world, "web-1").await;
    let offer = |allow_escalation: bool| {
        let selector = json!({"matchLabels": {"role": "web"}});
        let offered = json!({"selector": selector, "groups": ["docker"], "allowEscalation": allow_escalation});
        json!({"targets": [{"endpoint": offered}]})
    };
    let wish = || json!({"target": {"endpoint": {"name": "web-1", "group": "docker"}}});
    world.policy(offer(false)).await;
    world.ask("refused", wish()).await;
    let denied = world.phase("refused", RequestPhase::Denied).await;
    let said = serde_json::to_string(&denied).unwrap();
    let expected = "Equivalent to admin: group docker is a group that runs containers or virtual machines, and its \
                    members start containers or machines with all of the host's files. Request something that does no \
                    more than you need, such as a script of root's without arguments, or request under a policy with \
                    allowEscalation.";
    assert!(said.contains(expected), "{said}");

    world.policy(offer(true)).await;
    world.ask("accepted", wish()).await;
    world.approve(&world.bob, "accepted").await.unwrap();
    let order = agent.judge(&attached.order().await);
    assert_eq!(order.target.group.as_deref(), Some("docker"));
    // Its members are root, and looked after as such.
    assert_eq!(order.spec.session.map(|session| session.guard), Some(Guard::Enforce));
}
