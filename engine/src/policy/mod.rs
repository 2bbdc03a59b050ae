//! Policies, compiled once into a form that cannot be invalid.

mod among;
mod approval;
mod ban;
mod bearing;
mod compile;
mod emergency;
mod lint;
mod offer;
mod offered;
mod report;
mod requested;
mod roles;
mod select;
mod session;
mod set;
mod settle;
mod state;
mod workstations;

#[cfg(test)]
mod messages;

use lapse_crds::{
    GrantDuration, GrantSession, Identity, JitPolicy, PolicyMode, PolicyRef, Subject,
};

pub use among::lint_among;
pub use approval::ApprovalRules;
pub use ban::{Ban, Touched};
pub use bearing::may_decide;
pub use compile::{PolicyError, PolicyErrorReason};
pub use emergency::{EmergencyRules, describe_reviewers};
pub use lint::{lint, named_roles};
pub use offer::{BannedRoles, RolesKnown};
pub use offered::{Offered, Offers};
pub use report::{report, told};
pub use requested::{bounds, requested_duration};
pub use roles::{NamedRole, lint_namespaces, lint_roles, misspelled};
pub use select::{Asked, Selection, select};
pub use set::Policies;
pub use state::{Bans, PolicyOutline, PolicyState, Rule};
pub use workstations::{NotFromThere, lint_workstations};

use self::offer::Offer;
use self::workstations::Workstations;
use crate::Settings;
use crate::condition::Condition;
use crate::identity;
use crate::pattern::Pattern;
use crate::schedule::Schedule;
use crate::surroundings::Surroundings;
use crate::target::ResolvedTarget;

/// A policy that was checked: its bounds lie within the installation's, its roles can be bound, its
/// approval can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    reference: PolicyRef,
    settings: Settings,
    mode: PolicyMode,
    priority: i32,
    requesters: Vec<Subject>,
    targets: Vec<Offer>,
    workstations: Option<Workstations>,
    duration: Bounds,
    reason: Option<ReasonRule>,
    ticket: Option<TicketRule>,
    schedule: Option<Schedule>,
    limits: Limits,
    conditions: Vec<(Condition, String)>,
    approval: ApprovalRules,
    emergency: Option<EmergencyRules>,
    session: GrantSession,
    keeps_widened: bool,
}

/// How long a grant may last; `min ≤ default ≤ max`, all within the bounds of the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The shortest.
    pub min: GrantDuration,
    /// What a request without a duration gets; `None` if it must say.
    pub default: Option<GrantDuration>,
    /// The longest.
    pub max: GrantDuration,
}

/// How much one person may ask for and hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many requests may be open.
    pub open_requests: usize,
    /// How many grants may be live.
    pub active_grants: usize,
    /// How long rights may be held within 24 hours.
    pub time_per_day: Option<GrantDuration>,
}

/// What a request must say about its ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketRule {
    /// Whether it must be given.
    pub required: bool,
    /// What it must look like, if it is given.
    pub pattern: Option<Pattern>,
}

/// What a request must say about its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonRule {
    /// Whether it must be given.
    pub required: bool,
    /// The least number of characters, if it is given.
    pub min_length: u32,
}

impl Policy {
    /// The policy as it stood when it was compiled.
    #[must_use]
    pub fn reference(&self) -> &PolicyRef {
        &self.reference
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.reference.name
    }

    /// Whether it is on trial: it is evaluated, and gives nothing.
    #[must_use]
    pub fn is_audit(&self) -> bool {
        self.mode == PolicyMode::Audit
    }

    /// Whether this person may ask.
    #[must_use]
    pub fn allows_requester(&self, who: &Identity) -> bool {
        identity::matches_any(who, &self.requesters)
    }

    /// Whether the whole target lies within one entry of what is offered.
    #[must_use]
    pub fn offers(&self, target: &ResolvedTarget, known: &Surroundings) -> bool {
        self.targets.iter().any(|offer| offer.contains(target, known, &self.settings))
    }

    /// What is asked for beyond what is offered there, in words; `None` if nothing is offered there that could be compared.
    #[must_use]
    pub fn shortfall(&self, target: &ResolvedTarget, known: &Surroundings) -> Option<String> {
        let offers = self.targets.iter();
        let mut shortfalls =
            offers.filter_map(|offer| offer.shortfall(target, known, &self.settings));
        shortfalls.next()
    }

    /// Whether a protected namespace is offered: by its name, and where climbing is accepted.
    #[must_use]
    pub fn offers_protected(&self, namespace: &str) -> bool {
        self.targets.iter().any(|offer| offer.offers_protected(namespace, &self.settings))
    }

    /// How long a grant may last.
    #[must_use]
    pub fn duration(&self) -> Bounds {
        self.duration
    }

    /// What a request must say about its reason.
    #[must_use]
    pub fn reason(&self) -> Option<ReasonRule> {
        self.reason
    }

    /// What a request must say about its ticket.
    #[must_use]
    pub fn ticket(&self) -> Option<&TicketRule> {
        self.ticket.as_ref()
    }

    /// The hours in which rights may be held; `None` is always.
    #[must_use]
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    /// How much one person may ask for and hold at once.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The policy's own rules, each with what to tell a requester who does not meet it.
    #[must_use]
    pub fn conditions(&self) -> &[(Condition, String)] {
        &self.conditions
    }

    /// Who approves.
    #[must_use]
    pub fn approval(&self) -> &ApprovalRules {
        &self.approval
    }

    /// What is given in an emergency; `None` if nothing is.
    #[must_use]
    pub fn emergency(&self) -> Option<&EmergencyRules> {
        self.emergency.as_ref()
    }

    /// How long before its end the holder of a right is warned; `None` if that goes by the length of the
    /// grant.
    #[must_use]
    pub fn warnings(&self) -> Option<&[GrantDuration]> {
        self.session.warnings.as_deref()
    }

    /// Whether a right goes on when its role has gained rules.
    #[must_use]
    pub fn keeps_widened(&self) -> bool {
        self.keeps_widened
    }

    /// What a Grant by this policy says about its session.
    #[must_use]
    pub fn session(&self) -> GrantSession {
        self.session.clone()
    }

    /// Who may ask, in words.
    #[must_use]
    pub fn describe_requesters(&self) -> String {
        describe(&self.requesters)
    }

    /// What is offered, in words.
    #[must_use]
    pub fn describe_targets(&self) -> String {
        let offers: Vec<String> = self.targets.iter().map(Offer::describe).collect();
        if offers.is_empty() { "nothing".to_owned() } else { offers.join("; or ") }
    }
}

/// The policy as it stands.
fn reference(policy: &JitPolicy) -> PolicyRef {
    PolicyRef {
        name: policy.metadata.name.clone().unwrap_or_default(),
        uid: policy.metadata.uid.clone().unwrap_or_default(),
        generation: policy.metadata.generation.unwrap_or_default(),
    }
}

/// A list of subjects in words.
#[must_use]
pub fn describe(subjects: &[Subject]) -> String {
    match subjects {
        [] => "nobody".to_owned(),
        _ => subjects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
