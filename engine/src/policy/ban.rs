//! A policy with effect Deny: what nobody of some people may have, whatever other policies say.

use lapse_crds::{Identity, JitPolicySpec, PolicyRef, PolicyTarget, Subject};

use super::offer::Offer;
use crate::identity;
use crate::target::{Namespaces, ResolvedTarget};

/// What a Deny policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    reference: PolicyRef,
    description: Option<String>,
    requesters: Vec<Subject>,
    targets: Vec<Forbidden>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Forbidden {
    Everything,
    Roles(Offer),
}

impl Ban {
    pub(super) fn of(reference: PolicyRef, spec: &JitPolicySpec) -> Self {
        let forbidden = |target: &PolicyTarget| {
            let PolicyTarget { all, kubernetes } = target;
            if *all {
                return Some(Forbidden::Everything);
            }
            kubernetes.as_ref().map(|targets| Forbidden::Roles(Offer::of(targets)))
        };
        Self {
            reference,
            description: spec.description.clone(),
            requesters: spec.requesters.clone(),
            targets: spec.targets.iter().filter_map(forbidden).collect(),
        }
    }

    /// The policy as it stood when it was compiled.
    #[must_use]
    pub fn reference(&self) -> &PolicyRef {
        &self.reference
    }

    /// Whether it denies this person this target: any overlap is enough.
    #[must_use]
    pub fn matches(&self, who: &Identity, target: &ResolvedTarget, known: &Namespaces) -> bool {
        identity::matches_any(who, &self.requesters)
            && self.targets.iter().any(|forbidden| match forbidden {
                Forbidden::Everything => true,
                Forbidden::Roles(offer) => offer.overlaps(target, known),
            })
    }

    /// That it denies, and why, in words.
    #[must_use]
    pub fn message(&self) -> String {
        let why = self.description.as_deref().map(|why| format!(": {}", why.trim_end_matches('.')));
        format!("JitPolicy {} denies it{}.", self.reference.name, why.unwrap_or_default())
    }
}
