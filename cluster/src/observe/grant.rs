//! Everything that bears on a grant.

use std::future::{Future, ready};

use chrono::{DateTime, Utc};
use futures::future::join_all;
use lapse_crds::{AccessDecision, Grant, GrantPhase};
use lapse_engine::Read;
use lapse_engine::attest::Attested;
use lapse_engine::grant::{LiveObject, ObjectSpec, Observed, awaits_review};
use lapse_engine::policy::{BannedRoles, PolicyState};
use lapse_engine::role::RoleRules;
use lapse_engine::session::ends_started;
use lapse_engine::target::{Namespaces, ResolvedTarget};

use super::ObserveError;
use crate::{Freshness, Reader, objects};

impl Reader {
    /// Observes a grant at this moment; `None` if it does not exist any more. Lists are as new as
    /// `as_of`, single objects as they are now.
    ///
    /// What to read follows from the spec, which never changes, so an object that was read earlier is good
    /// enough to say it, and everything is read at once.
    ///
    /// # Errors
    /// If the grant cannot be read, or another has its name by now. Whatever else could not be read is
    /// part of what is observed.
    pub async fn observe_grant(
        &self,
        known: &Grant,
        as_of: Freshness,
        now: DateTime<Utc>,
    ) -> Result<Option<Observed>, ObserveError> {
        self.observe_grant_with(known, as_of, now, self.objects(known)).await
    }

    /// The same, as if none of the objects of the grant stood: for whoever is asked about one that is to be
    /// made. What stands need not be read for that.
    ///
    /// # Errors
    /// As of [`Reader::observe_grant`].
    pub async fn observe_grant_anew(
        &self,
        known: &Grant,
        as_of: Freshness,
        now: DateTime<Utc>,
    ) -> Result<Option<Observed>, ObserveError> {
        let home = &self.settings().namespace;
        let objects =
            ObjectSpec::all_of(known, home).into_iter().map(|object| (object, Read::Missing));
        self.observe_grant_with(known, as_of, now, ready(objects.collect())).await
    }

    async fn observe_grant_with(
        &self,
        known: &Grant,
        as_of: Freshness,
        now: DateTime<Utc>,
        objects: impl Future<Output = Vec<(ObjectSpec, Read<LiveObject>)>>,
    ) -> Result<Option<Observed>, ObserveError> {
        let name = known.metadata.name.clone().unwrap_or_default();
        let of = &known.spec.request;
        let (grant, objects, request, rest) = tokio::join!(
            self.grant(&name),
            objects,
            self.request(&of.namespace, &of.name),
            self.rest(known, as_of, now),
        );
        let grant = match grant {
            Read::Found(grant) => grant,
            Read::Missing => return Ok(None),
            Read::Failed(why) => return Err(ObserveError::Unread(why)),
        };
        if grant.metadata.uid != known.metadata.uid {
            return Err(ObserveError::MadeAnew(format!("Grant {name}")));
        }
        // More can be started for as long as there is a right.
        let phase = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
        let started = if phase == GrantPhase::Ending && ends_started(&grant.spec) {
            Some(self.started(&grant).await)
        } else {
            None
        };
        let Rest { decisions, policies, role, banned_roles, namespaces } = rest;
        Ok(Some(Observed {
            objects,
            request: request.map(|attested| attested.object),
            decisions,
            policies,
            role,
            banned_roles,
            namespaces,
            started,
            obstacle: None,
            grant,
        }))
    }

    async fn objects(&self, grant: &Grant) -> Vec<(ObjectSpec, Read<LiveObject>)> {
        let home = &self.settings().namespace;
        let looks = ObjectSpec::all_of(grant, home).into_iter().map(|object| async move {
            let live = objects::look(self.client(), &object).await;
            (object, live)
        });
        join_all(looks).await
    }

    /// What bears on whether the right goes on. When its end is certain nothing of it matters, and
    /// reading it would only delay the end.
    async fn rest(&self, grant: &Grant, as_of: Freshness, now: DateTime<Utc>) -> Rest {
        fn unread<T>() -> Read<T> {
            Read::Failed("the grant ends, whatever this says".to_owned())
        }
        let of = &grant.spec.request;
        let phase = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
        let is_certain = matches!(phase, GrantPhase::Ending | GrantPhase::Ended)
            || grant.metadata.deletion_timestamp.is_some()
            || now >= grant.spec.expires_at.time();
        let target = ResolvedTarget::resolve(&grant.spec.target, &of.namespace);
        let (false, Some(target)) = (is_certain, target) else {
            // What is left of an emergency is its review, and nothing delays that.
            let is_owed = phase == GrantPhase::Ended && awaits_review(grant).is_some();
            let decisions = if is_owed {
                self.decisions(&of.namespace, &of.name, Freshness::Now).await
            } else {
                unread()
            };
            return Rest {
                decisions,
                policies: unread(),
                role: unread(),
                banned_roles: BannedRoles::new(),
                namespaces: Namespaces::new(),
            };
        };
        let (decisions, policies, role, namespaces) = tokio::join!(
            self.decisions(&of.namespace, &of.name, as_of),
            self.policies(Some(&grant.spec.policy.name), as_of),
            self.role(&target),
            self.namespaces(&target),
        );
        let known = policies.found().map_or(&[][..], Vec::as_slice);
        let banned_roles = self.banned_roles(known, &target).await;
        Rest { decisions, policies, role, banned_roles, namespaces }
    }
}

struct Rest {
    decisions: Read<Vec<Attested<AccessDecision>>>,
    policies: Read<Vec<PolicyState>>,
    role: Read<RoleRules>,
    banned_roles: BannedRoles,
    namespaces: Namespaces,
}
