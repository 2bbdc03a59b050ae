//! The local user itself: what is really disabled, what is really gone, and what stays somebody else's.

use lapse_crds::RequestPhase;
use lapse_e2e::plane::{SOON, eventually};
use rstest::rstest;
use serde_json::{Value, json};

use super::{Kind, Place, be, enable, failed, given, offer, policy, provision, raise, state};
use crate::site::Site;

async fn site(name: &str, user: &str) -> Site {
    let site = Site::new(name).await;
    be(&site, user, &[]).await;
    offer(&site, &json!([])).await;
    site
}

fn account(action: &str, groups: &[&str]) -> Value {
    json!({"account": {"action": action, "groups": groups}})
}

/// A key by which somebody logs in from the host itself.
async fn key(site: &Site) -> String {
    let make = "ssh-keygen -q -t ed25519 -N '' -f /root/key && cat /root/key.pub";
    site.host.sh(make).await.unwrap().trim().to_owned()
}

async fn logs_in(site: &Site, user: &str) -> bool {
    let ssh = format!(
        "ssh -i /root/key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null {user}@localhost id -un"
    );
    site.host.run(&["sh", "-c", &ssh]).await.unwrap().status == 0
}

/// By no door: keys, su, at, cron.
#[tokio::test]
async fn an_account_that_is_enabled_is_really_disabled_afterwards() {
    let site = site("account-enable", "alice").await;
    let key = key(&site).await;
    let keys = format!(
        "install -d -o alice -g alice -m 700 /home/alice/.ssh; echo '{key}' >/home/alice/.ssh/authorized_keys"
    );
    let disable = "echo alice:secret | chpasswd && usermod --lock --expiredate 1 alice";
    site.host.sh(&format!("{keys}; {disable}")).await.unwrap();
    let before = state(&site).await;
    assert!(!logs_in(&site, "alice").await);
    let (grant, _) = given(&site, "fix", &account("Enable", &[]), "10m").await;
    assert!(logs_in(&site, "alice").await, "{}", site.journal().await);
    // What she leaves for later does not start later.
    let later =
        "echo 'touch /tmp/at' | at now + 1 minute; echo '* * * * * touch /tmp/cron' | crontab -";
    site.host.as_user("alice", later).await.unwrap();
    site.decide(&site.alice, "fix", "End").await.unwrap();
    site.ended(&grant).await;
    assert!(!logs_in(&site, "alice").await);
    assert_ne!(site.host.run(&["su", "alice", "--command", "true"]).await.unwrap().status, 0);
    site.host.sh("rm -f /tmp/at /tmp/cron; sleep 25").await.unwrap();
    site.host.sh("sleep 25").await.unwrap();
    site.host.sh("sleep 15; ! ls /tmp/at /tmp/cron").await.unwrap();
    assert_eq!(state(&site).await, before);
}

#[rstest]
#[case::in_force("account-none", "true", "the local user alice is not disabled")]
#[case::locked(
    "account-locked",
    "echo alice:secret | chpasswd; passwd --lock alice",
    "the account has not expired"
)]
#[tokio::test]
async fn an_account_that_is_not_disabled_is_not_enabled(
    #[case] name: &str,
    #[case] ready: &str,
    #[case] said: &str,
) {
    let site = site(name, "alice").await;
    site.host.sh(ready).await.unwrap();
    let before = state(&site).await;
    failed(&site, "fix", &account("Enable", &[]), said).await;
    assert_eq!(state(&site).await, before);
}

#[tokio::test]
async fn who_is_nobody_is_neither_enabled_nor_raised() {
    let site = site("account-nobody", "nobody-here").await;
    let said = "there is no local user nobody-here";
    failed(&site, "enable", &account("Enable", &[]), said).await;
    failed(&site, "raise", &account("Raise", &["ops"]), said).await;
}

