//! Everything that bears on a grant.

use std::future::{Future, ready};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::join_all;
use lapse_crds::{AccessDecision, AccessRequest, Grant, GrantPhase, Verdict};
use lapse_engine::Read;
use lapse_engine::attest::Attested;
use lapse_engine::grant::{Content, LiveObject, ObjectSpec, Observed};
use lapse_engine::identity::subject_of;
use lapse_engine::lifetime::is_stopping;
use lapse_engine::policy::{BannedRoles, Policies, PolicyState};
use lapse_engine::role::RoleRules;
use lapse_engine::summary::GrantSummary;
use lapse_engine::surroundings::Surroundings;

use super::ObserveError;
use crate::{Occasion, Reader, objects};

impl Reader {
    /// Observes a grant at this moment; `None` if it does not exist any more.
    ///
    /// What to read follows from the spec, which never changes, so what was seen earlier is good enough to say it,
    /// and everything is read at once.
    ///
    /// # Errors
    /// If the grant cannot be read, or another has its name by now. Whatever else could not be read is
    /// part of what is observed.
    pub async fn observe_grant(
        &self,
        known: &GrantSummary,
        occasion: Occasion,
        now: DateTime<Utc>,
    ) -> Result<Option<Observed>, ObserveError> {
        self.observe_grant_with(known, occasion, now, self.objects(known).boxed()).await
    }

    /// The same, as if none of the objects of the grant stood: for whoever is asked about one that is to be
    /// made. What stands need not be read for that.
    ///
    /// # Errors
    /// As of [`Reader::observe_grant`].
    pub async fn observe_grant_anew(
        &self,
        known: &Grant,
        occasion: Occasion,
        now: DateTime<Utc>,
    ) -> Result<Option<Observed>, ObserveError> {
        let home = &self.settings().namespace;
        let objects = ObjectSpec::all_of(known, home).into_iter();
        let objects = objects.map(|object| (object, Read::Missing));
        let known = GrantSummary::of(known);
        self.observe_grant_with(&known, occasion, now, ready(objects.collect())).await
    }

    async fn observe_grant_with(
        &self,
        known: &GrantSummary,
        occasion: Occasion,
        now: DateTime<Utc>,
        objects: impl Future<Output = Vec<(ObjectSpec, Read<LiveObject>)>>,
    ) -> Result<Option<Observed>, ObserveError> {
        let name = &known.name;
        let (grant, objects, rest) = tokio::join!(
            self.grant(name),
            objects,
            self.rest_of_grant(known, occasion, now).boxed()
        );
        let grant = match grant {
            Read::Found(grant) => grant,
            Read::Missing => return Ok(None),
            Read::Failed(why) => return Err(ObserveError::Unread(why)),
        };
        if grant.metadata.uid.as_deref() != Some(&*known.uid) {
            return Err(ObserveError::MadeAnew(format!("Grant {name}")));
        }
        // More can be started for as long as there is a right.
        let started = if is_stopping(&grant) { Some(self.started(&grant).await) } else { None };
        let Rest { request, policies, own_policy, role, banned_roles, surroundings } = rest;
        Ok(Some(Observed {
            objects,
            request,
            decisions: self.decisions_of(known),
            policies,
            own_policy,
            role,
            banned_roles,
            surroundings,
            started,
            obstacle: None,
            grant,
        }))
    }

    /// The objects of a grant, and what stands in their place.
    pub async fn objects(&self, grant: &GrantSummary) -> Vec<(ObjectSpec, Read<LiveObject>)> {
        let home = &self.settings().namespace;
        let looks = ObjectSpec::all_of_live(grant, home).into_iter().map(|object| async move {
            let live = objects::look(self.client(), &object).await;
            (object, live)
        });
        let mut objects = join_all(looks).await;
        // They are not looked at in one instant: that a mark is missing beside what needs it is so when it is missing after
        // that was seen.
        let is_any_there = objects.iter().any(|(_, live)| live.found().is_some());
        for (object, live) in &mut objects {
            let is_marker = matches!(object.content, Content::Marker { .. });
            if is_any_there && is_marker && live.is_missing() {
                *live = objects::look(self.client(), object).await;
            }
        }
        objects
    }

