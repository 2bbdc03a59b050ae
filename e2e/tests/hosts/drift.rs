//! What would outlast a right by which somebody acts as root: undone at once, or told and undone at its end.

mod groups;

use std::time::{Duration, Instant};

use lapse_crds::{Conditions as _, DriftFinding, DriftKind, RequestPhase};
use lapse_e2e::plane::{SOON, eventually, until};
use rstest::rstest;
use serde_json::{Value, json};

use crate::corner::SHORT;
use crate::site::Site;

fn admin() -> Value {
    json!({"admin": {}})
}

/// How long something may be there that is undone at once, and how long where the machine does much else meanwhile.
const AT_ONCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(20));

impl Site {
    /// What alice does as root. A change may be undone while it is made.
    async fn as_root(&self, script: &str) {
        self.host.as_user("alice", &format!("sudo -n bash -c '{script}'")).await.unwrap();
    }

    /// What the Endpoint says was found.
    async fn findings(&self) -> Vec<DriftFinding> {
        let status = self.endpoints().get(&self.name).await.unwrap().status.unwrap();
        status.report.unwrap().drift.unwrap().findings
    }

    /// Waits until the condition `Drifted` of a Grant has this reason.
    async fn drifted(&self, grant: &str, reason: &str) -> String {
        let mut last = None;
        let what = format!("{grant} to be {reason}");
        let found = eventually(&what, SOON, async || {
            let status = self.grants().get(grant).await?.status.unwrap_or_default();
            let drifted = status.conditions.condition("Drifted").cloned();
            last.clone_from(&drifted);
            Ok(drifted.filter(|drifted| drifted.reason == reason).map(|drifted| drifted.message))
        });
        match found.await {
            Ok(message) => message,
            Err(error) => panic!("{error:#}: {last:?}; {}", self.journal().await),
        }
    }

    /// The reason of the condition `Drifted` of the Endpoint.
    async fn endpoint_drifted(&self) -> Option<String> {
        let status = self.endpoints().get(&self.name).await.unwrap().status.unwrap();
        status.conditions.condition("Drifted").map(|drifted| drifted.reason.clone())
    }

    /// Waits until a script says nothing.
    async fn nothing(&self, script: &str, within: Duration) {
        let gone = async || Ok(self.host.sh(script).await?.trim().is_empty().then_some(()));
        if let Err(error) = eventually("nothing to be left", within, gone).await {
            let left = self.host.sh(script).await.unwrap();
            panic!("{error:#}: {left}; {}", self.journal().await);
        }
    }

    async fn end(&self, request: &str, grant: &str) {
        self.decide(&self.alice, request, "End").await.unwrap();
        self.ended(grant).await;
    }
}

/// The ways to stay root that the guard looks after, and how one sees that they are there.
const WAYS: [(DriftKind, &str, &str); 9] = [
    (
        DriftKind::Sudoers,
        "echo \"alice ALL=(ALL) NOPASSWD: ALL\" > /etc/sudoers.d/evil",
        "ls /etc/sudoers.d | grep evil; true",
    ),
    (
        DriftKind::Account,
        "useradd -o -u 0 -g users -M evil",
        "grep ^evil: /etc/passwd /etc/shadow; true",
    ),
    (DriftKind::Group, "gpasswd -a bob sudo", "getent group sudo | grep bob; true"),
    (
        DriftKind::Keys,
        "mkdir -p /root/.ssh; echo ssh-ed25519 AAAA evil >> /root/.ssh/authorized_keys",
        "grep -s evil /root/.ssh/authorized_keys; true",
    ),
    (
        DriftKind::Cron,
        "echo \"* * * * * root touch /evil\" > /etc/cron.d/evil",
        "ls /etc/cron.d | grep evil; true",
    ),
    (
        DriftKind::Pam,
        "sed -i \"1i auth sufficient pam_permit.so\" /etc/pam.d/su",
        "grep pam_permit /etc/pam.d/su; true",
    ),
    (
        DriftKind::Agent,
        "ln -s /dev/null /etc/systemd/system/lapse-end@.service",
        "ls /etc/systemd/system | grep lapse-end@; true",
    ),
    (
        DriftKind::Loader,
        "echo /evil.so > /etc/ld.so.preload",
        "ls /etc/ld.so.preload 2>&1 | grep -v cannot; true",
    ),
    (DriftKind::Folder, "chmod 777 /etc", "stat --format %a /etc | grep 777; true"),
];

