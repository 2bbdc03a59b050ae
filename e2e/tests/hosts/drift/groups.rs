//! Who is root by a group: a member of it, and an account that joins it for a time.

use lapse_crds::{DriftKind, RequestPhase};
use lapse_e2e::host::Running;
use lapse_e2e::plane::{SOON, eventually};
use rstest::rstest;
use serde_json::{Value, json};

use crate::elevations::be;
use crate::site::Site;

/// A host where membership of `disk` is offered. A pipe to a shell of root's stands for the disk itself, which hosts of tests
/// do not have: whoever may write there does what root does.
struct Place {
    site: Site,
    policy: String,
    _root: Running,
}

impl Place {
    async fn new(name: &str, session: Value) -> Self {
        let site = Site::new(name).await;
        site.host.sh("mkfifo -m 660 /run/raw && chgrp disk /run/raw").await.unwrap();
        let root = site.host.spawn(&["bash", "-c", "while :; do bash < /run/raw; done"]).unwrap();
        let offer = json!({
            "names": [name],
            "groups": ["disk"],
            "accounts": [
                {"action": "Provision", "groups": ["disk"]},
                {"action": "Raise", "groups": ["disk"]},
            ],
            "allowEscalation": true,
        });
        let policy = format!("{name}-disk");
        site.policy_named(&policy, offer, session).await;
        Self { site, policy, _root: root }
    }

    async fn given(&self, request: &str, what: &Value) -> String {
        self.site.ask_by(&self.policy, request, what, "10m").await;
        self.site.decide(&self.site.bob, request, "Approve").await.unwrap();
        self.site.phase(request, RequestPhase::Active).await.grant.unwrap().name
    }

    /// What alice does as a member of the group; whether she may. It is done a moment later.
    async fn by_group(&self, script: &str) -> bool {
        let script = format!("echo '{script}' > /run/raw");
        self.site.host.as_user("alice", &script).await.unwrap().status == 0
    }

    async fn is_member(&self) -> bool {
        self.site.host.sh("getent group disk").await.unwrap().contains("alice")
    }
}

#[rstest]
#[case::a_group("drift-group", json!({"group": "disk"}))]
#[case::an_account("drift-raised", json!({"account": {"action": "Raise", "groups": ["disk"]}}))]
#[tokio::test]
async fn who_is_root_by_a_group_keeps_nothing_either(#[case] name: &str, #[case] what: Value) {
    let place = Place::new(name, json!({"onEnd": {"changes": "Revert"}})).await;
    let site = &place.site;
    assert!(!place.by_group("true").await, "nobody is root without it");
    let grant = place.given("fix", &what).await;
    let rule = "echo \"alice ALL=(ALL) NOPASSWD: ALL\" > /etc/sudoers.d/evil";
    assert!(place.by_group(rule).await, "{}", site.journal().await);
    eventually("the rule to be undone", SOON, async || {
        let findings = site.findings().await;
        let is_it = |path: &str| path == "/etc/sudoers.d/evil";
        Ok(findings.iter().any(|found| is_it(&found.path) && found.reverted).then_some(()))
    })
    .await
    .unwrap();
    site.nothing("ls /etc/sudoers.d | grep evil; true", SOON).await;
    site.drifted(&grant, "Reverted").await;
    assert!(place.is_member().await, "the access itself goes on: {}", site.journal().await);
    // What is looked for at the end.
    let copy = "cp /bin/bash /home/alice/shell; chmod 4755 /home/alice/shell";
    assert!(place.by_group(copy).await, "{}", site.journal().await);
    let seen = "find /home/alice -name shell -perm -4000";
    eventually("the copy to be there", SOON, async || {
        Ok((!site.host.sh(seen).await?.is_empty()).then_some(()))
    })
    .await
    .unwrap();
    site.end("fix", &grant).await;
    site.drifted(&grant, "Reverted").await;
    assert_eq!(site.host.sh(seen).await.unwrap(), "");
    assert!(!place.is_member().await);
    let findings = site.findings().await;
    let kinds: Vec<DriftKind> = findings.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [DriftKind::Sudoers, DriftKind::Setuid], "and nothing of Lapse's own");
    assert!(findings.iter().all(|found| found.reverted && found.grants == [grant.clone()]));
    // Who does nothing with it leaves nothing.
    let next = place.given("next", &what).await;
    assert!(place.is_member().await);
    site.end("next", &next).await;
    site.drifted(&next, "Clean").await;
    site.assert_clean().await;
}

/// Its lines, its memberships, its home and its keys are Lapse's own.
#[tokio::test]
async fn an_account_that_is_made_with_such_a_group_is_no_change() {
    let place = Place::new("drift-made", json!({})).await;
    let site = &place.site;
    let make = "ssh-keygen -q -t ed25519 -N '' -f /root/key && cat /root/key.pub";
    let key = site.host.sh(make).await.unwrap();
    be(site, "pat", &[key.trim()]).await;
    let state = "cat /etc/passwd /etc/shadow /etc/group /etc/gshadow; ls -A /home";
    let before = site.host.sh(state).await.unwrap();
    let what = json!({"account": {"action": "Provision", "groups": ["disk"]}});
    let grant = place.given("fix", &what).await;
    // Once the guard has looked.
    site.host.sh("touch /etc/cron.d/evil").await.unwrap();
    site.nothing("ls /etc/cron.d | grep evil; true", SOON).await;
    let there = "id -nG pat; cat /home/pat/.ssh/authorized_keys";
    let there = site.host.sh(there).await.unwrap();
    assert_eq!(there, format!("pat disk\n{}\n", key.trim()), "{}", site.journal().await);
    site.end("fix", &grant).await;
    site.drifted(&grant, "Reverted").await;
    let findings = site.findings().await;
    assert_eq!(findings.len(), 1, "nothing else was found: {findings:?}");
    assert_eq!(site.host.sh(state).await.unwrap(), before);
    site.assert_clean().await;
}
