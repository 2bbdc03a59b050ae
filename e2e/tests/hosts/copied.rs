//! A copy of a machine that enrolled: it holds nothing, and is nobody.

use lapse_crds::{ConditionStatus, GrantPhase};
use lapse_e2e::plane::{SOON, eventually};
use serde_json::json;

use crate::site::Site;

/// What a copy of a machine is given anew, here in place of another number of its hardware.
const ANOTHER: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_copy_of_a_machine_ends_what_it_holds_and_is_nobody() {
    let site = Site::new("copied").await;
    let (grant, _) = site.given("fix", &json!({"admin": {}}), "30m").await;
    assert!(site.sudo("true").await);
    let copy = format!(
        "systemctl stop lapse-agent; echo {ANOTHER} > /etc/machine-id; systemctl start lapse-agent"
    );
    site.host.sh(&copy).await.unwrap();
    eventually("sudo to be refused", SOON, async || Ok((!site.sudo("true").await).then_some(())))
        .await
        .unwrap();
    site.assert_clean().await;
    eventually("the copy to be nobody", SOON, async || {
        let said = site.host.sh("lapse-agent status; ls /var/lib/lapse").await?;
        let is_nobody = said.contains("not the one that enrolled as Endpoint copied")
            && said.contains("The agent does not run")
            && ["identity.json", "key.json"].iter().all(|name| !said.contains(name));
        Ok(is_nobody.then_some(()))
    })
    .await
    .unwrap();
    // Nothing that it does counts as done on the machine that enrolled.
    let held = site.grants().get(&grant).await.unwrap().status.unwrap();
    assert_eq!(held.phase, GrantPhase::Active);
    site.ready(ConditionStatus::False).await;
}

/// Before anybody logs in, and with the agent dead.
#[tokio::test]
async fn a_copy_that_starts_without_its_agent_holds_nothing() {
    let mut site = Site::new("copied-off").await;
    site.given("fix", &json!({"admin": {}}), "30m").await;
    site.host.sh("systemctl mask lapse-agent").await.unwrap();
    site.host.crash().unwrap();
    std::fs::write(site.host.disk().join("etc/machine-id"), format!("{ANOTHER}\n")).unwrap();
    site.host.boot().await.unwrap();
    assert!(!site.sudo("true").await, "{}", site.journal().await);
    site.assert_clean().await;
}
