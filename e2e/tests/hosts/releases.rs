//! The agent of one release with the gateway of another: what is granted and ended, and what is not granted to an older
//! agent. `CONTRIBUTING.md` says how the earlier release is built.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::api::{Patch, PatchParams};
use lapse_crds::{Condition, ConditionStatus, Conditions as _, EndReason, RequestPhase};
use lapse_e2e::host::{Release, package};
use lapse_e2e::plane::component::Component;
use lapse_e2e::plane::{
    InstallOptions, Lapse, PlaneOptions, Process, SOON, Spec, eventually, until,
};
use lapse_tools::programs;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::corner::Corner;
use crate::site::Site;

/// The earlier release: a checkout in which its gateway and the package of its agent are built.
const PREVIOUS: &str = "LAPSE_PREVIOUS";

/// This one.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

const GATEWAY: &str = "lapse-gateway";

fn previous() -> PathBuf {
    let Some(folder) = std::env::var_os(PREVIOUS) else {
        panic!("{PREVIOUS} names no earlier release: see CONTRIBUTING.md")
    };
    std::path::absolute(folder).unwrap()
}

/// The package of its agent.
fn previous_package() -> PathBuf {
    let folder = previous().join("target/deb");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let packages: Vec<PathBuf> =
        files.filter(|file| file.extension() == Some(OsStr::new("deb"))).collect();
    let [package] = packages.as_slice() else {
        panic!("{} is to have one package, and has {packages:?}", folder.display())
    };
    package.clone()
}

/// A program of this release.
async fn newest(program: &str) -> PathBuf {
    programs::build(&[program]).await.unwrap().remove(program).unwrap()
}

/// This release, but with the gateway of the earlier one. What runs lies in the folder.
async fn with_previous_gateway() -> (Arc<Lapse>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let gateway = previous().join("target/debug").join(GATEWAY);
    assert!(gateway.is_file(), "there is no {}: see CONTRIBUTING.md", gateway.display());
    symlink(gateway, folder.path().join(GATEWAY)).unwrap();
    for program in ["lapse-controller", "lapse-webhook"] {
        symlink(newest(program).await, folder.path().join(program)).unwrap();
    }
    let programs = Some(folder.path().to_owned());
    let options = InstallOptions { gateways: 1, programs, ..InstallOptions::default() };
    let lapse = Lapse::start(PlaneOptions::default(), options).await.unwrap();
    (Arc::new(lapse), folder)
}

/// The release of the agent that is installed on the host.
async fn installed(site: &Site) -> String {
    let said = site.host.sh("lapse-agent --version").await.unwrap();
    said.trim().trim_start_matches("lapse-agent ").to_owned()
}

/// Something that alice may be given.
struct Kind {
    name: &'static str,
    /// By which of the policies, as the end of its name.
    policy: &'static str,
    what: Value,
    /// Whether it is held.
    holds: &'static str,
}

fn kinds() -> [Kind; 3] {
    [
        Kind {
            name: "admin",
            policy: "",
            what: json!({"localUser": "alice", "admin": {}}),
            holds: "su --login alice --command 'sudo -n true'",
        },
        Kind {
            name: "group",
            policy: "",
            what: json!({"localUser": "alice", "group": "ops"}),
            holds: "getent group ops | grep -w alice",
        },
        Kind {
            name: "account",
            policy: "-accounts",
            what: json!({"localUser": "pat", "account": {"action": "Provision", "groups": ["ops"]}}),
            holds: "id pat && getent group ops | grep -w pat",
        },
    ]
}

/// What only a host with this release of the agent is given.
fn newer() -> Kind {
    Kind { name: "newer", policy: "-newer", ..kinds().into_iter().next().unwrap() }
}

/// Offers all of it: alice is pat on the host, too. The list of warnings is for agents that warn.
async fn offer(site: &Site) {
    let of = |local: &str| json!({"subject": {"kind": "User", "name": site.alice.name}, "localUser": local});
    let patch = Patch::Merge(json!({"spec": {"users": [of("alice"), of("pat")]}}));
    site.endpoints().patch(&site.name, &PatchParams::default(), &patch).await.unwrap();
    let accounts = json!({
        "names": [site.name], "accounts": [{"action": "Provision", "groups": ["ops"]}],
    });
    let warned = json!({"warnings": ["1m"]});
    site.policy_named(&format!("{}-accounts", site.name), accounts, warned).await;
    let newer = json!({"names": [site.name], "admin": {}, "agent": {"minVersion": RELEASE}});
    site.policy_named(&format!("{}-newer", site.name), newer, json!({})).await;
}

async fn ask(site: &Site, request: &str, kind: &Kind, duration: &str) {
    let policy = format!("{}{}", site.name, kind.policy);
    site.ask_by(&policy, request, &kind.what, duration).await;
}

/// alice asks, bob approves, and she holds it. Returns the name of the Grant, and its end.
async fn given(site: &Site, request: &str, kind: &Kind, duration: &str) -> (String, DateTime<Utc>) {
    ask(site, request, kind, duration).await;
    site.decide(&site.bob, request, "Approve").await.unwrap();
    let name = site.phase(request, RequestPhase::Active).await.grant.unwrap().name;
    assert!(is_held(site, kind).await, "{request}: {}", site.journal().await);
    let grant = site.grants().get(&name).await.unwrap();
    (name, grant.spec.expires_at.time())
}

async fn is_held(site: &Site, kind: &Kind) -> bool {
    site.host.run(&["sh", "-c", kind.holds]).await.unwrap().status == 0
}

async fn is_gone(site: &Site, kind: &Kind) {
    let look = async || Ok((!is_held(site, kind).await).then_some(()));
    let found = eventually(&format!("{} to be gone", kind.name), SOON, look).await;
    assert!(found.is_ok(), "{found:?}: {}", site.journal().await);
}