#[tokio::test]
async fn what_makes_somebody_root_for_good_is_undone_and_told() {
    let site = Site::new("drift-guard").await;
    site.host.sh("touch /etc/ld.so.preload && rm /etc/ld.so.preload").await.unwrap();
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    let mut at_once = 0;
    for (kind, way, seen) in WAYS {
        site.as_root(way).await;
        let began = Instant::now();
        site.nothing(seen, AT_ONCE.1).await;
        let took = began.elapsed();
        println!("{kind} was undone within {took:?}");
        at_once += usize::from(took < AT_ONCE.0);
    }
    assert!(at_once > WAYS.len() / 2, "only {at_once} of {} were undone at once", WAYS.len());
    eventually("all to be told", SOON, async || {
        let findings = site.findings().await;
        let is_told = |kind| findings.iter().any(|found| found.kind == kind && found.reverted);
        Ok(WAYS.iter().all(|(kind, _, _)| is_told(*kind)).then_some(()))
    })
    .await
    .unwrap();
    let findings = site.findings().await;
    assert!(findings.iter().all(|found| found.grants == [grant.clone()]), "{findings:?}");
    // While it is held.
    site.drifted(&grant, "Reverted").await;
    assert_eq!(site.endpoint_drifted().await.as_deref(), Some("Reverted"));
    assert!(site.sudo("true").await, "the right itself goes on");
    site.end("fix", &grant).await;
    let message = site.drifted(&grant, "Reverted").await;
    assert!(message.contains("web") || message.contains("drift-guard"), "{message}");
    // Somebody has looked at it.
    site.host
        .sh("lapse-agent drift show | grep sudoers.d/evil && lapse-agent drift accept")
        .await
        .unwrap();
    eventually("it to be accepted", SOON, async || {
        Ok((site.endpoint_drifted().await.as_deref() == Some("Accepted")).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(site.findings().await, []);
    site.drifted(&grant, "Reverted").await;
    site.assert_clean().await;
}

/// A script that leaves behind what is looked for when the right is gone, and those that see it.
const LEFT: &str = "cp /bin/bash /home/alice/shell; chmod 4755 /home/alice/shell; \
    cp /bin/cat /usr/local/bin/reader; setcap cap_dac_read_search+ep /usr/local/bin/reader; \
    printf \"[Service]\\nExecStart=/bin/sleep 307\\n[Install]\\nWantedBy=multi-user.target\\n\" > /etc/systemd/system/evil.service; \
    systemctl enable --now evil.service; useradd -m -g users mallory; usermod -p abc bob; \
    echo \"touch /evil\" > /etc/profile.d/evil.sh";
const SEEN: [(DriftKind, &str); 6] = [
    (DriftKind::Setuid, "find /home/alice/shell -perm -4000"),
    (DriftKind::Capabilities, "getcap /usr/local/bin/reader"),
    (
        DriftKind::Unit,
        "ls -d /etc/systemd/system/evil.service /etc/systemd/system/*.wants/evil.service 2>/dev/null; pgrep -fx '/bin/sleep 307'",
    ),
    (DriftKind::Account, "grep ^mallory: /etc/shadow | grep -v ':!.*:0:$'"),
    (DriftKind::Account, "grep '^bob:abc:' /etc/shadow"),
    (DriftKind::Startup, "ls /etc/profile.d | grep evil"),
];

#[rstest]
#[case::report("drift-report", "Report", "LeftBehind")]
#[case::revert("drift-revert", "Revert", "Reverted")]
#[tokio::test]
async fn what_was_left_behind_is_told_or_undone(
    #[case] name: &str,
    #[case] changes: &str,
    #[case] reason: &str,
) {
    let site = Site::new(name).await;
    let session = json!({"guard": "Off", "onEnd": {"changes": changes}});
    let grant = site.given_by("fix", session, "10m").await;
    site.as_root(LEFT).await;
    for (kind, seen) in SEEN {
        let there = site.host.sh(&format!("{seen}; true")).await.unwrap();
        assert_ne!(there, "", "{kind} while it is held");
    }
    assert_eq!(site.findings().await, [], "nothing is looked after meanwhile");
    let began = Instant::now();
    site.end("fix", &grant).await;
    println!("it ended within {:?}", began.elapsed());
    site.drifted(&grant, reason).await;
    println!("and was compared within {:?}", began.elapsed());
    let findings = site.findings().await;
    for (kind, seen) in SEEN {
        let there = format!("{seen}; true");
        if reason == "Reverted" {
            // Nobody waits for what a unit runs to stop.
            site.nothing(&there, SOON).await;
        } else {
            let there = site.host.sh(&there).await.unwrap();
            assert_ne!(there, "", "{kind}; {}", site.journal().await);
        }
        let told: Vec<_> = findings.iter().filter(|found| found.kind == kind).collect();
        assert!(!told.is_empty(), "{kind} in {findings:?}");
        assert!(told.iter().all(|found| found.reverted == (reason == "Reverted")), "{told:?}");
    }
    assert_eq!(site.endpoint_drifted().await.as_deref(), Some(reason));
    // Who comes next has changed nothing of it.
    let next =
        site.given_by("next", json!({"guard": "Off", "onEnd": {"changes": "Report"}}), "10m").await;
    site.end("next", &next).await;
    site.drifted(&next, "Clean").await;
}

#[tokio::test]
async fn an_audit_tells_at_once_and_leaves_all_as_it_is() {
    let site = Site::new("drift-audit").await;
    let grant = site.given_by("fix", json!({"guard": "Audit"}), "10m").await;
    site.as_root("echo \"bob ALL=(root) NOPASSWD: /usr/bin/id\" > /etc/sudoers.d/bob").await;
    site.drifted(&grant, "LeftBehind").await;
    let bob = async || site.host.as_user("bob", "sudo -n id -u").await.unwrap().status;
    assert_eq!(bob().await, 0);
    site.end("fix", &grant).await;
    site.drifted(&grant, "LeftBehind").await;
    assert_eq!(bob().await, 0, "and nothing is undone at the end");
    assert_eq!(site.findings().await.len(), 1);
}

/// The agent dies, something is left behind, and the agent comes back: before the end, and after it.
#[rstest]
#[case::while_it_lasts("drift-killed", "systemctl start lapse-agent", false)]
#[case::across_the_end("drift-dead", "", true)]
#[tokio::test]
async fn an_agent_that_was_killed_finds_it_all_the_same(
    #[case] name: &str,
    #[case] back: &str,
    #[case] across: bool,
) {
    let site = Site::new(name).await;
    let (grant, end) = site.given("fix", &admin(), if across { SHORT } else { "10m" }).await;
    let script =
        "systemctl stop lapse-agent; echo x ALL=ALL > /etc/sudoers.d/evil; gpasswd -a bob sudo";
    site.as_root(script).await;
    let seen = "ls /etc/sudoers.d | grep evil; getent group sudo | grep bob; true";
    assert_ne!(site.host.sh(seen).await.unwrap(), "");
    if across {
        until(end).await;
        // The timer that ends it compares, too.
        site.nothing(seen, SOON).await;
        site.host.sh("systemctl start lapse-agent").await.unwrap();
        site.ended(&grant).await;
    } else {
        site.host.sh(back).await.unwrap();
        site.nothing(seen, SOON).await;
        site.end("fix", &grant).await;
    }
    site.drifted(&grant, "Reverted").await;
    assert_eq!(site.findings().await.iter().filter(|found| found.reverted).count(), 2);
}

#[tokio::test]
async fn the_power_goes_across_the_end() {
    let mut site = Site::new("drift-power").await;
    let session = json!({"guard": "Off", "onEnd": {"changes": "Revert"}});
    let grant = site.given_by("fix", session, SHORT).await;
    let end = site.grants().get(&grant).await.unwrap().spec.expires_at.time();
    site.as_root(
        "cp /bin/bash /home/alice/shell; chmod 4755 /home/alice/shell; echo x > /etc/cron.d/evil",
    )
    .await;
    site.host.crash().unwrap();
    until(end).await;
    site.host.boot().await.unwrap();
    site.ended(&grant).await;
    site.drifted(&grant, "Reverted").await;
    let left = "find /home/alice/shell -perm -4000; ls /etc/cron.d | grep evil; true";
    assert_eq!(site.host.sh(left).await.unwrap(), "");
}

/// Other rights come and go meanwhile: what Lapse does for them is its own affair.
#[tokio::test]
async fn what_lapse_does_itself_is_neither_told_nor_undone() {
    let site = Site::new("drift-own").await;
    let offer = json!({"names": [site.name], "groups": ["disk"], "allowEscalation": true});
    site.policy_named("drift-own-disk", offer, json!({})).await;
    let (first, _) = site.given("first", &admin(), "10m").await;
    let commands = json!({"commands": [{"path": "/usr/bin/id", "args": ["-u"]}]});
    let (second, _) = site.given("second", &commands, "10m").await;
    site.ask_by("drift-own-disk", "disk", &json!({"group": "disk"}), "10m").await;
    site.decide(&site.bob, "disk", "Approve").await.unwrap();
    let member = site.phase("disk", RequestPhase::Active).await.grant.unwrap().name;
    let is_member = async || {
        let disk = site.host.sh("getent group disk").await.unwrap();
        disk.contains("alice")
    };
    // Once the guard has looked.
    site.as_root("touch /etc/cron.d/evil").await;
    site.nothing("ls /etc/cron.d | grep evil; true", SOON).await;
    assert!(is_member().await && site.sudo("id -u").await, "{}", site.journal().await);
    site.end("disk", &member).await;
    site.end("second", &second).await;
    site.drifted(&second, "Reverted").await;
    assert!(!is_member().await);
    assert_eq!(site.findings().await.len(), 1, "nothing else was found");
    // What Lapse gave, and somebody gives again when it is over, is a change by them.
    site.as_root("gpasswd -a alice disk").await;
    site.nothing("getent group disk | grep alice; true", SOON).await;
    site.end("first", &first).await;
    site.drifted(&first, "Reverted").await;
    assert_eq!(site.findings().await.len(), 2);
}

#[tokio::test]
async fn who_fights_the_guard_in_a_loop_keeps_nothing() {
    let site = Site::new("drift-fight").await;
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    let fight = "while true; do echo \"bob ALL=(ALL) NOPASSWD: ALL\" > /etc/sudoers.d/evil; \
                 chattr +i /etc/sudoers.d/evil; ln -sf /etc/shadow /etc/cron.d/evil; done";
    let script = format!("sudo -n bash -c '{fight}' >/dev/null 2>&1 &");
    site.host.as_user("alice", &script).await.unwrap();
    eventually("it to be undone again and again", SOON, async || {
        let findings = site.findings().await;
        let rule = findings.iter().find(|found| found.path == "/etc/sudoers.d/evil");
        Ok(rule.is_some_and(|rule| rule.reverted).then_some(()))
    })
    .await
    .unwrap();
    // Others' rights begin and end on time all the same.
    let began = Instant::now();
    let (other, _) = site.given("other", &json!({"group": "ops"}), "10m").await;
    site.end("other", &other).await;
    println!("given and ended within {:?}", began.elapsed());
    site.end("fix", &grant).await;
    site.drifted(&grant, "Reverted").await;
    let left = "ls /etc/sudoers.d /etc/cron.d | grep evil; true";
    assert_eq!(site.host.sh(left).await.unwrap(), "");
    // What `sed` puts beside a file while it changes it may be seen, too.
    let mut findings = site.findings().await;
    findings.retain(|found| found.path.ends_with("/evil"));
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().all(|found| found.count > 1), "{findings:?}");
    assert_ne!(site.host.as_user("bob", "sudo -n true").await.unwrap().status, 0);
}

/// Nobody holds a right: whoever administers the host changes what they want.
#[tokio::test]
async fn a_host_without_a_right_is_left_alone() {
    let site = Site::new("drift-none").await;
    for (kind, way, seen) in WAYS.iter().filter(|(kind, ..)| *kind != DriftKind::Loader) {
        site.host.sh(way).await.unwrap();
        assert_ne!(site.host.sh(seen).await.unwrap(), "", "{kind}");
    }
    site.host
        .sh("rm /etc/systemd/system/lapse-end@.service; chmod 755 /etc; systemctl daemon-reload")
        .await
        .unwrap();
    // What was there before is no change by whoever comes then.
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    site.end("fix", &grant).await;
    site.drifted(&grant, "Clean").await;
    for (kind, _, seen) in WAYS.iter().take(6) {
        assert_ne!(site.host.sh(seen).await.unwrap(), "", "{kind}");
    }
    assert_eq!((site.endpoint_drifted().await, site.findings().await.len()), (None, 0));
}
