//! One program as root: exactly what was approved, for its holder alone, and for no longer.

use lapse_e2e::plane::{SOON, eventually};
use serde_json::json;

use super::{be, failed, given, offer};
use crate::site::Site;

/// What says all that it was given.
const TELL: &str = "#!/bin/sh\nfor a; do echo \"<$a>\"; done\nenv | sort\nid -u\npwd\ncat\necho said >&2\nexit 7\n";

async fn site(name: &str) -> Site {
    let site = Site::new(name).await;
    std::fs::write(site.host.share().join("tell"), TELL).unwrap();
    let install = "install --mode 755 /mnt/tell /usr/local/bin/tell";
    site.host.sh(install).await.unwrap();
    be(&site, "alice", &[]).await;
    site
}

#[tokio::test]
async fn a_program_runs_exactly_as_it_was_approved_and_for_its_holder_alone() {
    let site = site("app-exact").await;
    let die =
        "printf '#!/bin/sh\\nkill -9 $$\\n' >/usr/local/bin/die && chmod 755 /usr/local/bin/die";
    site.host.sh(die).await.unwrap();
    let sum = site.host.sh("sha256sum /usr/local/bin/tell | cut -d' ' -f1").await.unwrap();
    let applications = json!([
        {"name": "tell", "path": "/usr/local/bin/tell", "sha256": format!("sha256:{}", sum.trim()),
            "args": ["a b", "$HOME", "%n; id"], "env": [{"name": "LEVEL", "value": "0 $x"}]},
        {"name": "who", "path": "/usr/bin/id", "package": "coreutils", "args": ["-un"]},
        {"name": "die", "path": "/usr/local/bin/die"},
    ]);
    offer(&site, &applications).await;
    let none = site.host.as_user("alice", "lapse run tell").await.unwrap();
    assert_eq!(none.status, 1, "{none:?}");
    let how = "kubectl jit request --endpoint app-exact --application tell";
    assert!(none.stderr.contains(how), "{}", none.stderr);

    let (grant, _) = given(&site, "tell", &json!({"application": "tell"}), "10m").await;
    let hostile = "export LD_PRELOAD=/tmp/x LAPSE_GRANT=forged PATH=/tmp LEVEL=9; cd /tmp; echo in | /usr/bin/lapse run tell";
    let ran = site.host.as_user("alice", hostile).await.unwrap();
    let expected = format!(
        "<a b>\n<$HOME>\n<%n; id>\nHOME=/root\nLANG=C.UTF-8\nLAPSE_GRANT={grant}\nLAPSE_REQUEST=app-exact/tell\nLEVEL=0 $x\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\n0\n/\nin\n"
    );
    assert_eq!((ran.status, ran.stdout.as_str()), (7, expected.as_str()), "{}", ran.stderr);
    assert_eq!(ran.stderr, "said\n");
    let listed = site.host.as_user("alice", "lapse run --list").await.unwrap().ok().unwrap();
    assert!(listed.contains("LEVEL=\"0 $x\" /usr/local/bin/tell \"a b\" $HOME"), "{listed}");

    // Arguments cannot be added, and nobody else runs it, root included.
    let more = site.host.as_user("alice", "lapse run tell -- --more").await.unwrap();
    assert_eq!(more.status, 2, "{more:?}");
    for user in ["bob", "root"] {
        let other = site.host.as_user(user, "lapse run tell").await.unwrap();
        assert!(other.stderr.contains("you hold no application tell"), "{user}: {other:?}");
    }
    let by_hand = format!("lapse-agent application {}", "0".repeat(32));
    let by_hand = site.host.run(&["sh", "-c", &by_hand]).await.unwrap();
    assert!(by_hand.stderr.contains("this is for the agent to start"), "{by_hand:?}");

    given(&site, "who", &json!({"application": "who"}), "10m").await;
    let who = site.host.as_user("alice", "lapse run who").await.unwrap();
    assert_eq!(who.stdout, "root\n", "{}", who.stderr);
    given(&site, "die", &json!({"application": "die"}), "10m").await;
    let died = site.host.as_user("alice", "lapse run die").await.unwrap();
    assert_eq!(died.status, 137, "{died:?}");
}

