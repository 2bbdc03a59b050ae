//! The story: alice wants to mend the shop.

use anyhow::Result;

use super::teller::Expect::{Done, Refused};
use super::teller::Teller;
use crate::plane::Plane;

const REQUEST: &str = "\
apiVersion: lapse.dev/v1alpha1
kind: AccessRequest
metadata: {name: fix-checkout, namespace: shop}
spec:
  target: {kubernetes: {role: {kind: ClusterRole, name: edit}}}
  duration: 1h
  reason: Checkout fails for EU cards
";

const APPROVAL: &str = "\
apiVersion: lapse.dev/v1alpha1
kind: AccessDecision
metadata: {name: fix-checkout-approved, namespace: shop}
spec:
  request: {name: fix-checkout}
  verdict: Approve
  duration: 12s
  comment: Only as long as you need
";

const DELETE: [&str; 4] = ["--namespace=shop", "delete", "deployment", "checkout"];
const TOKEN: [&str; 4] = ["--namespace=shop", "create", "token", "default"];
const DELETE_BASKET: [&str; 4] = ["--namespace=shop", "delete", "deployment", "basket"];

/// Tells the story; fails where it is not true.
pub(super) async fn tell(plane: &Plane) -> Result<()> {
    let alice = plane.user("alice", &["shop-developers"]).await?;
    let bob = plane.user("bob", &["shop-managers"]).await?;
    let teller = Teller { plane };
    let wait = |condition: &'static str| {
        ["--namespace=shop", "wait", "areq/fix-checkout", condition, "--timeout=30s"]
    };

    teller.chapter("Nobody has standing access: alice can read the shop, and nothing more.");
    teller
        .kubectl(&alice, &["--namespace=shop", "get", "deployments"], None, Done("checkout"))
        .await?;
    teller.kubectl(&alice, &DELETE, None, Refused("forbidden")).await?;

    teller.chapter("She requests access, for a task and a time.");
    teller.kubectl(&alice, &["apply", "-f", "-"], Some(REQUEST), Done("created")).await?;
    teller
        .kubectl(
            &alice,
            &wait("--for=jsonpath={.status.phase}=Pending"),
            None,
            Done("condition met"),
        )
        .await?;
    teller
        .kubectl(&alice, &["--namespace=shop", "get", "areq"], None, Done("shop-managers"))
        .await?;

    teller.chapter("She cannot approve it herself; bob, a manager, can, and sets a shorter time.");
    teller
        .kubectl(
            &alice,
            &["create", "-f", "-"],
            Some(APPROVAL),
            Refused("nobody may approve their own request"),
        )
        .await?;
    teller
        .kubectl(
            &bob,
            &["create", "-f", "-"],
            Some(APPROVAL),
            Done("you approved alice's request for ClusterRole edit"),
        )
        .await?;

    teller.chapter("Now she has access.");
    teller
        .kubectl(
            &alice,
            &wait("--for=jsonpath={.status.phase}=Active"),
            None,
            Done("condition met"),
        )
        .await?;
    teller.kubectl(&alice, &DELETE, None, Done("deleted")).await?;
    teller
        .kubectl(
            &alice,
            &[
                "--namespace=shop",
                "create",
                "deployment",
                "basket",
                "--image=registry.example/basket:2",
            ],
            None,
            Done("created"),
        )
        .await?;

    teller.chapter("She cannot make it permanent, although her role would let her.");
    teller.kubectl(&alice, &TOKEN, None, Refused("you cannot make it permanent")).await?;

    teller.chapter("Twelve seconds after the approval her access expires, and is revoked.");
    teller.kubectl(&alice, &wait("--for=condition=Ended"), None, Done("condition met")).await?;
    teller.kubectl(&alice, &DELETE_BASKET, None, Refused("forbidden")).await?;

    teller.chapter("Who did what is on record.");
    teller.kubectl(&bob, &["--namespace=shop", "get", "areq,adec"], None, Done("Ended")).await?;
    let events = ["--namespace=shop", "events", "--for=areq/fix-checkout"];
    let admin = plane.admin().await?;
    teller.kubectl(&admin, &events, None, Done("Expired")).await?;
    Ok(())
}
