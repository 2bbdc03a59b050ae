//! Helm's other commands, with rights that are held: upgrade, rollback, uninstall.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_crds::{EndReason, GrantPhase};

use crate::town::Town;

async fn names(town: &Town) -> Vec<String> {
    let mut names = Vec::new();
    for component in ["controller", "webhook"] {
        names.extend(town.pods(component).await.iter().map(kube::ResourceExt::name_any));
    }
    names.sort();
    names
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
    assert!(!town.may_exec().await);
    let status = town.grant(&grant.name_any()).await.status.unwrap();
    assert_eq!(
        (status.phase, status.end_reason),
        (GrantPhase::Ended, Some(EndReason::Uninstalled))
    );
    assert_eq!(town.pods("controller").await.len() + town.pods("drain").await.len(), 0);
    let definitions: Api<CustomResourceDefinition> = Api::all(town.admin.client.clone());
    let kept = definitions.list(&ListParams::default()).await.unwrap();
    assert_eq!(kept.iter().filter(|one| one.spec.group == "lapse.dev").count(), 4);
}
