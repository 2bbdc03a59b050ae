//! Applications and accounts, on real hosts: each is given, and ends by whatever ends it, with all that was started.

mod accounts;
mod application;

use chrono::{DateTime, Utc};
use kube::api::{DeleteParams, Patch, PatchParams};
use lapse_crds::{EndReason, GrantPhase, RequestPhase};
use lapse_e2e::host::{Release, Running};
use lapse_e2e::plane::{SOON, eventually, until};
use rstest::rstest;
use serde_json::{Value, json};

use crate::corner::SHORT;
use crate::site::Site;

/// What ignores what can be ignored, in sessions of its own.
const STUBBORN: &str =
    "trap '' TERM HUP INT; (setsid sleep 311 &); nohup sleep 312 >/dev/null 2>&1 & exec sleep 313";

/// What an elevation is, and how it is seen on a host.
struct Kind {
    /// Whose it is there.
    user: &'static str,
    what: Value,
    /// What root does before anybody asks.
    ready: &'static str,
    /// What its holder does with it, on and on: some of it goes on whatever ends its parents.
    uses: String,
    /// Whether it is held, for what can be held without being used.
    holds: &'static str,
}

fn application() -> Kind {
    Kind {
        user: "alice",
        what: json!({"application": "stubborn"}),
        ready: "true",
        uses: "su --login alice --command 'lapse run stubborn'".to_owned(),
        holds: "pgrep -fx 'sleep 31[123]'",
    }
}

/// As a user, with jobs of at.
fn as_user(user: &str) -> String {
    let jobs = "echo 'sleep 314' | at now 2>/dev/null";
    format!("su --login {user} --command \"{jobs}; bash -c \\\"{STUBBORN}\\\"\"")
}

fn enable() -> Kind {
    Kind {
        user: "alice",
        what: json!({"account": {"action": "Enable"}}),
        ready: "echo alice:secret | chpasswd && usermod --lock --expiredate 1 alice",
        uses: as_user("alice"),
        holds: "su alice --command true",
    }
}

fn provision() -> Kind {
    Kind {
        user: "pat",
        what: json!({"account": {"action": "Provision", "groups": ["ops"]}}),
        ready: "true",
        uses: as_user("pat"),
        holds: "id pat && getent group ops | grep -w pat",
    }
}

fn raise() -> Kind {
    Kind {
        user: "alice",
        what: json!({"account": {"action": "Raise", "groups": ["ops", "games"]}}),
        ready: "gpasswd --add alice games",
        uses: as_user("alice"),
        holds: "getent group ops | grep -w alice && getent group games | grep -w alice",
    }
}

/// A site where all of it is offered.
struct Place {
    site: Site,
    kind: Kind,
    /// What was there before, and is to be there afterwards.
    before: String,
}

impl Place {
    async fn new(name: &str, kind: Kind) -> Self {
        Self::of(name, kind, Release::Debian12).await
    }

    async fn of(name: &str, kind: Kind, release: Release) -> Self {
        let site = Site::of(name, release).await;
        let stubborn = format!("#!/bin/bash\n{STUBBORN}\n");
        std::fs::write(site.host.share().join("stubborn"), stubborn).unwrap();
        let install = "install --mode 755 /mnt/stubborn /usr/local/bin/stubborn";
        site.host.sh(&format!("{install}; {}", kind.ready)).await.unwrap();
        be(&site, kind.user, &[]).await;
        offer(&site, &json!([{"name": "stubborn", "path": "/usr/local/bin/stubborn"}])).await;
        let before = state(&site).await;
        Self { site, kind, before }
    }

    /// Given, and used in a way that outlives its user's shell.
    async fn given(&self, request: &str, duration: &str) -> (String, DateTime<Utc>, Running) {
        let (grant, end) = given(&self.site, request, &self.kind.what, duration).await;
        let running = self.site.host.spawn(&["sh", "-c", &self.kind.uses]).unwrap();
        let look = async || Ok((self.sleeps().await? >= 3).then_some(()));
        if let Err(error) = eventually("all to run", SOON, look).await {
            panic!("{error:#}: {:?}; {}", running.said(), self.site.journal().await);
        }
        assert!(self.is_held().await, "{}", self.site.journal().await);
        (grant, end, running)
    }

    async fn sleeps(&self) -> anyhow::Result<usize> {
        let all = self.site.host.sh("pgrep -c -fx 'sleep 31[1234]' || true").await?;
        Ok(all.trim().parse()?)
    }