#[tokio::test]
async fn another_program_than_was_approved_is_not_run() {
    let site = site("app-other").await;
    let sum = site.host.sh("sha256sum /usr/local/bin/tell | cut -d' ' -f1").await.unwrap();
    let sum = format!("sha256:{}", sum.trim());
    let applications = json!([
        {"name": "tell", "path": "/usr/local/bin/tell", "sha256": sum},
        {"name": "wrong", "path": "/usr/local/bin/tell", "sha256": format!("sha256:{}", "0".repeat(64))},
        {"name": "none", "path": "/usr/local/bin/none"},
        {"name": "foreign", "path": "/usr/local/bin/tell", "package": "coreutils"},
        {"name": "changed", "path": "/usr/bin/nproc", "package": "coreutils"},
        {"name": "open", "path": "/home/alice/tool"},
    ]);
    offer(&site, &applications).await;
    let tools = "install -o alice /bin/true /home/alice/tool; echo >>/usr/bin/nproc";
    site.host.sh(tools).await.unwrap();
    let what = |name: &str| json!({"application": name});
    failed(&site, "wrong", &what("wrong"), "the one that was approved has sha256:0000").await;
    failed(&site, "none", &what("none"), "there is no such program on this host").await;
    failed(&site, "foreign", &what("foreign"), "has not installed /usr/local/bin/tell").await;
    failed(&site, "changed", &what("changed"), "is not as the package coreutils installed it")
        .await;
    failed(&site, "open", &what("open"), "belongs to the user ID 1000").await;

    let (grant, _) = given(&site, "tell", &what("tell"), "10m").await;
    // It is looked at each time.
    site.host.sh("echo 'echo more' >>/usr/local/bin/tell").await.unwrap();
    let ran = site.host.as_user("alice", "lapse run tell </dev/null").await.unwrap();
    assert_eq!((ran.status, ran.stdout.as_str()), (126, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("the one that was approved has"), "{}", ran.stderr);
    site.host.sh("install --mode 755 /mnt/tell /usr/local/bin/tell").await.unwrap();
    let ran = site.host.as_user("alice", "lapse run tell </dev/null").await.unwrap();
    assert_eq!(ran.status, 7, "{}", ran.stderr);
    // Once others may write it, it ends.
    site.host.sh("chmod o+w /usr/local/bin/tell").await.unwrap();
    site.ended(&grant).await;
    site.host.sh("chmod o-w /usr/local/bin/tell").await.unwrap();
    let ran = site.host.as_user("alice", "lapse run tell </dev/null").await.unwrap();
    assert!(ran.stderr.contains("you hold no application tell"), "{}", ran.stderr);
    site.assert_clean().await;
}

/// Ctrl-C, kill, and a client that is gone all end the program and what it started; nothing else does.
#[tokio::test]
async fn who_hangs_up_ends_what_runs() {
    let site = site("app-signals").await;
    let long = "#!/bin/bash\n(setsid sleep 321 &)\nsleep 322\n";
    std::fs::write(site.host.share().join("long"), long).unwrap();
    site.host.sh("install --mode 755 /mnt/long /usr/local/bin/long").await.unwrap();
    offer(&site, &json!([{"name": "long", "path": "/usr/local/bin/long"}])).await;
    given(&site, "long", &json!({"application": "long"}), "10m").await;
    let count = async || {
        let all = site.host.sh("pgrep -c -fx 'sleep 32[12]' || true").await?;
        anyhow::Ok(all.trim().parse::<usize>()?)
    };
    for (signal, expected) in
        [("INT", Some(143)), ("TERM", Some(143)), ("HUP", Some(143)), ("KILL", None)]
    {
        let running = site.host.spawn(&["su", "alice", "--command", "lapse run long"]).unwrap();
        eventually("it to run", SOON, async || Ok((count().await? == 2).then_some(())))
            .await
            .unwrap();
        site.host.sh(&format!("pkill -{signal} -fx 'lapse run long'")).await.unwrap();
        eventually("it to end", SOON, async || Ok((count().await? == 0).then_some(())))
            .await
            .unwrap();
        let status = running.wait().await.unwrap();
        if let Some(expected) = expected {
            assert_eq!(status.code(), Some(expected), "{signal}: {:?}", running.said());
        }
    }
    // Their places are free once the agent has seen them end.
    let seen = "journalctl --unit lapse-agent | grep -c 'an application has ended' || true";
    eventually("all four to have ended", SOON, async || {
        Ok((site.host.sh(seen).await?.trim() == "4").then_some(()))
    })
    .await
    .unwrap();
    // Nor do many of one person: they have a bound, and others have room. One after the other, as the agent serves few of one
    // person at once, and lets nobody wait for long.
    let many = "for i in $(seq 8); do lapse run long & \
                until [ \"$(pgrep -c -fx 'sleep 322')\" -ge $i ]; do sleep 0.1; done; done; wait";
    let running = site.host.spawn(&["su", "--login", "alice", "--command", many]).unwrap();
    eventually("eight to run", SOON, async || Ok((count().await? == 16).then_some(())))
        .await
        .unwrap();
    let ninth = site.host.as_user("alice", "lapse run long").await.unwrap();
    assert!(ninth.stderr.contains("8 applications of yours run already"), "{ninth:?}");
    let status = site.host.as_user("alice", "lapse status").await.unwrap().ok().unwrap();
    assert!(status.contains("sleep 322"), "what runs is shown: {status}");
    site.host.as_user("alice", "lapse end").await.unwrap().ok().unwrap();
    assert_eq!(count().await.unwrap(), 0, "{}", site.journal().await);
    eventually("all to be told", SOON, async || {
        Ok(running.said()?.contains("your access has ended").then_some(()))
    })
    .await
    .unwrap();
    site.assert_clean().await;
}

#[tokio::test]
async fn without_the_agent_nothing_new_starts_and_what_runs_goes_on() {
    let site = site("app-alone").await;
    std::fs::write(site.host.share().join("long"), "#!/bin/sh\nsleep 322\n").unwrap();
    site.host.sh("install --mode 755 /mnt/long /usr/local/bin/long").await.unwrap();
    offer(&site, &json!([{"name": "long", "path": "/usr/local/bin/long"}])).await;
    let (grant, _) = given(&site, "long", &json!({"application": "long"}), "10m").await;
    let running = site.host.spawn(&["su", "alice", "--command", "lapse run long"]).unwrap();
    let runs = async || site.host.run(&["pgrep", "-fx", "sleep 322"]).await.unwrap().status == 0;
    eventually("it to run", SOON, async || Ok(runs().await.then_some(()))).await.unwrap();
    site.host.sh("systemctl kill --signal=KILL --kill-whom=main lapse-agent; systemctl mask --now lapse-agent").await.unwrap();
    eventually("the client to say so", SOON, async || Ok(running.exit())).await.unwrap();
    let said = running.said().unwrap();
    assert!(said.contains("the agent has gone meanwhile"), "{said}");
    assert!(runs().await, "what it started goes on");
    let none = site.host.as_user("alice", "lapse run long").await.unwrap();
    assert!(none.stderr.contains("the agent of this host does not run"), "{none:?}");
    site.host.sh("systemctl unmask lapse-agent; systemctl start lapse-agent").await.unwrap();
    site.decide(&site.alice, "long", "End").await.unwrap();
    site.ended(&grant).await;
    assert!(!runs().await);
    site.assert_clean().await;
}