/// The Grant has ended, for this reason.
async fn has_ended(site: &Site, grant: &str, reason: EndReason) {
    let status = site.ended(grant).await.status.unwrap();
    assert_eq!(status.end_reason, Some(reason), "{status:?}");
}

/// alice is done before the time is up.
async fn ends_early(site: &Site, request: &str, kind: &Kind, grant: &str) {
    site.decide(&site.alice, request, "End").await.unwrap();
    has_ended(site, grant, EndReason::EndedByRequester).await;
    is_gone(site, kind).await;
}

/// Each kind ends by its time while the host is cut off, and by somebody who ends it.
async fn all_is_as_usual(site: &mut Site) {
    let kinds = kinds();
    let mut grants = Vec::new();
    for kind in &kinds {
        grants.push(given(site, &format!("{}-by-time", kind.name), kind, "40s").await);
    }
    site.host.cut().unwrap();
    for (kind, (_, end)) in kinds.iter().zip(&grants) {
        until(*end).await;
        is_gone(site, kind).await;
    }
    site.host.join().unwrap();
    for (grant, _) in &grants {
        has_ended(site, grant, EndReason::Expired).await;
    }
    for kind in &kinds {
        let request = format!("{}-early", kind.name);
        let (grant, _) = given(site, &request, kind, "10m").await;
        ends_early(site, &request, kind, &grant).await;
    }
    site.assert_clean().await;
}

/// Each kind is held while something is exchanged for that of this release, and can be ended afterwards.
async fn is_held_meanwhile(site: &Site, exchange: impl AsyncFnOnce()) {
    let kinds = kinds();
    let mut grants = Vec::new();
    for kind in &kinds {
        grants.push(given(site, &format!("{}-meanwhile", kind.name), kind, "30m").await.0);
    }
    exchange().await;
    for (kind, grant) in kinds.iter().zip(&grants) {
        assert!(is_held(site, kind).await, "{}: {}", kind.name, site.journal().await);
        ends_early(site, &format!("{}-meanwhile", kind.name), kind, grant).await;
    }
    site.assert_clean().await;
}

/// Waits until the Endpoint says so of its agent.
async fn outdated(site: &Site, expected: ConditionStatus) -> Condition {
    let look = async || {
        let status = site.endpoints().get(&site.name).await?.status.unwrap_or_default();
        let said = status.conditions.condition("Outdated").cloned();
        Ok(said.filter(|said| said.status == expected))
    };
    eventually(&format!("Outdated to be {expected:?}"), SOON, look).await.unwrap()
}

#[tokio::test]
#[ignore = "takes an earlier release, with its programs built: see CONTRIBUTING.md"]
async fn an_older_agent_works_as_before_and_is_given_nothing_that_takes_a_newer_one() {
    let corner = Corner::new("older-agent").await;
    let mut site = Site::with(corner, Release::Debian12, &previous_package()).await;
    let version = installed(&site).await;
    assert_ne!(version, RELEASE, "the earlier release needs a lower number: see CONTRIBUTING.md");
    site.enrol().await;
    let said = outdated(&site, ConditionStatus::True).await;
    assert_eq!(said.reason, "AgentOlder");
    let words = format!("its agent is of release {version}, and Lapse is of {RELEASE}");
    assert!(said.message.contains(&words), "{said:?}");

    offer(&site).await;
    let newer = newer();
    ask(&site, "newer", &newer, "5m").await;
    let denied = site.phase("newer", RequestPhase::Denied).await;
    let denied = serde_json::to_string(&denied).unwrap();
    let older = format!("is version {version}, older than {RELEASE}");
    for words in [older.as_str(), "Update lapse-agent on that host"] {
        assert!(denied.contains(words), "{words}: {denied}");
    }
    all_is_as_usual(&mut site).await;

    is_held_meanwhile(&site, async || {
        site.host.install(&package().await.unwrap()).await.unwrap();
        assert_eq!(installed(&site).await, RELEASE);
        outdated(&site, ConditionStatus::False).await;
    })
    .await;
    let (grant, _) = given(&site, "newer-again", &newer, "10m").await;
    ends_early(&site, "newer-again", &newer, &grant).await;
}

#[tokio::test]
#[ignore = "takes an earlier release, with its programs built: see CONTRIBUTING.md"]
async fn an_older_gateway_serves_a_newer_agent() {
    let (lapse, _programs) = with_previous_gateway().await;
    let corner = Corner::of(Arc::clone(&lapse), "older-gateway").await;
    let of_this_release = package().await.unwrap();
    let mut site = Site::with(corner, Release::Debian12, &of_this_release).await;
    site.enrol().await;
    offer(&site).await;
    let newer = newer();
    let (grant, _) = given(&site, "newer", &newer, "10m").await;
    ends_early(&site, "newer", &newer, &grant).await;
    all_is_as_usual(&mut site).await;

    // It runs until it is dropped, and ends what is held.
    let mut gateway = None;
    is_held_meanwhile(&site, async || gateway = Some(exchanged(&lapse.gateways[0]).await)).await;
    gateway.unwrap().process.ensure_running().unwrap();
}

/// Stops a gateway, and starts that of this release in its place.
async fn exchanged(gateway: &Component) -> Component {
    gateway.process.terminate(SOON).await.unwrap();
    let program = newest(GATEWAY).await;
    let process = Process::spawn(Spec { program, ..gateway.process.spec().clone() }).unwrap();
    let newest = Component { process, metrics: gateway.metrics, served: gateway.served };
    newest.ready().await.unwrap();
    newest
}
