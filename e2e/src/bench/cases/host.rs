//! A right on a real host, beside one in the cluster; and what Lapse costs a host.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use lapse_engine::endpoint::hash_of_token;
use serde_json::json;

use super::super::figure::{Figure, Part, Reach};
use super::super::process::{cpu_seconds, resting_memory};
use super::super::seen::Moment;
use super::super::setting::Setting;
use super::super::town::{LIMIT, NAMESPACE, Town, names, person};
use crate::host::{Host, Release, Root, Wire};
use crate::plane::{SOON, apply, eventually};

const TOKEN: &str = "the-bench-uses-it-once-and-then-it-is-worth-nothing";
const NAME: &str = "web-1";
/// How often what is waited for is looked at: it is a file, so that looking takes nothing from anybody.
const LOOK: Duration = Duration::from_millis(1);
/// How long the agent is looked at while nothing goes on.
const REST: Duration = Duration::from_mins(1);
/// How many calls of sudo are timed at a time, and how often that is done: the median of few calls is that of one moment.
const CALLS: u32 = 40;
const ROUNDS: usize = 3;

/// From the approver's call to the rule of sudo; ends with the agent and without; the agent at rest; what sudo costs.
pub(super) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found_with_gateway(setting).await?;
    let (root, wire) = (Root::ready(Release::Debian12).await?, Wire::new()?);
    let gateway = town.lapse.gateways.first().and_then(|gateway| gateway.served);
    let _relay = wire.relay(8443, gateway.context("no gateway serves")?)?;
    let host = Host::start(&root, &wire, NAME).await?;
    let bobs = "echo 'bob ALL=(root) NOPASSWD: /bin/true' >/etc/sudoers.d/bob";
    host.sh(bobs).await?;
    let untouched = sudo_costs(&host, "bob").await?;
    host.install_agent().await?;
    offer(&town).await?;
    host.enrol(&town.admin, NAME, TOKEN).await?;
    ready(&town).await?;

    let mut figures = given(setting, &town, &host).await?;
    figures.extend(at_rest(&host).await?);
    figures.extend(costs(&town, &host, untouched).await?);
    figures.push(ended(setting, &town, &host).await?);
    figures.push(dead(setting, &town, &host).await?);
    Ok(figures)
}

/// The Endpoint, and the policy that offers it.
async fn offer(town: &Town) -> Result<()> {
    let admin = &town.admin.client;
    let users = json!([{"subject": {"kind": "User", "name": person(0)}, "localUser": "alice"}]);
    let enrolment = json!({"tokenHash": hash_of_token(TOKEN), "expiresAt": "2036-01-01T00:00:00Z"});
    apply(
        admin,
        NAMESPACE,
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": NAME},
            "spec": {"platform": "Linux", "users": users, "enrolment": enrolment},
        }),
    )
    .await?;
    apply(
        admin,
        NAMESPACE,
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "hosts"},
            "spec": {
                "requesters": [{"kind": "Group", "name": "askers"}],
                "targets": [{"endpoint": {"names": [NAME], "admin": {}}}],
                "duration": {"default": "5m", "max": "8h"},
                "limits": {"openRequestsPerUser": 1000, "activeGrantsPerUser": 1000},
                "approval": {"stages": [
                    {"name": "boss", "required": 1, "approvers": [{"kind": "Group", "name": "approvers"}]},
                ]},
            },
        }),
    )
    .await
}

async fn ready(town: &Town) -> Result<()> {
    let api: Api<lapse_crds::Endpoint> = Api::all(town.admin.client.clone());
    eventually("the agent to be connected", SOON, async || {
        let status = api.get(NAME).await?.status.unwrap_or_default();
        let is_ready = status.conditions.iter().any(|condition| {
            condition.r#type == "Ready" && condition.status == lapse_crds::ConditionStatus::True
        });
        Ok(is_ready.then_some(()))
    })
    .await
}