    /// What bears on whether the right goes on. When its end is certain nothing of it matters, and
    /// reading it would only delay the end.
    async fn rest_of_grant(
        &self,
        grant: &GrantSummary,
        occasion: Occasion,
        now: DateTime<Utc>,
    ) -> Rest {
        let of = &grant.request;
        let request = async {
            let request = self.request(&of.namespace, &of.name).await;
            request.map(|attested| attested.object)
        };
        let is_certain = matches!(grant.phase(), GrantPhase::Ending | GrantPhase::Ended)
            || grant.is_deleted
            || now >= grant.expires_at.time();
        let target = grant.live.as_ref().and_then(|live| live.target.as_ref());
        let (false, Some(target)) = (is_certain, target) else {
            // The request bears on it once more when a Grant that is over was deleted, and what its agent says on the
            // end of a right on a host.
            let request = if grant.live.is_none() { request.await } else { unread() };
            let endpoint = match (target, &grant.comparing_on) {
                (Some(target), _) => self.endpoint_of(target).await,
                (None, Some(name)) => Some(self.endpoint(name).await),
                (None, None) => None,
            };
            let surroundings = Surroundings { endpoint, ..Surroundings::default() };
            return Rest { request, surroundings, ..Rest::default() };
        };
        if self.somebody_said_no(grant) {
            let (request, endpoint) = tokio::join!(request, self.endpoint_of(target));
            let surroundings = Surroundings { endpoint, ..Surroundings::default() };
            return Rest { request, surroundings, ..Rest::default() };
        }
        let (request, policies, role, surroundings) = tokio::join!(
            request,
            self.policies(Some(&grant.policy), occasion),
            self.role(target),
            // Where it was asked for bears on what is held no more.
            self.surroundings(target, None),
        );
        // It needs no watch to be read, and an end may follow from it alone.
        let own_policy = match policies {
            Read::Failed(_) => self.policy(&grant.policy).boxed().await,
            Read::Found(_) | Read::Missing => unread(),
        };
        let who = request.found().and_then(|request| request.spec.requester.as_ref());
        let banned_roles = match (policies.found(), who) {
            (Some(policies), Some(who)) => self.banned_roles(policies, who, target).await,
            _ => BannedRoles::new(),
        };
        Rest { request, policies, own_policy, role, banned_roles, surroundings }
    }

    /// What was said. That somebody said no is enough, whatever else may have been said that is not known.
    fn decisions_of(&self, grant: &GrantSummary) -> Read<Vec<Attested<AccessDecision>>> {
        match self.index().decisions(&grant.request.uid) {
            Read::Failed(_) if self.somebody_said_no(grant) => {
                Read::Found(self.index().decisions_known(&grant.request.uid))
            }
            decisions => decisions,
        }
    }

    /// Whether somebody denied or ended a right, so that it ends whatever else there is.
    fn somebody_said_no(&self, grant: &GrantSummary) -> bool {
        self.index().decisions_known(&grant.request.uid).iter().any(|said| {
            let verdict = said.object.spec.verdict;
            let is_own = || {
                let decider = said.object.spec.decider.as_ref();
                decider.is_some_and(|who| {
                    subject_of(who).is_some_and(|subject| subject == *grant.subject)
                })
            };
            said.attestation.is_ok()
                && (verdict == Verdict::Deny || (verdict == Verdict::End && is_own()))
        })
    }
}

fn unread<T>() -> Read<T> {
    Read::Failed("the grant ends, whatever this says".to_owned())
}

struct Rest {
    request: Read<AccessRequest>,
    policies: Read<Policies>,
    own_policy: Read<PolicyState>,
    role: Read<RoleRules>,
    banned_roles: BannedRoles,
    surroundings: Surroundings,
}

impl Default for Rest {
    /// Nothing was read.
    fn default() -> Self {
        Self {
            request: unread(),
            policies: unread(),
            own_policy: unread(),
            role: unread(),
            banned_roles: BannedRoles::new(),
            surroundings: Surroundings::default(),
        }
    }
}
