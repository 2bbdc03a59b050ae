//! The rules that a request must pass. Each is one file: a small function from what was asked and
//! what is allowed to an outcome in plain words.

mod conditions;
mod debts;
mod duration;
mod duties;
mod endpoint;
mod limits;
mod policy;
mod reason;
mod requester;
mod risk;
mod schedule;
mod target;
mod ticket;

#[cfg(test)]
mod messages;

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequestSpec, CheckName, CheckOutcome, CheckStatus, Identity};

pub(crate) use self::risk::is_harmless;
use crate::duties::Duties;
use crate::lifetime::starts_at;
use crate::origin::Provenance;
use crate::peers::{Extended, InLine, Peers};
use crate::policy::{Policies, Policy};
use crate::risk::ServiceAccount;
use crate::role::RoleRules;
use crate::surroundings::Surroundings;
use crate::target::ResolvedTarget;
use crate::{Read, Settings, identity};

/// How a check came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// It allows the request.
    Pass(String),
    /// It refuses the request.
    Fail(String),
    /// It cannot tell yet, because a look-up failed.
    Pending(String),
    /// The policy has no such rule.
    NotApplicable(String),
}

/// What the checks look at, once a policy is found that decides.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The name of the request.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// When it was admitted.
    pub requested_at: DateTime<Utc>,
    /// Whether its checks have passed before, so that no limit takes its place away.
    pub has_place: bool,
    /// What else the requester asks for and holds.
    pub peers: &'a Read<Peers>,
    /// Who is engaged in the policies that are kept apart from the one that decides.
    pub duties: &'a Duties,
    /// What was asked.
    pub spec: &'a AccessRequestSpec,
    /// By whom.
    pub requester: &'a Identity,
    /// Where it was made.
    pub provenance: &'a Provenance,
    /// For what, spelled out.
    pub target: &'a ResolvedTarget,
    /// The policy that decides.
    pub policy: &'a Policy,
    /// All policies: who reviews what they gave is told by them.
    pub policies: &'a Policies,
    /// The rules of the role.
    pub role: &'a Read<RoleRules>,
    /// The service accounts in its namespaces, if the role lets its holder act as any.
    pub accounts: &'a Read<Vec<ServiceAccount>>,
    /// What is known of where it would hold.
    pub known: &'a Surroundings,
    /// What the installation allows.
    pub settings: &'a Settings,
    /// The time.
    pub now: DateTime<Utc>,
}

impl Context<'_> {
    /// When the right would start, were it approved now.
    #[must_use]
    pub fn starts_at(&self) -> DateTime<Utc> {
        starts_at(self.spec, self.now)
    }

    /// What the Grant would give: the target with all that the request left open.
    pub(crate) fn settled(&self) -> ResolvedTarget {
        self.policy.settled(self.target, self.requester, self.known)
    }

    /// The place of the request among those of its requester.
    fn in_line(&self) -> InLine<'_> {
        let Self { uid, requested_at, has_place, .. } = *self;
        InLine { uid, requested_at, has_place }
    }

    /// What the request extends, if it extends anything; or the outcome of a check that needs to know.
    fn extended(&self) -> Result<Option<Extended<'_>>, CheckResult> {
        let Some(name) = &self.spec.extends else { return Ok(None) };
        let peers = match self.peers {
            Read::Found(peers) => peers,
            Read::Failed(why) => {
                let message = format!("What else you hold cannot be read: {why}.");
                return Err(CheckResult::Pending(message));
            }
            Read::Missing => {
                return Err(CheckResult::Pending("What else you hold is not known.".to_owned()));
            }
        };
        let Some(who) = identity::subject_of(self.requester) else { return Ok(None) };
        let extended = peers.extended(self.namespace, name, &who, self.now);
        extended.map(Some).map_err(CheckResult::Fail)
    }
}

type Check = fn(&Context<'_>) -> CheckResult;

/// The checks, in the order in which they are shown.
const CHECKS: [(CheckName, Check); 11] = [
    (CheckName::Policy, policy::check),
    (CheckName::Requester, requester::check),
    (CheckName::Target, target::check),
    (CheckName::Risk, risk::check),
    (CheckName::Duration, duration::check),
    (CheckName::Reason, reason::check),
    (CheckName::Ticket, ticket::check),
    (CheckName::Schedule, schedule::check),
    (CheckName::SeparationOfDuties, duties::check),
    (CheckName::Limits, limits::check),
    (CheckName::Conditions, conditions::check),
];

/// The outcomes of all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report(Vec<CheckStatus>);

impl Report {
    /// Runs every check.
    #[must_use]
    pub fn run(context: &Context<'_>) -> Self {
        Self(CHECKS.iter().map(|(name, check)| status(*name, check(context))).collect())
    }

    /// The report when no policy decides: the first check failed, and the others do not apply.
    #[must_use]
    pub fn without_policy(why: &str) -> Self {
        let outcome = |name| match name {
            CheckName::Policy => CheckResult::Fail(why.to_owned()),
            _ => CheckResult::NotApplicable("No policy decides.".to_owned()),
        };
        Self(CHECKS.iter().map(|(name, _)| status(*name, outcome(*name))).collect())
    }

    /// Why the request is refused, in words, if it is.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.messages(CheckOutcome::Fail)
    }

    /// What could not be looked up, in words, if anything.
    #[must_use]
    pub fn unknown(&self) -> Option<String> {
        self.messages(CheckOutcome::Pending)
    }

    /// The outcomes in the form of the API.
    #[must_use]
    pub fn into_status(self) -> Vec<CheckStatus> {
        self.0
    }

    fn messages(&self, outcome: CheckOutcome) -> Option<String> {
        let of_outcome = self.0.iter().filter(|check| check.outcome == outcome);
        // Two checks may lack the same look-up.
        let mut messages: Vec<&str> = of_outcome.map(|check| &*check.message).collect();
        messages.dedup();
        (!messages.is_empty()).then(|| messages.join(" "))
    }
}

fn status(name: CheckName, outcome: CheckResult) -> CheckStatus {
    let (outcome, message) = match outcome {
        CheckResult::Pass(message) => (CheckOutcome::Pass, message),
        CheckResult::Fail(message) => (CheckOutcome::Fail, message),
        CheckResult::Pending(message) => (CheckOutcome::Pending, message),
        CheckResult::NotApplicable(message) => (CheckOutcome::NotApplicable, message),
    };
    CheckStatus { name, outcome, message }
}
