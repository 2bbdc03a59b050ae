//! Policies, compiled once into a form that cannot be invalid.

mod approval;
mod compile;
mod lint;
mod report;
mod select;

use lapse_crds::{GrantDuration, Identity, PolicyMode, PolicyRef, RoleRef, Subject};

pub use approval::ApprovalRules;
pub use compile::{PolicyError, PolicyErrorReason};
pub use lint::{lint, named_roles};
pub use report::report;
pub use select::{PolicyState, Selection, describe_candidates, select};

use crate::identity;
use crate::target::{ResolvedTarget, Scope};

/// A policy that was checked: its bounds lie within the installation's, its roles can be bound, its
/// approval can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    reference: PolicyRef,
    mode: PolicyMode,
    priority: i32,
    requesters: Vec<Subject>,
    targets: Vec<Offer>,
    duration: Bounds,
    reason: Option<ReasonRule>,
    approval: ApprovalRules,
}

/// What a policy offers in one entry of its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    roles: Vec<RoleRef>,
    namespaces: Namespaces,
    cluster_wide: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Namespaces {
    Named(Vec<String>),
    All,
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

    /// Whether it is switched off.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.mode == PolicyMode::Disabled
    }

    /// Whether this person may ask.
    #[must_use]
    pub fn allows_requester(&self, who: &Identity) -> bool {
        identity::matches_any(who, &self.requesters)
    }

    /// Whether the whole target lies within one entry of what is offered.
    #[must_use]
    pub fn offers(&self, target: &ResolvedTarget) -> bool {
        self.targets.iter().any(|offer| offer.contains(target))
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

    /// Who approves.
    #[must_use]
    pub fn approval(&self) -> &ApprovalRules {
        &self.approval
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

impl Offer {
    fn contains(&self, target: &ResolvedTarget) -> bool {
        let place = match &target.scope {
            Scope::Cluster => self.cluster_wide,
            Scope::Namespaces(asked) => match &self.namespaces {
                Namespaces::All => true,
                Namespaces::Named(names) => asked.iter().all(|name| names.contains(name)),
            },
        };
        place && self.roles.contains(&target.role)
    }

    fn describe(&self) -> String {
        let roles = self.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut places = match &self.namespaces {
            Namespaces::All => vec!["all namespaces".to_owned()],
            Namespaces::Named(names) => names.clone(),
        };
        if self.cluster_wide {
            places.push("the whole cluster".to_owned());
        }
        format!("{roles} in {}", places.join(", "))
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
