//! A policy with effect Deny: what nobody of some people may have, whatever other policies say.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_crds::{Identity, JitPolicySpec, PolicyRef, PolicyTarget, RoleRef, Subject, SubjectKind};

use super::compile::{check_all_targets, compile_schedule};
use super::offer::{Offer, RolesKnown};
use super::{BannedRoles, PolicyError, describe};
use crate::schedule::{Hours, Schedule};
use crate::summary::GrantSummary;
use crate::surroundings::Surroundings;
use crate::target::ResolvedTarget;
use crate::{Read, identity};

/// What a Deny policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    reference: PolicyRef,
    description: Option<String>,
    requesters: Vec<Subject>,
    targets: Vec<Forbidden>,
    /// When it denies; `None` is always.
    schedule: Option<Schedule>,
}

/// How many rights end by a Deny policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Those of people that it names, or of everybody.
    pub certain: usize,
    /// Those of people who may be in a group that it names.
    pub perhaps: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Forbidden {
    Everything,
    Some(Box<Offer>),
}

impl Ban {
    /// Reads a Deny policy. One whose schedule cannot be read denies at all hours, and says what is wrong:
    /// what is forbidden must not come free by a mistake.
    pub(super) fn of(reference: PolicyRef, spec: &JitPolicySpec) -> (Self, Option<PolicyError>) {
        let schedule = spec.schedule.as_ref().map(compile_schedule).transpose();
        let (schedule, defect) = match schedule {
            Ok(schedule) => (schedule, None),
            Err(error) => (None, Some(error)),
        };
        let defect = defect.or_else(|| check_all_targets(&spec.targets).err());
        let forbidden = |target: &PolicyTarget| {
            if target.all {
                return Some(Forbidden::Everything);
            }
            Offer::of(target).map(|offer| Forbidden::Some(Box::new(offer)))
        };
        let ban = Self {
            reference,
            description: spec.description.clone(),
            requesters: spec.requesters.clone(),
            targets: spec.targets.iter().filter_map(forbidden).collect(),
            schedule,
        };
        (ban, defect)
    }

    /// Whether it denies at this time.
    #[must_use]
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        self.schedule.as_ref().is_none_or(|hours| matches!(hours.at(now), Hours::Open { .. }))
    }

    /// When it denies again, if it does not at this time and ever will.
    #[must_use]
    pub fn returns_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.schedule.as_ref()?.at(now) {
            Hours::Open { .. } => None,
            Hours::Closed { opens } => opens,
        }
    }

    /// The policy as it stood when it was compiled.
    #[must_use]
    pub fn reference(&self) -> &PolicyRef {
        &self.reference
    }

    /// Whether it denies this person this target, at whatever time: any overlap is enough.
    #[must_use]
    pub fn matches(
        &self,
        who: &Identity,
        target: &ResolvedTarget,
        known: &Surroundings,
        roles: RolesKnown<'_>,
    ) -> bool {
        self.is_for(who)
            && self.targets.iter().any(|forbidden| match forbidden {
                Forbidden::Everything => true,
                Forbidden::Some(offer) => offer.overlaps(target, known, roles),
            })
    }

    /// Which of these rights end by it, as far as the Grants alone tell: the groups of their holders, and the labels of
    /// namespaces, are not among that.
    #[must_use]
    pub fn touched(&self, live: &[Arc<GrantSummary>]) -> Touched {
        let (unread, none) = (Read::Missing, BannedRoles::new());
        let roles = RolesKnown { asked: &unread, banned: &none };
        let is_denied = |grant: &GrantSummary| {
            let target = grant.live.as_ref().and_then(|live| live.target.as_ref());
            target.is_some_and(|target| {
                self.targets.iter().any(|forbidden| match forbidden {
                    Forbidden::Everything => true,
                    Forbidden::Some(offer) => {
                        offer.overlaps(target, &Surroundings::default(), roles)
                    }
                })
            })
        };
        let is_everybody =
            |who: &Subject| who.kind == SubjectKind::Group && who.name == "system:authenticated";
        let is_on_host = |grant: &GrantSummary| {
            let target = grant.live.as_ref().and_then(|live| live.target.as_ref());
            target.is_some_and(|target| target.scope.endpoint().is_some())
        };
        let mut touched = Touched::default();
        for grant in live.iter().filter(|grant| is_denied(grant)) {
            // Who holds a right on a host may have asked for it there.
            let may_be_of = |who: &Subject| match who.kind {
                SubjectKind::Group => true,
                SubjectKind::EndpointUser => is_on_host(grant),
                SubjectKind::User | SubjectKind::ServiceAccount => false,
            };
            if self.requesters.iter().any(|who| *who == *grant.subject || is_everybody(who)) {
                touched.certain += 1;
            } else if self.requesters.iter().any(may_be_of) {
                touched.perhaps += 1;
            }
        }
        touched
    }

    /// Whether it is for this person, or may be: of somebody in very many groups not all are known, and what is forbidden
    /// must not come free by that.
    pub(super) fn is_for(&self, who: &Identity) -> bool {
        self.requesters.iter().any(|subject| identity::may_match(who, subject))
    }

    /// Whom it is for.
    pub(super) fn requesters(&self) -> &[Subject] {
        &self.requesters
    }

    /// The roles that it names.
    pub(super) fn roles(&self) -> impl Iterator<Item = &RoleRef> {
        self.targets.iter().flat_map(|forbidden| match forbidden {
            Forbidden::Everything => &[],
            Forbidden::Some(offer) => offer.roles(),
        })
    }

    /// That it denies this person what it matches, and why, in words.
    #[must_use]
    pub fn message(&self, who: &Identity) -> String {
        let why = self.description.as_deref().map(|why| format!(": {}", why.trim_end_matches('.')));
        let denies =
            format!("JitPolicy {} denies it{}.", self.reference.name, why.unwrap_or_default());
        let is_uncertain = !identity::matches_any(who, &self.requesters);
        match (who.groups_omitted, &who.endpoint_user) {
            (Some(omitted), None) if is_uncertain => format!(
                "{denies} It is for {}, and whether {} is among these cannot be determined: {omitted} groups did not \
                 fit into the request. A new request will show it.",
                describe(&self.requesters),
                who.username
            ),
            (_, Some(local)) if is_uncertain => format!(
                "{denies} It is for {}, and whether local user {} of Endpoint {} is among these is not known on a host. \
                 Request with your own credentials (kubectl jit request).",
                describe(&self.requesters),
                local.local_user,
                local.endpoint
            ),
            _ => denies,
        }
    }
}
