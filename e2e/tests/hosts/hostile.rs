//! Who holds a right, and wants more of it.

use lapse_e2e::plane::{SOON, eventually, until};
use serde_json::json;

use crate::corner::SHORT;
use crate::site::Site;

/// The program runs on as root when its user kills or stops their own sudo; at the end it is dead all the same.
#[tokio::test]
async fn who_kills_or_stops_their_own_sudo_gains_nothing() {
    let site = Site::new("hostile-sudo").await;
    let commands = json!({"commands": [{"path": "/usr/bin/id", "args": ["-u"]}]});
    let (first, _) = site.given("first", &commands, "10m").await;
    let (_, end) = site.given("fix", &json!({"admin": {}}), SHORT).await;
    for (signal, seconds) in [("KILL", 301), ("STOP", 302)] {
        // As soon as the program runs.
        let script = format!(
            "sudo -n sleep {seconds} >/dev/null 2>&1 & \
             until pgrep -fx 'sleep {seconds}' >/dev/null; do sleep 0.1; done; pkill -{signal} -x sudo"
        );
        site.host.as_user("alice", &script).await.unwrap();
    }
    let lives = async || site.host.sh("pgrep -c -fx 'sleep 30[12]' || true").await.unwrap();
    assert_eq!(lives().await.trim(), "2", "{}", site.journal().await);
    until(end).await;
    eventually("all to be dead", SOON, async || Ok((lives().await.trim() == "0").then_some(())))
        .await
        .unwrap();
    // What was given first goes on, and nothing else.
    assert!(site.sudo("id -u").await, "{}", site.journal().await);
    assert!(!site.sudo("id -g").await);
    assert_ne!(
        site.ended(
            &site
                .requests(&site.admin)
                .get("fix")
                .await
                .unwrap()
                .status
                .unwrap()
                .grant
                .unwrap()
                .name
        )
        .await
        .spec
        .request
        .name,
        first
    );
}

/// sudo that has looked at its rules, and opens its session when the right has ended, starts nothing.
#[tokio::test]
async fn a_session_that_comes_too_late_is_refused() {
    let site = Site::new("hostile-late").await;
    let open = "PAM_TYPE=open_session PAM_RUSER=alice /usr/lib/lapse/session";
    // Its parent is the process that would be moved.
    let late =
        async || site.host.run(&["bash", "-c", &format!("{open}; echo $?")]).await.unwrap().stdout;
    assert!(late().await.ends_with("\n77\n"), "nothing was given yet: {}", late().await);
    let (grant, _) = site.given("fix", &json!({"admin": {}}), "10m").await;
    assert_eq!(late().await, "0\n", "{}", site.journal().await);
    site.decide(&site.alice, "fix", "End").await.unwrap();
    site.ended(&grant).await;
    let said = late().await;
    assert!(
        said.contains("your access on this host has ended") && said.ends_with("\n77\n"),
        "{said}"
    );
}

/// A sudo that was started under one right is not let go on under another when the first has ended.
#[tokio::test]
async fn what_was_started_under_one_right_is_not_opened_under_another() {
    let site = Site::new("hostile-other").await;
    let commands = json!({"commands": [{"path": "/usr/bin/id", "args": ["-u"]}]});
    let (ended, _) = site.given("ended", &json!({"admin": {}}), "10m").await;
    site.given("other", &commands, "10m").await;
    let stopped = site.host.spawn(&["sleep", "600"]).unwrap();
    let opens = async |process: &str| {
        let script = format!("PAM_RUSER=alice lapse-agent session {process}; echo $?");
        site.host.sh(&script).await.unwrap()
    };
    let process = eventually("it to run", SOON, async || {
        let found = site.host.run(&["pgrep", "-fx", "sleep 600"]).await?;
        Ok((found.status == 0).then(|| found.stdout.trim().to_owned()))
    })
    .await
    .unwrap();
    site.decide(&site.alice, "ended", "End").await.unwrap();
    site.ended(&ended).await;
    assert!(opens(&process).await.ends_with("\n77\n"), "it may have read the rule that went");
    assert_eq!(
        opens("$(sleep 601 >/dev/null & echo $!)").await,
        "42\n",
        "{}",
        site.journal().await
    );
    assert!(stopped.exit().is_none());
    assert!(site.sudo("id -u").await, "{}", site.journal().await);
}

/// Who keeps the agent from running in their own sudo starts nothing that could not be ended.
#[tokio::test]
async fn who_starves_the_helper_starts_nothing() {
    let site = Site::new("hostile-limits").await;
    site.given("fix", &json!({"admin": {}}), "10m").await;
    assert!(site.sudo("true").await);
    for limit in ["-v 30000", "-v 15000", "-n 4", "-f 0", "-t 0", "-u 1"] {
        // Until it runs, or was refused; one that hangs is not waited for.
        let script = format!(
            "(ulimit {limit}; exec sudo -n sleep 301) & \
             for i in $(seq 50); do [ -d /proc/$! ] || break; pgrep -f '^sleep 301' && break; sleep 0.1; done"
        );
        let _ = site.host.as_user("alice", &script).await.unwrap();
        let loose = "for p in $(pgrep -f '^sleep 301'); do grep -L lapse.slice /proc/$p/cgroup; done 2>/dev/null; true";
        let loose = site.host.sh(loose).await.unwrap();
        assert_eq!(loose, "", "with ulimit {limit}");
        site.host.sh("pkill -9 -f '^sleep 301' || true").await.unwrap();
    }
}

/// People without a right, and what a host does for them, are as without Lapse.
#[tokio::test]
async fn others_notice_nothing() {
    let site = Site::new("hostile-others").await;
    let rule = "bob ALL=(root) NOPASSWD: /usr/bin/id";
    site.host.sh(&format!("echo '{rule}' >/etc/sudoers.d/bob")).await.unwrap();
    site.given("fix", &json!({"admin": {}}), "10m").await;
    let cgroup = "sudo -n id >/dev/null && cat /proc/self/cgroup";
    let answer = site.host.as_user("bob", cgroup).await.unwrap();
    assert!(answer.status == 0 && !answer.stdout.contains("lapse"), "{}", answer.stdout);
    // Who is root needs nothing of the agent.
    assert_eq!(site.host.sh("sudo -n id -u").await.unwrap(), "0\n");
}
