//! How all Endpoints stand, and what is to be said of those for which no connection speaks: nobody has enrolled, nobody ever
//! connected, or the process of the gateway that somebody was connected to is gone. Pure: the time is passed in.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use lapse_crds::{
    AgentConnection, Condition, ConditionStatus, Conditions as _, Endpoint, EndpointSpec,
    EndpointStatus, Enrolment, Timestamp,
};
use lapse_engine::endpoint::{AGENT_PROBLEM, CONNECTED, DRIFTED, DUPLICATE, NO_GATEWAY, READY};
use serde::Deserialize;

use crate::status::{DISCONNECTED, OUTDATED, condition};

/// What is read of an Endpoint to know how it stands.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Lean {
    spec: LeanSpec,
    #[serde(default)]
    status: LeanStatus,
}

#[derive(Clone, Debug, Deserialize)]
struct LeanSpec {
    enrolment: Option<Enrolment>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct LeanStatus {
    agent: Option<LeanAgent>,
    connection: Option<AgentConnection>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanAgent {
    public_key: String,
    certificate_expires_at: Timestamp,
}

impl Lean {
    /// The key of the agent that enrolled, and its last connection.
    pub(crate) fn agent(&self) -> (Option<&str>, Option<&str>) {
        let key = self.status.agent.as_ref().map(|agent| agent.public_key.as_str());
        (key, self.status.connection.as_ref().map(|connection| connection.name.as_str()))
    }

    /// How it stands.
    pub(crate) fn standing(self) -> Standing {
        let LeanStatus { agent, connection, conditions } = self.status;
        let expires = agent.map(|agent| agent.certificate_expires_at);
        Standing::new(self.spec.enrolment, expires, connection, &conditions)
    }
}

/// How an Endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Until when its token may be used, if it has one.
    token: Option<DateTime<Utc>>,
    /// When the certificate of its agent ends, if one has enrolled.
    certificate: Option<DateTime<Utc>>,
    /// To which process of the gateway its agent was connected last.
    gateway: Option<Box<str>>,
    /// The reason of its condition `Ready`; empty if it has none.
    reason: Box<str>,
    is_outdated: bool,
    is_twice: bool,
    is_drifted: bool,
}

impl Standing {
    fn new(
        enrolment: Option<Enrolment>,
        certificate: Option<Timestamp>,
        connection: Option<AgentConnection>,
        conditions: &Vec<Condition>,
    ) -> Self {
        let reason = conditions.condition(READY).map(|ready| ready.reason.as_str());
        let is = |name: &str| {
            conditions.condition(name).is_some_and(|is| is.status == ConditionStatus::True)
        };
        Self {
            token: enrolment.map(|enrolment| enrolment.expires_at.time()),
            certificate: certificate.map(Timestamp::time),
            gateway: connection.map(|connection| connection.gateway.into()),
            reason: reason.unwrap_or_default().into(),
            is_outdated: is(OUTDATED),
            is_twice: is(DUPLICATE),
            is_drifted: is(DRIFTED),
        }
    }

    /// How one stands that was read as of now.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let EndpointSpec { enrolment, .. } = endpoint.spec.clone();
        let EndpointStatus { agent, connection, conditions, .. } =
            endpoint.status.clone().unwrap_or_default();
        let expires = agent.map(|agent| agent.certificate_expires_at);
        Self::new(enrolment, expires, connection, &conditions)
    }

    /// The process of the gateway by which its agent is connected, as far as the Endpoint says; or by which it was when the
    /// controller saw that no gateway lives.
    pub(crate) fn connected_to(&self) -> Option<&str> {
        let is_connected = [CONNECTED, AGENT_PROBLEM, NO_GATEWAY].contains(&&*self.reason);
        self.gateway.as_deref().filter(|_| is_connected)
    }

    /// Whether the controller has said that no gateway lives, of a host that was connected to this process, which does: what
    /// that wrote was not seen for a while. Another process is left to say so itself.
    pub(crate) fn is_given_up(&self, own: &str) -> bool {
        *self.reason == *NO_GATEWAY && self.gateway.as_deref() == Some(own)
    }

    /// What is to be said of it, if it does not say so yet and no connection speaks for it. `is_dead` is for the process
    /// of the gateway that it is connected to.
    pub(crate) fn silence(&self, is_dead: bool, now: DateTime<Utc>) -> Option<Silence> {
        let silence = match (self.certificate, self.token) {
            (None, None) => Silence::NoToken,
            (None, Some(until)) if until <= now => Silence::TokenExpired(until),
            (None, Some(until)) => Silence::NotEnrolled(until),
            (Some(_), _) if self.gateway.is_none() => Silence::NotConnected,
            (Some(_), _) if self.connected_to().is_some() && is_dead => Silence::GatewayLost,
            (Some(_), _) if self.connected_to().is_some() => return None,
            (Some(until), _) if until <= now => Silence::CertificateExpired(until),
            (Some(_), _) => return None,
        };
        (silence.reason() != &*self.reason).then_some(silence)
    }
}