    async fn is_held(&self) -> bool {
        self.site.host.run(&["sh", "-c", self.kind.holds]).await.unwrap().status == 0
    }

    /// Nothing of it is held, nothing runs, and the host is as it was. Waits for that.
    async fn is_over(&self) {
        let look = async || {
            let is_over = !self.is_held().await && self.sleeps().await? == 0;
            Ok((is_over && state(&self.site).await == self.before).then_some(()))
        };
        if let Err(error) = eventually("all of it to be over", SOON, look).await {
            let (now, before) = (state(&self.site).await, &self.before);
            panic!("{error:#}: {now} and not {before}; {}", self.site.journal().await);
        }
        self.site.assert_clean().await;
    }
}

/// The users and groups of a host, and what is kept of them.
async fn state(site: &Site) -> String {
    let all = "cat /etc/passwd /etc/shadow /etc/group /etc/gshadow /etc/subuid /etc/subgid; \
               ls -A /home /var/mail /var/lib/systemd/linger 2>/dev/null; true";
    site.host.sh(all).await.unwrap()
}

/// Has alice be this local user, who has these keys if Lapse makes them.
pub(crate) async fn be(site: &Site, user: &str, keys: &[&str]) {
    let subject = json!({"kind": "User", "name": site.alice.name});
    let users = json!([{"subject": subject, "localUser": user, "authorizedKeys": keys}]);
    let patch = Patch::Merge(json!({"spec": {"users": users}}));
    site.endpoints().patch(&site.name, &PatchParams::default(), &patch).await.unwrap();
}

fn policy(site: &Site) -> String {
    format!("{}-more", site.name)
}

/// Offers all kinds of accounts, and these applications.
async fn offer(site: &Site, applications: &Value) {
    let groups = json!(["ops", "games"]);
    let offered = json!({
        "names": [site.name],
        "applications": applications,
        "accounts": [
            {"action": "Enable"},
            {"action": "Provision", "groups": groups},
            {"action": "Raise", "groups": groups},
        ],
    });
    site.policy_named(&policy(site), offered, json!({})).await;
}

/// alice asks for it, bob approves, she has it.
async fn given(
    site: &Site,
    request: &str,
    what: &Value,
    duration: &str,
) -> (String, DateTime<Utc>) {
    site.ask_by(&policy(site), request, what, duration).await;
    site.decide(&site.bob, request, "Approve").await.unwrap();
    let status = site.phase(request, RequestPhase::Active).await;
    let name = status.grant.unwrap().name;
    let grant = site.grants().get(&name).await.unwrap();
    (name, grant.spec.expires_at.time())
}

/// What is said of a request that came to nothing.
async fn failed(site: &Site, request: &str, what: &Value, words: &str) {
    site.ask_by(&policy(site), request, what, "10m").await;
    site.decide(&site.bob, request, "Approve").await.unwrap();
    let status = site.phase(request, RequestPhase::Failed).await;
    let said = serde_json::to_string(&status).unwrap();
    assert!(said.contains(words), "expected {words:?} in {said}");
    site.assert_clean().await;
}

#[rstest]
#[case::application_12("more-app-12", application(), Release::Debian12)]
#[case::application_13("more-app-13", application(), Release::Debian13)]
#[case::enable_12("more-enable-12", enable(), Release::Debian12)]
#[case::enable_13("more-enable-13", enable(), Release::Debian13)]
#[case::provision_12("more-provision-12", provision(), Release::Debian12)]
#[case::provision_13("more-provision-13", provision(), Release::Debian13)]
#[case::raise_12("more-raise-12", raise(), Release::Debian12)]
#[case::raise_13("more-raise-13", raise(), Release::Debian13)]
#[tokio::test]
async fn it_ends_on_time_and_when_somebody_ends_it(
    #[case] name: &str,
    #[case] kind: Kind,
    #[case] release: Release,
) {
    let place = Place::of(name, kind, release).await;
    let site = &place.site;
    let (grant, end, _running) = place.given("by-time", SHORT).await;
    until(end).await;
    place.is_over().await;
    println!("{name} is over {} after the end", lapse_cluster::clock::now() - end);
    let status = site.ended(&grant).await.status.unwrap();
    assert_eq!(status.end_reason, Some(EndReason::Expired));

    let (grant, _, _running) = place.given("by-alice", "10m").await;
    site.decide(&site.alice, "by-alice", "End").await.unwrap();
    site.ended(&grant).await;
    place.is_over().await;

    let (grant, _, _running) = place.given("by-bob", "10m").await;
    site.decide(&site.bob, "by-bob", "Deny").await.unwrap();
    site.ended(&grant).await;
    place.is_over().await;

    let (grant, _, _running) = place.given("by-deletion", "10m").await;
    site.requests(&site.admin).delete("by-deletion", &DeleteParams::default()).await.unwrap();
    site.ended(&grant).await;
    place.is_over().await;

    let (grant, _, _running) = place.given("by-root", "10m").await;
    site.host.sh(&format!("lapse end {grant}")).await.unwrap();
    place.is_over().await;
    site.ended(&grant).await;
}

