//! What is over is read after what is live: nobody waits for it who need not, and nothing is given that it forbids.

use http::StatusCode;
use lapse_crds::{CheckName, CheckOutcome, RequestPhase};
use lapse_e2e::plane::api_proxy::{ApiProxy, Call, Fault};
use lapse_e2e::plane::component::Component;
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;

use crate::world::{SOON, World, until};

/// Whether a controller reads what is over with it, page by page.
fn reads_what_is_over(call: &Call) -> bool {
    let of_requests = call.path.ends_with("/v1alpha1/accessrequests") && call.fields.is_empty();
    let of_grants = call.path.ends_with("/grants") && call.fields.ends_with("spec.emergency!=true");
    call.is_list && (of_requests || of_grants)
}

/// Whether it reads what is over of somebody who asks.
fn reads_what_one_had(call: &Call) -> bool {
    call.is_list && call.path.ends_with("/grants") && call.fields.contains("spec.subject.name=")
}

struct Town {
    world: World,
    /// A policy by which much may be held.
    much: String,
}

impl Town {
    /// With a policy by which little may be held in a day.
    async fn new() -> Self {
        let options = InstallOptions { behind_proxy: true, ..InstallOptions::default() };
        let world = World::own("past", options).await;
        let limits = json!({
            "openRequestsPerUser": 20, "activeGrantsPerUser": 20, "grantedTimePerDay": "30s",
        });
        let duration = json!({"default": "20s", "max": "1h"});
        world.policy(json!({"limits": limits, "duration": duration})).await;
        let much = format!("{}-much", world.ns);
        world.policy_named(&much, json!({})).await;
        Self { world, much }
    }

    fn api(&self) -> &ApiProxy {
        self.world.lapse.api.as_ref().unwrap()
    }

    fn controller(&self) -> &Component {
        &self.world.lapse.controllers[0]
    }

    /// Starts the controller again once a while has passed without one.
    async fn start_again(&self) {
        self.world.free_the_lease().await;
        self.controller().process.start().unwrap();
        self.controller().ready().await.unwrap();
    }

    async fn has_read_what_is_over(&self) {
        eventually("what is over to be read", SOON, async || {
            let read = self.controller().counted("lapse_past_read", &[]).await?;
            Ok((read > 0.5).then_some(()))
        })
        .await
        .unwrap();
    }

    /// What the check of limits says of a request.
    async fn limits(&self, request: &str) -> Option<(CheckOutcome, String)> {
        let checks = self.world.status(request).await.checks;
        let check = checks.into_iter().find(|check| check.name == CheckName::Limits)?;
        Some((check.outcome, check.message))
    }
}

/// Pages of what is over are never answered, and a right is due whose time is up.
#[tokio::test]
async fn what_is_live_does_not_wait_for_what_is_over() {
    let town = Town::new().await;
    let world = &town.world;
    world.granted("fix", json!({"duration": "20s"})).await;
    world.phase("fix", RequestPhase::Ended).await;
    let due = json!({"policy": town.much, "duration": "20s"});
    let due = world.granted("due", due).await.expires_at.unwrap();
    world.granted("held", json!({"policy": town.much})).await;
    town.controller().process.kill();
    until(due.time()).await;
    town.api().fault(Fault::Hold, reads_what_is_over);
    town.start_again().await;
    let held = town.api().held().await.unwrap();
    assert!(reads_what_is_over(&held), "{held}");
    // Its Grant is not live any more, and is not taken for one that is gone.
    world.phase("due", RequestPhase::Ended).await;
    world.ended(&world.grant("due").await.metadata.name.unwrap()).await;
    assert!(world.can_write(&world.alice).await, "one right is held");

    // What was held before the controller began counts.
    world.ask("again", json!({"duration": "20s"})).await;
    world.phase("again", RequestPhase::Denied).await;
    let (outcome, message) = town.limits("again").await.unwrap();
    assert!(outcome == CheckOutcome::Fail && message.contains("within 24 hours"), "{message}");
    world.granted("more", json!({"policy": town.much})).await;
    // What comes to its end is over, whatever was before.
    world.decide(&world.bob, "held", json!({"verdict": "Deny"})).await.unwrap();
    world.phase("held", RequestPhase::Ended).await;
    assert!(town.controller().counted("lapse_past_read", &[]).await.unwrap() < 0.5);

    // Nothing of one person can be read either: then it is not known whether more may be given.
    town.api().fault(Fault::Status(StatusCode::INTERNAL_SERVER_ERROR), reads_what_one_had);
    town.controller().process.kill();
    town.start_again().await;
    world.ask("later", json!({"policy": town.much})).await;
    eventually("the request to wait for what is over", SOON, async || {
        let waits = "What else you hold cannot be read: not all that is over has been read yet.";
        Ok(town
            .limits("later")
            .await
            .filter(|check| *check == (CheckOutcome::Pending, waits.into())))
    })
    .await
    .unwrap();
    assert_eq!(world.status("later").await.phase, RequestPhase::Pending);
    // Nobody waits for that who is to lose something.
    world.decide(&world.bob, "more", json!({"verdict": "Deny"})).await.unwrap();
    world.phase("more", RequestPhase::Ended).await;
    town.api().heal();
    town.api().cut();
    town.has_read_what_is_over().await;
    world.waits("later", "1 of").await;
    world.approve(&world.bob, "later").await.unwrap();
    world.phase("later", RequestPhase::Active).await;
}

/// What is over goes by its age, also where the rest of it cannot be read, and what goes while it is read is not kept.
#[tokio::test]
async fn what_is_over_goes_while_it_is_being_read() {
    let town = Town::new().await;
    let world = &town.world;
    world.denied("denied").await;
    town.controller().process.kill();
    town.api().fault(Fault::Hold, reads_what_is_over);
    town.start_again().await;
    world.denied("since").await;
    world.policy(json!({"retention": "2s"})).await;
    let names = async || {
        let all = kube::api::ListParams::default();
        let requests: kube::Api<lapse_crds::AccessRequest> = world.api(&world.admin);
        let found = requests.list(&all).await?.items.into_iter();
        anyhow::Ok(found.filter_map(|request| request.metadata.name).collect::<Vec<_>>())
    };
    eventually("what has come to its end since to go", SOON, async || {
        Ok((names().await? == ["denied"]).then_some(()))
    })
    .await
    .unwrap();
    town.api().heal();
    town.api().cut();
    eventually("what was over before to go", SOON, async || {
        Ok(names().await?.is_empty().then_some(()))
    })
    .await
    .unwrap();
}
