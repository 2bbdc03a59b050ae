//! Hosts on which something is wrong: nothing is half done, it is said what to do, and nobody else's sudo is disturbed.

use lapse_crds::RequestPhase;
use lapse_e2e::plane::{SOON, eventually, until};
use rstest::rstest;
use serde_json::{Value, json};

use crate::corner::SHORT;
use crate::site::Site;

fn admin() -> Value {
    json!({"admin": {}})
}

fn group() -> Value {
    json!({"group": "ops"})
}

#[rstest]
#[case::read_only_rules(
    "broken-ro",
    "mount --bind /etc/sudoers.d /etc/sudoers.d && mount -o remount,bind,ro /etc/sudoers.d",
    admin(),
    "Read-only file system"
)]
#[case::read_only_units(
    "broken-units",
    "mount --bind /etc/systemd/system /etc/systemd/system && mount -o remount,bind,ro /etc/systemd/system",
    admin(),
    "Read-only file system"
)]
#[case::a_lock_of_somebody(
    "broken-lock",
    "sleep 600 & echo $! > /etc/group.lock",
    group(),
    "changing the group ops"
)]
#[case::a_later_rule_denies(
    "broken-deny",
    "echo 'alice ALL=(ALL) !ALL' > /etc/sudoers.d/zz-deny",
    admin(),
    "does a rule of this host come after it"
)]
#[case::a_later_setting_frees(
    "broken-setting",
    "echo 'Defaults:alice !pam_session' > /etc/sudoers.d/zz-setting",
    admin(),
    "what alice starts could not be ended"
)]
#[case::a_group_of_a_rule(
    "broken-group",
    "echo '%ops ALL=(root) NOPASSWD: /usr/bin/tail' > /etc/sudoers.d/ops",
    group(),
    "has a rule of sudo for the group ops"
)]
#[case::the_folder_is_not_read(
    "broken-include",
    "sed -i /includedir/d /etc/sudoers",
    admin(),
    "not include /etc/sudoers.d"
)]
#[tokio::test]
async fn what_cannot_be_given_is_not_half_given(
    #[case] name: &str,
    #[case] broken: &str,
    #[case] what: Value,
    #[case] said: &str,
) {
    let site = Site::new(name).await;
    site.host
        .sh(&format!("echo 'bob ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/bob; {broken}"))
        .await
        .unwrap();
    site.ask("fix", &what, "10m").await;
    site.decide(&site.bob, "fix", "Approve").await.unwrap();
    let status = site.phase("fix", RequestPhase::Failed).await;
    let status = serde_json::to_string(&status).unwrap();
    assert!(status.contains(said), "expected {said:?} in {status}");
    site.assert_clean().await;
    if name != "broken-include" {
        let bobs = site.host.as_user("bob", "sudo -n true").await.unwrap();
        assert_eq!((bobs.status, bobs.stderr.as_str()), (0, ""), "others' sudo is undisturbed");
    }
}

/// The rule of somebody else that does not parse is theirs to mend; a right is given beside it.
#[tokio::test]
async fn a_broken_rule_of_somebody_else_is_in_nobodys_way() {
    let site = Site::new("broken-rule").await;
    site.host.sh("echo 'this is no rule' > /etc/sudoers.d/aa-broken").await.unwrap();
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    assert!(site.sudo("true").await);
    site.decide(&site.alice, "fix", "End").await.unwrap();
    site.ended(&grant).await;
    site.assert_clean().await;
}

/// A full disk: nothing is given, and what is in force ends.
#[tokio::test]
async fn a_full_disk_gives_nothing_and_keeps_nothing() {
    let site = Site::new("broken-full").await;
    let (grant, _) = site.given("before", &admin(), "10m").await;
    let full = "systemctl stop lapse-agent && mount -t tmpfs -o size=256k tmpfs /mnt && cp -a /var/lib/lapse/. /mnt/ \
                && mount --move /mnt /var/lib/lapse && systemctl start lapse-agent \
                && until lapse-agent status | grep -q '^Connected since'; do sleep 0.1; done \
                && (cat /dev/zero > /var/lib/lapse/full || true)";
    site.host.sh(full).await.unwrap();
    site.decide(&site.alice, "before", "End").await.unwrap();
    eventually("sudo to be refused", SOON, async || Ok((!site.sudo("true").await).then_some(())))
        .await
        .unwrap();
    site.ask("during", &admin(), "10m").await;
    site.decide(&site.bob, "during", "Approve").await.unwrap();
    eventually("the order to be refused for now", SOON, async || {
        Ok(site.journal().await.contains("an order cannot be taken over yet").then_some(()))
    })
    .await
    .unwrap();
    assert!(!site.sudo("true").await);
    site.host.sh("rm /var/lib/lapse/full && systemctl restart lapse-agent").await.unwrap();
    site.ended(&grant).await;
    // Now there is room, and it is still wanted.
    site.phase("during", RequestPhase::Active).await;
    assert!(site.sudo("true").await);
}