/// Made with a key, used by somebody who wants to stay, and gone.
#[tokio::test]
async fn an_account_that_is_made_is_gone_with_all_that_is_kept_of_it() {
    let site = site("account-made", "pat").await;
    let key = key(&site).await;
    be(&site, "pat", &[&key]).await;
    let before = state(&site).await;
    let (grant, _) = given(&site, "fix", &account("Provision", &["ops"]), "10m").await;
    assert!(logs_in(&site, "pat").await, "{}", site.journal().await);
    let modes = site
        .host
        .sh("stat -c '%a %U %n' /home/pat /home/pat/.ssh /home/pat/.ssh/authorized_keys")
        .await;
    let expected =
        "700 pat /home/pat\n700 pat /home/pat/.ssh\n600 pat /home/pat/.ssh/authorized_keys\n";
    assert_eq!(modes.unwrap(), expected);
    let number = site.host.sh("id -u pat").await.unwrap();
    assert_eq!(number, "50000\n");
    // Processes that fork without end, in sessions of their own, jobs, mail, a lingering manager, files elsewhere.
    let hostile = "trap '' TERM HUP; (setsid bash -c 'trap \"\" TERM HUP; while :; do sleep 0.01 & done' &); \
                   echo 'sleep 331' | at now 2>/dev/null; echo '* * * * * sleep 332' | crontab -; \
                   echo 'sleep 333' | at now + 1 hour 2>/dev/null; touch /var/tmp/left; ln -s /etc /home/pat/etc; \
                   (setsid unshare --user --map-root-user --pid --fork sleep 334 &); sleep 0.3";
    site.host.as_user("pat", hostile).await.unwrap();
    site.host
        .sh("install -o pat -m 600 /dev/null /var/mail/pat; touch /var/lib/systemd/linger/pat")
        .await
        .unwrap();
    // root has a container with a user of that number, which is somebody else.
    let container = "unshare --pid --fork setpriv --reuid 50000 --clear-groups sleep 335";
    let container = site.host.spawn(&["sh", "-c", container]).unwrap();
    let there = async || {
        Ok((site.host.run(&["pgrep", "-fx", "sleep 335"]).await?.status == 0).then_some(()))
    };
    eventually("the container", SOON, there).await.unwrap();
    site.decide(&site.alice, "fix", "End").await.unwrap();
    site.ended(&grant).await;
    assert_eq!(state(&site).await, before, "{}", site.journal().await);
    // What is dead is listed until it is waited for.
    let left = "ps -eo uid=,stat=,args= | grep '^ *50000 *[^ Z]' | grep -v 'sleep 335$'; true";
    assert_eq!(site.host.sh(left).await.unwrap(), "");
    assert!(container.exit().is_none(), "what runs in a container goes on");
    assert!(!logs_in(&site, "pat").await);
    let kept = "find /var/spool /var/mail /home -uid 50000";
    assert_eq!(site.host.sh(kept).await.unwrap(), "");
    // The number is nobody's from now on, and is not given again.
    assert_eq!(site.host.sh("stat -c %u /var/tmp/left").await.unwrap(), number);
    let (grant, _) = given(&site, "again", &account("Provision", &[]), "10m").await;
    assert_eq!(site.host.sh("id -u pat").await.unwrap(), "50001\n");
    site.decide(&site.alice, "again", "End").await.unwrap();
    site.ended(&grant).await;
    assert_eq!(state(&site).await, before);
    site.assert_clean().await;
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_taken_over() {
    let site = site("account-taken", "pat").await;
    site.host.sh("mkdir /home/pat && touch /home/pat/precious").await.unwrap();
    let before = state(&site).await;
    failed(&site, "home", &account("Provision", &[]), "/home/pat is there already").await;
    site.host.sh("test -e /home/pat/precious && rm -r /home/pat && groupadd pat").await.unwrap();
    failed(&site, "group", &account("Provision", &[]), "there is a local group pat").await;
    site.host.sh("groupdel pat && useradd --create-home pat").await.unwrap();
    failed(&site, "user", &account("Provision", &[]), "which Lapse has not made").await;
    site.host
        .sh("id pat && userdel --remove pat; mkdir /home/pat; touch /home/pat/precious")
        .await
        .unwrap();
    assert_eq!(state(&site).await, before);
}

/// A home that cannot be removed keeps the grant from its end, and nobody from theirs; it is said where and why.
#[tokio::test]
async fn what_cannot_be_removed_is_said() {
    let site = site("account-busy", "pat").await;
    let before = state(&site).await;
    let (grant, _) = given(&site, "fix", &account("Provision", &[]), "10m").await;
    site.host.sh("mkdir /home/pat/mount && mount -t tmpfs none /home/pat/mount").await.unwrap();
    site.decide(&site.alice, "fix", "End").await.unwrap();
    let told = async || {
        let orders = site.endpoints().get(&site.name).await?.status.unwrap_or_default().orders;
        let said = orders.into_iter().find(|order| order.grant == grant);
        let said = said.and_then(|order| order.message).unwrap_or_default();
        Ok(said.contains("/home/pat cannot be removed").then_some(()))
    };
    eventually("it to be said", SOON, told).await.unwrap();
    assert_ne!(site.host.run(&["id", "pat"]).await.unwrap().status, 0, "the account is gone");
    site.host.sh("umount /home/pat/mount").await.unwrap();
    site.ended(&grant).await;
    assert_eq!(state(&site).await, before);
}

#[rstest]
#[case::enable("overlap-enable", enable())]
#[case::provision("overlap-provision", provision())]
#[case::raise("overlap-raise", raise())]
#[tokio::test]
async fn rights_that_overlap_take_nothing_from_one_another(#[case] name: &str, #[case] kind: Kind) {
    let place = Place::new(name, kind).await;
    let (short, _, _running) = place.given("short", "10m").await;
    let (long, _) = given(&place.site, "long", &place.kind.what, "20m").await;
    place.site.decide(&place.site.alice, "short", "End").await.unwrap();
    place.site.ended(&short).await;
    assert!(place.is_held().await, "{}", place.site.journal().await);
    assert!(place.sleeps().await.unwrap() >= 3, "nobody's sessions end by that");
    place.site.decide(&place.site.alice, "long", "End").await.unwrap();
    place.site.ended(&long).await;
    place.is_over().await;
}

/// The lock of a program that died, and a disk that is full, keep nothing from its end.
#[rstest]
#[case::enable("stale-enable", enable())]
#[case::provision("stale-provision", provision())]
#[case::raise("stale-raise", raise())]
#[tokio::test]
async fn neither_a_stale_lock_nor_a_full_disk_keeps_it_from_its_end(
    #[case] name: &str,
    #[case] kind: Kind,
) {
    let place = Place::new(name, kind).await;
    let (grant, _, _running) = place.given("locked", "10m").await;
    let locks =
        "touch -d '-5 minutes' /etc/passwd.lock /etc/shadow.lock /etc/group.lock /etc/gshadow.lock";
    place.site.host.sh(locks).await.unwrap();
    place.site.decide(&place.site.alice, "locked", "End").await.unwrap();
    place.site.ended(&grant).await;
    place.is_over().await;

    let (grant, _, _running) = place.given("full", "10m").await;
    // Of the agent's own disk: nothing can be written down.
    let full = "systemctl stop lapse-agent && mount -t tmpfs -o size=256k tmpfs /mnt && cp -a /var/lib/lapse/. /mnt/ \
                && mount --move /mnt /var/lib/lapse && systemctl start lapse-agent \
                && until lapse-agent status | grep -q '^Connected since'; do sleep 0.1; done \
                && (cat /dev/zero > /var/lib/lapse/full || true)";
    place.site.host.sh(full).await.unwrap();
    place.site.decide(&place.site.alice, "full", "End").await.unwrap();
    let gone = async || Ok((!place.is_held().await && place.sleeps().await? == 0).then_some(()));
    eventually("it to be gone", SOON, gone).await.unwrap();
    place.site.host.sh("rm /var/lib/lapse/full && systemctl restart lapse-agent").await.unwrap();
    place.site.ended(&grant).await;
    place.is_over().await;
}

/// Accounts that cannot be made leave nothing: no file that can be written, and a lock that somebody holds.
#[rstest]
#[case::read_only_homes(
    "half-home",
    "mount --bind /home /home && mount -o remount,bind,ro /home",
    "making the local user pat"
)]
#[case::a_lock_of_somebody(
    "half-lock",
    "sleep 600 & echo $! > /etc/group.lock",
    "making the local user pat"
)]
#[tokio::test]
async fn what_cannot_be_made_is_not_half_made(
    #[case] name: &str,
    #[case] broken: &str,
    #[case] said: &str,
) {
    let site = site(name, "pat").await;
    let before = state(&site).await;
    site.host.sh(broken).await.unwrap();
    site.ask_by(&policy(&site), "fix", &account("Provision", &["ops"]), "10m").await;
    site.decide(&site.bob, "fix", "Approve").await.unwrap();
    let status = site.phase("fix", RequestPhase::Failed).await;
    let status = serde_json::to_string(&status).unwrap();
    assert!(status.contains(said), "expected {said:?} in {status}");
    assert_eq!(state(&site).await, before);
    site.assert_clean().await;
}

#[tokio::test]
async fn a_group_that_a_rule_of_sudo_names_is_given_to_no_account() {
    let site = site("account-rule", "alice").await;
    site.host
        .sh("echo '%ops ALL=(root) NOPASSWD: /usr/bin/tail' >/etc/sudoers.d/ops")
        .await
        .unwrap();
    let said = "has a rule of sudo for the group ops";
    failed(&site, "raise", &account("Raise", &["games", "ops"]), said).await;
    assert!(!site.host.sh("getent group games").await.unwrap().contains("alice"));
}