/// Whether a rule of Lapse stands on the host.
fn has_rule(host: &Host) -> bool {
    let entries = fs::read_dir(host.disk().join("etc/sudoers.d")).into_iter().flatten().flatten();
    // What takes the place of a file that is removed on an overlay is a device.
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .any(|entry| entry.file_name().to_string_lossy().starts_with("lapse-"))
}

async fn rule(host: &Host, wanted: bool) -> Result<Moment> {
    let found = async {
        while has_rule(host) != wanted {
            tokio::time::sleep(LOOK).await;
        }
        Moment::now()
    };
    let what = if wanted { "there" } else { "gone" };
    tokio::time::timeout(LIMIT, found).await.with_context(|| format!("the rule is never {what}"))
}

/// Somebody asks for a right on the host, and it is approved; returns when the call was sent.
async fn approve(town: &Town, name: &str, duration: &str) -> Result<Moment> {
    let target = json!({"endpoint": {"name": NAME, "admin": {}}});
    town.ask_for(0, name, duration, "hosts", &target).await?;
    town.requests.in_state(name, "Pending", LIMIT).await?;
    town.pause().await;
    Ok(town.approve(name).await?.0)
}

/// From the approver's call to the right, on the host and in the cluster, one after the other.
async fn given(setting: &Setting, town: &Town, host: &Host) -> Result<Vec<Figure>> {
    let (mut on_host, mut in_cluster) = (Vec::new(), Vec::new());
    for name in names("host", setting.size.of(60)) {
        let sent = approve(town, &name, "1h").await?;
        on_host.push(rule(host, true).await?.ms_after(sent));
        town.requests.in_state(&name, "Active", LIMIT).await?;
        town.decide(&name, &json!({"verdict": "Deny"})).await?;
        rule(host, false).await?;
        town.requests.in_state(&name, "Ended", LIMIT).await?;

        let beside = format!("{name}-beside");
        town.pending(&beside, "1h").await?;
        town.pause().await;
        let (sent, _) = town.approve(&beside).await?;
        in_cluster.push(town.bindings.there(&beside, LIMIT).await?.ms_after(sent));
        town.decide(&beside, &json!({"verdict": "Deny"})).await?;
        town.requests.in_state(&beside, "Ended", LIMIT).await?;
    }
    Ok(vec![
        Figure::new("approver's call sent → the rule of sudo stands", "ms", on_host)
            .beside("approver's call sent → binding seen", in_cluster)
            .reach(Part::P50, Reach::More(60.0)),
    ])
}

/// How late the rule goes, after the time of the right.
async fn ended(setting: &Setting, town: &Town, host: &Host) -> Result<Figure> {
    let mut late = Vec::new();
    for name in names("late", setting.size.of(20)) {
        approve(town, &name, "3s").await?;
        rule(host, true).await?;
        let end = town.expires_at(&name).await?;
        let gone = rule(host, false).await?;
        late.push((gone.wall - end).as_seconds_f64() * 1000.0);
        town.requests.in_state(&name, "Ended", LIMIT).await?;
    }
    let what = "the end of the time → the rule is gone, with the agent";
    Ok(Figure::new(what, "ms", late).reach(Part::Max, Reach::AtMost(100.0)))
}

/// How late all is dead that was started, and how late the rule goes, when the agent was killed before.
async fn dead(setting: &Setting, town: &Town, host: &Host) -> Result<Figure> {
    let mut late = Vec::new();
    for name in names("dead", setting.size.of(20)) {
        host.sh("systemctl unmask --quiet lapse-agent; systemctl start lapse-agent").await?;
        approve(town, &name, "6s").await?;
        rule(host, true).await?;
        let end = town.expires_at(&name).await?;
        let started = "sudo -n bash -c 'trap \"\" TERM HUP; (setsid sleep 301 &); exec sleep 302' >/dev/null 2>&1 &";
        host.as_user("alice", started).await?;
        host.sh("systemctl mask --quiet --now lapse-agent").await?;
        eventually("it to run", SOON, async || Ok(is_populated(host).then_some(()))).await?;
        let gone = async {
            while is_populated(host) || has_rule(host) {
                tokio::time::sleep(LOOK).await;
            }
            Moment::now()
        };
        let gone = tokio::time::timeout(LIMIT, gone).await.context("it outlives its time")?;
        late.push((gone.wall - end).as_seconds_f64() * 1000.0);
    }
    let what = "the end of the time → the rule is gone and all is dead, without the agent";
    Ok(Figure::new(what, "ms", late).reach(Part::Max, Reach::AtMost(500.0)))
}