/// The lock of a program that died keeps nobody in a group for ever.
#[tokio::test]
async fn a_stale_lock_keeps_nobody_in_a_group() {
    let site = Site::new("broken-stale").await;
    let (grant, _) = site.given("fix", &group(), "10m").await;
    site.host.sh("touch -d '-5 minutes' /etc/group.lock").await.unwrap();
    site.decide(&site.alice, "fix", "End").await.unwrap();
    site.ended(&grant).await;
    site.assert_clean().await;
}

/// A broken or removed agent locks nobody out.
#[rstest]
#[case::removed("gone-removed", "rm /usr/bin/lapse-agent", 0)]
#[case::empty("gone-empty", ": > /usr/bin/lapse-agent", 1)]
#[case::garbage("gone-garbage", "printf 'x\\0y' > /usr/bin/lapse-agent", 1)]
#[tokio::test]
async fn without_its_agent_a_host_locks_nobody_out(
    #[case] name: &str,
    #[case] broken: &str,
    #[case] within: i32,
) {
    let site = Site::new(name).await;
    // An administrator who has a right of Lapse, too.
    let rules =
        "for u in alice bob; do echo \"$u ALL=(root) NOPASSWD: ALL\" > /etc/sudoers.d/aa-$u; done";
    site.host.sh(rules).await.unwrap();
    let (_, end) = site.given("fix", &admin(), SHORT).await;
    let damage = format!(
        "systemctl mask --now lapse-agent; cp /usr/bin/lapse-agent /root/; rm -f /usr/bin/lapse-agent.new; {broken}"
    );
    site.host.sh(&damage).await.unwrap();
    let bob = site.host.as_user("bob", "sudo -n true").await.unwrap();
    assert_eq!(
        (bob.status, bob.stderr.as_str()),
        (0, ""),
        "who has no right of Lapse notices nothing"
    );
    // What alice starts while her right lasts could not be ended, so with a broken agent it is not started.
    let alice = site.host.as_user("alice", "sudo -n true").await.unwrap();
    assert_eq!(alice.status, within, "{}", alice.stderr);
    until(end).await;
    eventually("alice to do what she may anyway", SOON, async || {
        Ok(site.sudo("true").await.then_some(()))
    })
    .await
    .unwrap();
    site.host.sh("install /root/lapse-agent /usr/bin/lapse-agent; systemctl unmask lapse-agent; systemctl start lapse-agent").await.unwrap();
    site.host.sh("rm /etc/sudoers.d/aa-*").await.unwrap();
    eventually("the rest to be cleared", SOON, async || {
        let rules = site.host.sh("ls /etc/sudoers.d").await?;
        Ok((!rules.contains("lapse-")).then_some(()))
    })
    .await
    .unwrap();
}

/// The package goes only when nothing is in force, takes everything along, and tells the cluster.
#[tokio::test]
async fn removing_the_package_ends_everything() {
    let site = Site::new("gone-package").await;
    let (fix, _) = site.given("fix", &admin(), "10m").await;
    let (member, _) = site.given("in", &group(), "10m").await;
    site.host.sh("dpkg --purge lapse-agent").await.unwrap();
    site.assert_clean().await;
    assert!(!site.sudo("true").await);
    let left = "ls -d /var/lib/lapse /etc/lapse /etc/pam.d/lapse-* /usr/lib/lapse /etc/systemd/system/*.wants/lapse-* 2>/dev/null; true";
    assert_eq!(site.host.sh(left).await.unwrap(), "");
    for grant in [fix, member] {
        let status = site.ended(&grant).await.status.unwrap();
        let said = serde_json::to_string(&status).unwrap();
        assert!(said.contains("the agent was removed from the host"), "{said}");
    }
    let status = site.endpoints().get("gone-package").await.unwrap().status.unwrap();
    let problem = status.report.unwrap().problem.unwrap();
    assert!(problem.contains("the agent was removed from this host"), "{problem}");
}

/// Without a network, too, and within a moment.
#[tokio::test]
async fn removing_the_package_waits_for_no_network() {
    let mut site = Site::new("gone-offline").await;
    site.given("fix", &admin(), "10m").await;
    site.host.cut().unwrap();
    let began = std::time::Instant::now();
    let said = site.host.sh("dpkg --remove lapse-agent").await.unwrap();
    let took = began.elapsed();
    println!("removed without a network in {took:?}");
    // It waits for an answer for 15 s, and then for nothing.
    assert!(took < std::time::Duration::from_mins(1), "{took:?}");
    assert!(said.contains("The cluster was not told: "), "{said}");
    site.assert_clean().await;
    assert!(!site.sudo("true").await);
}
