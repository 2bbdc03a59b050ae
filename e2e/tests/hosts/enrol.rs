//! Becoming the agent of an Endpoint, and what a host says that it can do.

use lapse_crds::{Capability, ConditionStatus, RequestPhase};
use lapse_e2e::host::{GATEWAY, Release};
use serde_json::json;

use crate::corner::TOKEN;
use crate::site::Site;

#[tokio::test]
async fn a_host_that_cannot_enrol_says_what_to_do() {
    let site = Site::without_agent("enrol-bad", Release::Debian12).await;
    let map = site.pin().await;
    let enrol = async |token: &str, endpoint: &str, pin: &str, port: u16, more: &str| {
        let script = format!(
            "printf %s '{token}' | lapse-agent enrol --gateway https://{GATEWAY}:{port} --endpoint {endpoint} --pin {pin} {more}"
        );
        site.host.run(&["bash", "-c", &script]).await.unwrap()
    };
    let wrong_pin = format!("sha256:{}", "0".repeat(64));
    for (token, endpoint, pin, port, words) in [
        ("", "enrol-bad", map.as_str(), 8443, "the token is empty"),
        ("guessed", "enrol-bad", &map, 8443, "this token cannot enrol Endpoint enrol-bad"),
        (TOKEN, "another", &map, 8443, "this token cannot enrol Endpoint another"),
        (TOKEN, "enrol-bad", &wrong_pin, 8443, "Read the pin again from the cluster"),
        (TOKEN, "enrol-bad", &map, 8444, "reaching the gateway at https://10.77.0.1:8444"),
    ] {
        let answer = enrol(token, endpoint, pin, port, "").await;
        assert!(answer.status != 0 && answer.stderr.contains(words), "{words}: {}", answer.stderr);
        assert!(!answer.stderr.contains(TOKEN));
        let said = answer.stderr.matches(words).count();
        assert_eq!(said, 1, "it is said once: {}", answer.stderr);
    }
    let plain = "echo x | lapse-agent enrol --gateway http://gateway --endpoint e --pin p";
    let answer = site.host.run(&["bash", "-c", plain]).await.unwrap();
    assert!(answer.stderr.contains("write https://HOST:PORT"), "{}", answer.stderr);
    let as_alice = site.host.as_user("alice", "lapse-agent status").await.unwrap();
    assert!(as_alice.stderr.contains("only root can do this"), "{}", as_alice.stderr);
    assert_eq!(site.host.run(&["lapse-agent", "run"]).await.unwrap().status, 1);

    // Nothing of that was in the way.
    site.enrol().await;
    let status = site.host.sh("lapse-agent status").await.unwrap();
    assert!(status.contains("Connected since "), "{status}");
    site.host.sh("systemctl stop lapse-agent").await.unwrap();
    let status = site.host.sh("lapse-agent status").await.unwrap();
    assert!(status.contains("The agent does not run"), "{status}");
    let again = enrol(TOKEN, "enrol-bad", &map, 8443, "").await;
    assert!(again.stderr.contains("this host has enrolled already"), "{}", again.stderr);
    let again = enrol(TOKEN, "enrol-bad", &map, 8443, "--again").await;
    assert!(again.stderr.contains("good for one enrolment"), "{}", again.stderr);
    // What did not succeed took nothing away.
    site.host.sh("systemctl restart lapse-agent").await.unwrap();
    site.ready(ConditionStatus::True).await;
    let keys = site.host.sh("stat -c '%a %n' /var/lib/lapse /var/lib/lapse/*.json").await.unwrap();
    assert!(
        keys.lines().all(|line| line.starts_with("600 ") || line == "700 /var/lib/lapse"),
        "{keys}"
    );

    // Who removes it by hand is told what is left to do.
    let removed = site.host.sh("lapse-agent remove").await.unwrap();
    for words in ["enrol it with a new token", "systemctl stop lapse-agent"] {
        assert!(removed.contains(words), "{words}: {removed}");
    }
}

/// What the host cannot do is not offered: the request says so, and nothing is sent to the host.
#[tokio::test]
async fn a_host_with_sudo_rs_offers_what_needs_no_sudo() {
    let site = Site::without_agent("enrol-rs", Release::Debian13).await;
    let instead =
        "for p in sudo visudo; do ln -s $(command -v $p-rs) /usr/local/sbin/$p; done; sudo -V 2>&1";
    assert!(site.host.sh(instead).await.unwrap().starts_with("sudo-rs"));
    site.enrol().await;
    let report = site.endpoints().get("enrol-rs").await.unwrap().status.unwrap().report.unwrap();
    let can = [Capability::Group, Capability::Application, Capability::Account];
    assert_eq!(report.capabilities, can, "{}", site.journal().await);
    let probed = site.host.sh("lapse-agent probe").await.unwrap();
    assert!(probed.contains("can:   Group") && probed.contains("Install sudo 1.9"), "{probed}");
    site.ask("fix", &json!({"admin": {}}), "5m").await;
    let denied = site.phase("fix", RequestPhase::Denied).await;
    let said = serde_json::to_string(&denied).unwrap();
    assert!(said.contains("Admin"), "{said}");
    let (grant, _) = site.given("group", &json!({"group": "ops"}), "10m").await;
    site.decide(&site.alice, "group", "End").await.unwrap();
    site.ended(&grant).await;
}