/// What is said of an Endpoint for which no connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// No agent has enrolled, and none may.
    NoToken,
    /// No agent has enrolled, and one may until then.
    NotEnrolled(DateTime<Utc>),
    /// None has, and since then none may.
    TokenExpired(DateTime<Utc>),
    /// One has enrolled, and never connected.
    NotConnected,
    /// It cannot connect any more: its certificate ended then.
    CertificateExpired(DateTime<Utc>),
    /// The process of the gateway that it was connected to is gone, and it has connected to no other.
    GatewayLost,
}

impl Silence {
    fn reason(self) -> &'static str {
        match self {
            Self::NoToken | Self::NotEnrolled(_) => NOT_ENROLLED,
            Self::TokenExpired(_) => TOKEN_EXPIRED,
            Self::NotConnected => NOT_CONNECTED,
            Self::CertificateExpired(_) => CERTIFICATE_EXPIRED,
            Self::GatewayLost => GATEWAY_LOST,
        }
    }

    fn message(self) -> String {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        match self {
            Self::NoToken => "no agent has enrolled, and none may: set spec.enrolment to the hash of a token, and enrol the \
                              host with that token (lapse-agent enrol)"
                .to_owned(),
            Self::NotEnrolled(until) => format!(
                "no agent has enrolled: run `lapse-agent enrol` on the host with the token of spec.enrolment, until {}",
                time(until)
            ),
            Self::TokenExpired(until) => format!(
                "no agent has enrolled, and the token could be used until {}: set spec.enrolment to the hash of a new token",
                time(until)
            ),
            Self::NotConnected => "its agent has enrolled, and never connected: run `systemctl start lapse-agent` on the \
                                   host, and look at `lapse-agent status` there"
                .to_owned(),
            Self::CertificateExpired(until) => format!(
                "the certificate of its agent ended on {}, so that it cannot connect: set spec.enrolment to the hash of a new \
                 token, and enrol the host again (lapse-agent enrol --again)",
                time(until)
            ),
            Self::GatewayLost => "the gateway that its agent was connected to is gone, and it has connected to no \
                                  other: access ends on the host by itself, but new access begins only when it is \
                                  back. Look at the host, and at the gateway"
                .to_owned(),
        }
    }

    /// What becomes of the condition `Ready`.
    pub(crate) fn ready(self, generation: Option<i64>, now: DateTime<Utc>) -> Condition {
        let status = match self {
            Self::GatewayLost => ConditionStatus::Unknown,
            _ => ConditionStatus::False,
        };
        condition(READY, status, self.reason(), self.message(), (generation, now))
    }
}

const NOT_ENROLLED: &str = "NotEnrolled";
const TOKEN_EXPIRED: &str = "TokenExpired";
const NOT_CONNECTED: &str = "NotConnected";
const CERTIFICATE_EXPIRED: &str = "CertificateExpired";
const GATEWAY_LOST: &str = "GatewayLost";

/// The reasons by which Endpoints are counted.
pub(crate) const REASONS: [&str; 9] = [
    CONNECTED,
    AGENT_PROBLEM,
    DISCONNECTED,
    NOT_ENROLLED,
    TOKEN_EXPIRED,
    NOT_CONNECTED,
    CERTIFICATE_EXPIRED,
    GATEWAY_LOST,
    NO_GATEWAY,
];

/// How all Endpoints stand, by name.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    all: HashMap<String, Standing>,
}

/// How many Endpoints stand how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// By the reasons of [`REASONS`], in their order.
    pub(crate) reasons: [usize; REASONS.len()],
    /// Those whose agent is older than this release.
    pub(crate) outdated: usize,
    /// Those of which two machines have the identity.
    pub(crate) twice: usize,
    /// Those on which something was changed that outlasts access.
    pub(crate) drifted: usize,
}

impl Roll {
    /// One was seen.
    pub(crate) fn see(&mut self, name: String, standing: Standing) {
        self.all.insert(name, standing);
    }

    /// One is gone.
    pub(crate) fn forget(&mut self, name: &str) {
        self.all.remove(name);
    }

    /// There are these and no others.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.all.retain(|name, _| is_there(name));
    }

    /// Those of which something is to be said.
    pub(crate) fn silent(
        &self,
        mut is_dead: impl FnMut(&str) -> bool,
        now: DateTime<Utc>,
    ) -> Vec<String> {
        let mut is_silent = |standing: &Standing| {
            let is_dead = standing.connected_to().is_some_and(&mut is_dead);
            standing.silence(is_dead, now).is_some()
        };
        let silent = self.all.iter().filter(|(_, standing)| is_silent(standing));
        silent.map(|(name, _)| name.clone()).collect()
    }

    /// Those of this process of which the controller has said that no gateway lives.
    pub(crate) fn given_up(&self, own: &str) -> Vec<String> {
        let given_up = self.all.iter().filter(|(_, standing)| standing.is_given_up(own));
        given_up.map(|(name, _)| name.clone()).collect()
    }

    /// How many stand how.
    pub(crate) fn count(&self) -> Count {
        let mut count = Count::default();
        for standing in self.all.values() {
            if let Some(place) = REASONS.iter().position(|reason| *reason == &*standing.reason) {
                count.reasons[place] += 1;
            }
            count.outdated += usize::from(standing.is_outdated);
            count.twice += usize::from(standing.is_twice);
            count.drifted += usize::from(standing.is_drifted);
        }
        count
    }
}

#[cfg(test)]
mod tests;
