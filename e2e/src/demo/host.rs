//! The second act: the same on a real host, which is thrown away afterwards.

use anyhow::{Context as _, Result};

use super::teller::Expect::{Done, Refused};
use super::teller::Teller;
use crate::host::{Host, Release, Root, Wire};
use crate::plane::Lapse;

const TOKEN: &str = "the-demo-uses-it-once-and-then-it-is-worth-nothing";

const POLICY: &str = "\
apiVersion: lapse.dev/v1alpha1
kind: JitPolicy
metadata: {name: web-hosts}
spec:
  requesters: [{kind: Group, name: shop-developers}]
  targets:
    - endpoint: {selector: {matchLabels: {role: web}}, admin: {}, groups: [adm]}
  duration: {default: 30m, max: 1h}
  approval:
    stages: [{name: manager, required: 1, approvers: [{kind: Group, name: shop-managers}]}]
";

const REQUEST: &str = "\
apiVersion: lapse.dev/v1alpha1
kind: AccessRequest
metadata: {name: fix-web-1, namespace: shop}
spec:
  policy: web-hosts
  target: {endpoint: {name: web-1, admin: {}}}
  duration: 30m
  reason: The disk of web-1 is full
";

const APPROVAL: &str = "\
apiVersion: lapse.dev/v1alpha1
kind: AccessDecision
metadata: {name: fix-web-1-approved, namespace: shop}
spec:
  request: {name: fix-web-1}
  verdict: Approve
  duration: 10s
";

/// Tells it; fails where it is not true.
pub(super) async fn tell(lapse: &Lapse) -> Result<()> {
    let plane = lapse.plane();
    let (alice, bob) = (
        plane.user("alice", &["shop-developers"]).await?,
        plane.user("bob", &["shop-managers"]).await?,
    );
    let admin = plane.admin().await?;
    let teller = Teller { plane };

    teller.chapter("The second act: a real host, with systemd and sudo, and Lapse's agent on it.");
    let (root, wire) = (Root::ready(Release::Debian12).await?, Wire::new()?);
    let gateway = lapse.gateways.first().and_then(|gateway| gateway.served);
    let _relay = wire.relay(8443, gateway.context("no gateway serves")?)?;
    let mut host = Host::start(&root, &wire, "web-1").await?;
    host.install_agent().await?;
    teller.kubectl(&admin, &["apply", "-f", "-"], Some(&endpoint()), Done("created")).await?;
    teller.kubectl(&admin, &["apply", "-f", "-"], Some(POLICY), Done("created")).await?;
    host.enrol(&admin, "web-1", TOKEN).await?;
    let ready =
        ["wait", "jep/web-1", "jitpolicy/web-hosts", "--for=condition=Ready", "--timeout=30s"];
    teller.kubectl(&admin, &ready, None, Done("condition met")).await?;
    teller.on_host(&host, "alice", "sudo -n id -un", Refused("password is required")).await?;

    teller.chapter("alice requests to be root there, and bob approves, for ten seconds.");
    let wait = |condition: &'static str| {
        ["--namespace=shop", "wait", "areq/fix-web-1", condition, "--timeout=30s"]
    };
    teller.kubectl(&alice, &["apply", "-f", "-"], Some(REQUEST), Done("created")).await?;
    let pending = wait("--for=jsonpath={.status.phase}=Pending");
    teller.kubectl(&alice, &pending, None, Done("condition met")).await?;
    let approved = Done("A root shell can undo anything on its own host");
    teller.kubectl(&bob, &["create", "-f", "-"], Some(APPROVAL), approved).await?;
    let active = wait("--for=jsonpath={.status.phase}=Active");
    teller.kubectl(&alice, &active, None, Done("condition met")).await?;
    teller.on_host(&host, "alice", "sudo -n id -un", Done("root")).await?;
    let stays = "(sudo -n setsid sleep 600 &) && sleep 0.5 && pgrep -c sleep";
    teller.on_host(&host, "alice", stays, Done("1")).await?;

    teller.chapter("The host is cut off, and its agent is stopped. Access ends all the same.");
    host.cut()?;
    host.sh("systemctl stop lapse-agent").await?;
    let gone = "while pgrep -x sleep >/dev/null; do sleep 0.1; done; echo nothing runs any more";
    teller.on_host(&host, "alice", gone, Done("nothing runs")).await?;
    teller.on_host(&host, "alice", "sudo -n id -un", Refused("password is required")).await?;

    teller.chapter("The cluster says that it has ended once the agent has confirmed it.");
    host.join()?;
    host.sh("systemctl start lapse-agent").await?;
    teller.kubectl(&alice, &wait("--for=condition=Ended"), None, Done("condition met")).await?;
    Ok(())
}

fn endpoint() -> String {
    let hash = lapse_engine::endpoint::hash_of_token(TOKEN);
    format!(
        "\
apiVersion: lapse.dev/v1alpha1
kind: Endpoint
metadata: {{name: web-1, labels: {{role: web}}}}
spec:
  platform: Linux
  users: [{{subject: {{kind: User, name: alice}}, localUser: alice}}]
  enrolment: {{tokenHash: \"{hash}\", expiresAt: \"2036-01-01T00:00:00Z\"}}
"
    )
}
