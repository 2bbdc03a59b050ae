//! A host beside the cluster, with an agent.

use std::ops::Deref;
use std::path::Path;

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequestStatus, ConditionStatus, Grant, RequestPhase};
use lapse_e2e::host::{Host, Relay, Release, Root, Wire, package};
use lapse_e2e::plane::{SOON, eventually};
use serde_json::{Value, json};

use crate::corner::{Corner, TOKEN};

/// A test's own host, and its own corner of the cluster.
pub(crate) struct Site {
    pub(crate) host: Host,
    corner: Corner,
    _relay: Relay,
    _wire: Wire,
}

impl Deref for Site {
    type Target = Corner;

    fn deref(&self) -> &Corner {
        &self.corner
    }
}

impl Site {
    /// A host with an agent that is connected.
    pub(crate) async fn new(name: &str) -> Self {
        Self::of(name, Release::Debian12).await
    }

    pub(crate) async fn of(name: &str, release: Release) -> Self {
        let site = Self::without_agent(name, release).await;
        site.enrol().await;
        site
    }

    pub(crate) async fn without_agent(name: &str, release: Release) -> Self {
        Self::with(Corner::new(name).await, release, &package().await.unwrap()).await
    }

    /// A host for the Endpoint of this corner, with this package of the agent. It has not enrolled.
    pub(crate) async fn with(corner: Corner, release: Release, package: &Path) -> Self {
        let (root, wire) = (Root::ready(release).await.unwrap(), Wire::new().unwrap());
        let relay = wire.relay(8443, corner.gateway()).unwrap();
        let host = Host::start(&root, &wire, &corner.name).await.unwrap();
        host.sh("groupadd ops").await.unwrap();
        host.install(package).await.unwrap();
        Self { host, corner, _relay: relay, _wire: wire }
    }

    /// Enrols the host, and waits until its agent is connected.
    pub(crate) async fn enrol(&self) {
        self.host.enrol(&self.admin, &self.name, TOKEN).await.unwrap();
        self.ready(ConditionStatus::True).await;
    }

    /// What it was, or what the host says of why it was not.
    async fn told<T>(&self, found: anyhow::Result<T>) -> T {
        match found {
            Ok(found) => found,
            Err(error) => panic!("{error:#}; {}", self.journal().await),
        }
    }

    pub(crate) async fn ready(&self, expected: ConditionStatus) {
        self.told(self.corner.ready(expected).await).await;
    }

    /// Waits for the phase of a request.
    pub(crate) async fn phase(&self, request: &str, phase: RequestPhase) -> AccessRequestStatus {
        self.told(self.corner.phase(request, phase).await).await
    }

    /// alice asks, bob approves, she has it. Returns the name of the Grant, and its end.
    pub(crate) async fn given(
        &self,
        request: &str,
        what: &Value,
        duration: &str,
    ) -> (String, DateTime<Utc>) {
        self.told(self.corner.given(request, what, duration).await).await
    }

    /// A right to everything by a policy that says this of sessions.
    pub(crate) async fn given_by(&self, request: &str, session: Value, duration: &str) -> String {
        let policy = format!("{}-{request}", self.name);
        let offer = json!({"names": [self.name], "admin": {}});
        self.policy_named(&policy, offer, session).await;
        self.ask_by(&policy, request, &json!({"admin": {}}), duration).await;
        self.decide(&self.bob, request, "Approve").await.unwrap();
        self.phase(request, RequestPhase::Active).await.grant.unwrap().name
    }

    /// Waits until a grant has ended, verified by the agent.
    pub(crate) async fn ended(&self, grant: &str) -> Grant {
        self.told(self.corner.ended(grant).await).await
    }

    /// What the agent and the units that end rights have said.
    pub(crate) async fn journal(&self) -> String {
        let units = "journalctl --no-pager --output cat --unit 'lapse-*'; lapse-agent status";
        self.host.sh(units).await.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// What sudo says to alice: whether it did what she wanted.
    pub(crate) async fn sudo(&self, command: &str) -> bool {
        let answer = self.host.as_user("alice", &format!("sudo -n {command}")).await.unwrap();
        answer.status == 0
    }

    /// Whether nothing of Lapse's is left on the host beside what the package brought.
    pub(crate) async fn assert_clean(&self) {
        let left = "ls /etc/sudoers.d | grep ^lapse-; ls /etc/systemd/system /run/systemd/system \
                    /etc/systemd/system/timers.target.wants | grep -E '^lapse-.*timer'; \
                    systemctl list-timers --no-legend 'lapse-*'; getent group ops | grep alice; true";
        let look = async || Ok(Some(self.host.sh(left).await?).filter(String::is_empty));
        if let Err(error) = eventually("nothing to be left", SOON, look).await {
            panic!("{error:#}: {}; {}", self.host.sh(left).await.unwrap(), self.journal().await);
        }
    }
}
