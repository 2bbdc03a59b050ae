//! Helm's other commands, with rights that are held: upgrade, rollback, uninstall.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_crds::{EndReason, GrantPhase};
use lapse_e2e::plane::install::NAMESPACE;
use lapse_e2e::plane::{SOON, eventually};

use crate::town::Town;

async fn names(town: &Town) -> Vec<String> {
    let mut names = Vec::new();
    for component in ["controller", "webhook"] {
        names.extend(town.pods(component).await.iter().map(kube::ResourceExt::name_any));
    }
    names.sort();
    names
}

/// Until a program says that it is ready nobody asks whether it still is, so that its start is no warning to anybody.
async fn begun_without_a_warning(town: &Town, pods: &[String]) {
    let events: Api<Event> = Api::namespaced(town.admin.client.clone(), NAMESPACE);
    let about = |event: &&Event| {
        event.involved_object.name.as_ref().is_some_and(|name| pods.contains(name))
    };
    let told = |event: &Event| event.message.clone().unwrap_or_default();
    // A kubelet tells of what it does a while later.
    let told: Vec<String> = eventually("their starts to be told", SOON, async || {
        let events = events.list(&ListParams::default()).await?;
        let told: Vec<String> = events.iter().filter(about).map(told).collect();
        let starts = told.iter().filter(|message| *message == "Container started").count();
        Ok((starts >= pods.len()).then_some(told))
    })
    .await
    .unwrap();
    assert!(!told.iter().any(|message| message.contains("Readiness probe failed")), "{told:#?}");
}

/// Once the old webhooks are gone, as docs/upgrade.md says how to wait for, and not already when Helm is done.
async fn judged_by_the_new_settings(town: &Town) {
    let args = ["--namespace", NAMESPACE, "get", "pods", "--output=name"];
    let webhooks = [&args[..], &["--selector=app.kubernetes.io/component=webhook"]].concat();
    eventually("the old webhooks to be gone", SOON, async || {
        let pods = town.kubectl(&town.admin, &webhooks).await.ok()?;
        Ok((pods.lines().count() == 2).then_some(()))
    })
    .await
    .unwrap();
    let refused = town.repair("13h").await.unwrap_err();
    assert!(format!("{refused:#}").contains("12h"), "{refused:#}");
}

#[tokio::test]
async fn rights_live_through_an_upgrade_and_a_rollback() {
    let town = Town::take().await;
    town.shop().await;
    let grant = town.granted("roll").await;
    let first = names(&town).await;
    // A setting that both programs read at their start, so that all pods are new.
    town.cluster.install(&["duration.max=12h"]).await.unwrap();
    let second = names(&town).await;
    assert!(second.iter().all(|name| !first.contains(name)), "{first:?} {second:?}");
    assert!(town.may_exec().await);
    begun_without_a_warning(&town, &second).await;
    judged_by_the_new_settings(&town).await;
    town.helm(&["rollback", "lapse", "--wait", "--timeout=3m"]).await.ok().unwrap();
    let third = names(&town).await;
    assert!(third.iter().all(|name| !second.contains(name)), "{second:?} {third:?}");
    assert!(town.may_exec().await);
    let kept = town.grant(&grant.name_any()).await;
    assert_eq!((kept.uid(), kept.status.unwrap().phase), (grant.uid(), GrantPhase::Active));
    town.end("roll", &grant).await;
}

#[tokio::test]
async fn an_uninstallation_ends_rights_first() {
    let town = Town::take().await;
    town.shop().await;
    let grant = town.granted("leave").await;
    town.helm(&["uninstall", "lapse", "--wait", "--timeout=3m"]).await.ok().unwrap();
    town.kept_out().await;
    let status = town.grant(&grant.name_any()).await.status.unwrap();
    assert_eq!(
        (status.phase, status.end_reason),
        (GrantPhase::Ended, Some(EndReason::Uninstalled))
    );
    // Helm waits for what it has made, and not for the pods of that.
    eventually("the pods to go", SOON, async || {
        let left = town.pods("controller").await.len() + town.pods("drain").await.len();
        Ok((left == 0).then_some(()))
    })
    .await
    .unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(town.admin.client.clone());
    let kept = definitions.list(&ListParams::default()).await.unwrap();
    assert_eq!(kept.iter().filter(|one| one.spec.group == "lapse.dev").count(), 5);
}