#[rstest]
#[case::application("more-dead-app", application())]
#[case::enable("more-dead-enable", enable())]
#[case::provision("more-dead-provision", provision())]
#[case::raise("more-dead-raise", raise())]
#[tokio::test]
async fn it_ends_with_the_agent_dead(#[case] name: &str, #[case] kind: Kind) {
    let place = Place::new(name, kind).await;
    let (grant, end, running) = place.given("fix", SHORT).await;
    let kill = "systemctl mask --now lapse-agent; pkill -9 -x lapse-agent || true";
    place.site.host.sh(kill).await.unwrap();
    assert!(place.is_held().await, "it goes on: {:?}", running.said());
    until(end).await;
    place.is_over().await;
    println!("{name} is over {} after the end", lapse_cluster::clock::now() - end);
    // Nobody can say so until it is back.
    let waiting = place.site.grants().get(&grant).await.unwrap().status.unwrap();
    assert_ne!(waiting.phase, GrantPhase::Ended);
    let back = "systemctl unmask lapse-agent; systemctl start lapse-agent";
    place.site.host.sh(back).await.unwrap();
    place.site.ended(&grant).await;
}

#[rstest]
#[case::application("more-power-app", application())]
#[case::enable("more-power-enable", enable())]
#[case::provision("more-power-provision", provision())]
#[case::raise("more-power-raise", raise())]
#[tokio::test]
async fn it_ends_when_the_power_goes_across_the_end(#[case] name: &str, #[case] kind: Kind) {
    let mut place = Place::new(name, kind).await;
    let (grant, end, running) = place.given("fix", SHORT).await;
    place.site.host.crash().unwrap();
    drop(running);
    until(end).await;
    place.site.host.boot().await.unwrap();
    // Before anybody can log in.
    assert!(!place.is_held().await, "{}", place.site.journal().await);
    place.is_over().await;
    place.site.ended(&grant).await;
}

#[rstest]
#[case::application("more-cut-app", application())]
#[case::enable("more-cut-enable", enable())]
#[case::provision("more-cut-provision", provision())]
#[case::raise("more-cut-raise", raise())]
#[tokio::test]
async fn it_ends_where_the_host_is_cut_off(#[case] name: &str, #[case] kind: Kind) {
    let mut place = Place::new(name, kind).await;
    let (grant, end, _running) = place.given("fix", SHORT).await;
    place.site.host.cut().unwrap();
    until(end).await;
    place.is_over().await;
    place.site.host.join().unwrap();
    place.site.ended(&grant).await;
}

/// The agent is killed again and again while rights come and go.
#[rstest]
#[case::application("more-killed-app", application())]
#[case::enable("more-killed-enable", enable())]
#[case::provision("more-killed-provision", provision())]
#[case::raise("more-killed-raise", raise())]
#[tokio::test]
async fn an_agent_that_is_killed_at_any_moment_loses_nothing(
    #[case] name: &str,
    #[case] kind: Kind,
) {
    let place = Place::new(name, kind).await;
    let script = "for i in $(seq 60); do pkill -9 -x lapse-agent; sleep 0.$((RANDOM % 5))$((RANDOM % 10)); done";
    let killer = place.site.host.spawn(&["bash", "-c", script]).unwrap();
    for number in 0..3 {
        let request = format!("fix-{number}");
        place.site.ask_by(&policy(&place.site), &request, &place.kind.what, "5s").await;
        place.site.decide(&place.site.bob, &request, "Approve").await.unwrap();
    }
    killer.wait().await.unwrap();
    for number in 0..3 {
        let request = format!("fix-{number}");
        // Given and over, or its time was up before the agent lived long enough.
        eventually("the request to be over", SOON, async || {
            let found = place.site.requests(&place.site.admin).get(&request).await?;
            let phase = found.status.unwrap_or_default().phase;
            Ok(matches!(phase, RequestPhase::Ended | RequestPhase::Failed).then_some(()))
        })
        .await
        .unwrap();
    }
    place.is_over().await;
}