/// Whether anything runs that was started with sudo under a right.
fn is_populated(host: &Host) -> bool {
    let events = host.cgroup().join("lapse.slice/cgroup.events");
    fs::read_to_string(events).is_ok_and(|events| events.contains("populated 1"))
}

/// What the agent uses while nothing goes on.
async fn at_rest(host: &Host) -> Result<Vec<Figure>> {
    let pid = agent(host)?;
    let memory = resting_memory("the agent's memory at rest", pid).await?;
    let before = cpu_seconds(pid)?;
    tokio::time::sleep(REST).await;
    let share = (cpu_seconds(pid)? - before) / REST.as_secs_f64() * 100.0;
    Ok(vec![
        memory.reach(Part::Max, Reach::AtMost(12.0)),
        Figure::new("the agent's share of a core at rest, in 60 s", "%", vec![share])
            .reach(Part::Max, Reach::AtMost(0.1)),
    ])
}

/// The process of the agent, as the machine counts.
fn agent(host: &Host) -> Result<u32> {
    let unit = Path::new("system.slice/lapse-agent.service/cgroup.procs");
    let path = host.cgroup().join(unit);
    let pids = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    pids.trim().parse().with_context(|| format!("the agent is not one process: {pids:?}"))
}

/// What one call of `sudo` costs somebody, in milliseconds: one figure of many calls.
async fn sudo_cost(host: &Host, user: &str) -> Result<Vec<f64>> {
    let script = format!(
        "for j in $(seq {CALLS}); do a=$(date +%s%N); sudo -n true || exit 1; b=$(date +%s%N); echo $((b-a)); done"
    );
    let answer = host.as_user(user, &script).await?.ok()?;
    let values = answer.lines().map(|line| Ok(line.parse::<f64>()? / 1e6));
    let values = values.collect::<Result<Vec<f64>>>()?;
    ensure!(!values.is_empty(), "sudo was not timed");
    Ok(values)
}

/// The same of several rounds.
async fn sudo_costs(host: &Host, user: &str) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        all.extend(sudo_cost(host, user).await?);
    }
    Ok(all)
}

/// What sudo costs who has a right, and who has none, on a host with Lapse and on one without. One after the other: what a
/// holder's sudo leaves systemd to do is no part of what another's costs.
async fn costs(town: &Town, host: &Host, without: Vec<f64>) -> Result<Vec<Figure>> {
    let idle = sudo_costs(host, "bob").await?;
    approve(town, "cost", "1h").await?;
    rule(host, true).await?;
    let others = sudo_costs(host, "bob").await?;
    let holders = sudo_costs(host, "alice").await?;
    town.decide("cost", &json!({"verdict": "Deny"})).await?;
    rule(host, false).await?;
    let before = "the same before Lapse was installed";
    Ok(vec![
        Figure::new("sudo of somebody without a right, while nobody has one", "ms", idle)
            .beside(before, without.clone())
            .reach(Part::P50, Reach::More(1.0)),
        Figure::new(
            "sudo of somebody without a right, while another has one",
            "ms",
            others.clone(),
        )
        .beside(before, without)
        .reach(Part::P50, Reach::More(1.0)),
        Figure::new("sudo of who has a right", "ms", holders)
            .beside("sudo of somebody without a right", others)
            .reach(Part::P50, Reach::More(10.0)),
    ])
}
