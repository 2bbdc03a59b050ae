//! Everything that bears on a request.

use std::sync::Arc;

use futures::FutureExt as _;
use lapse_crds::{AccessRequest, RequestRef};
use lapse_engine::Read;
use lapse_engine::attest::{AttestationError, Attested};
use lapse_engine::duties::bearing_on;
use lapse_engine::grant::grant_name;
use lapse_engine::policy::{BannedRoles, Policies};
use lapse_engine::request::{Observed, shows_evaluation};
use lapse_engine::summary::GrantSummary;
use lapse_engine::surroundings::Surroundings;
use lapse_engine::target::ResolvedTarget;

use super::ObserveError;
use crate::{Occasion, Reader};

impl Reader {
    /// Observes a request; `None` if it does not exist any more. The policy that it names, or that is named here, is
    /// as it is now.
    ///
    /// What to read follows from the spec, which never changes, so what the index has of it is good enough to say
    /// it, and everything is read at once but for what Deny policies name.
    ///
    /// # Errors
    /// If the request cannot be read, or another has its name by now. Whatever else could not be read is
    /// part of what is observed.
    pub async fn observe_request(
        &self,
        of: &RequestRef,
        policy: Option<&str>,
        occasion: Occasion,
    ) -> Result<Option<Observed>, ObserveError> {
        let known = self.index().request(&of.uid).and_then(|known| known.object);
        let found = async {
            if let Some(known) = known {
                let rest = self.rest_of_request(&known, policy, occasion).boxed();
                return tokio::join!(self.request_of(of), rest);
            }
            let request = self.request_of(of).await;
            let rest = match &request {
                Ok(Some(request)) => {
                    self.rest_of_request(&request.object, policy, occasion).boxed().await
                }
                Ok(None) | Err(_) => Rest::default(),
            };
            (request, rest)
        };
        let approvals = async {
            if occasion.may_give() { Some(self.approvals_now(&of.uid).await) } else { None }
        };
        let ((request, rest), approvals) = tokio::join!(found, approvals);
        let Some(request) = request? else { return Ok(None) };
        let Rest { policies, role, accounts, surroundings, banned_roles, mut grant } = rest;
        // That a right which is held was deleted is final, and so it is not concluded from what is not seen yet.
        let recorded = request.object.status.as_ref().and_then(|status| status.grant.as_ref());
        if let (Read::Missing, Some(recorded)) = (&grant, recorded) {
            grant = self.grant(&recorded.name).await;
        }
        let spec = &request.object.spec;
        let extends = spec.extends.as_deref().map(|name| (&*of.namespace, name));
        if let Some(requester) = &spec.requester {
            self.read_past_of(requester, extends).boxed().await;
        }
        // What the index has is looked up last, so that it is as new as can be.
        let decisions = match approvals {
            Some(standing) => self.said_now(&of.uid, standing).await,
            None => self.index().decisions(&of.uid),
        };
        let index = self.index();
        let engaging = self.engaging(&policies, spec.policy.as_deref());
        let peers = match &spec.requester {
            Some(requester) => index.peers(requester, extends),
            None => Read::Failed("the request names no requester".to_owned()),
        };
        Ok(Some(Observed {
            decisions,
            policies,
            role,
            accounts,
            banned_roles,
            surroundings,
            grant,
            peers,
            engaging,
            settings: self.settings().clone(),
            obstacle: None,
            request,
        }))
    }

    /// Observes a request that is being made, as far as what becomes of it can be told: it makes nobody list anything,
    /// so as whom the holder of the role could act is left out, and what is over counts once all of it has been read.
    pub async fn observe_new(&self, request: AccessRequest) -> Observed {
        let namespace = request.metadata.namespace.clone().unwrap_or_default();
        let target = ResolvedTarget::resolve(&request.spec.target, &namespace);
        let index = self.index();
        let policies = index.policies();
        let (role, surroundings, banned_roles) = match (&target, &request.spec.requester) {
            (Some(target), Some(who)) => {
                let none = Policies::default();
                let all = policies.found().unwrap_or(&none);
                tokio::join!(
                    self.role(target),
                    self.surroundings(target, request.spec.origin.as_ref()),
                    self.banned_roles(all, who, target)
                )
            }
            _ => (Read::Missing, Surroundings::default(), BannedRoles::new()),
        };
        let extends = request.spec.extends.as_deref().map(|name| (&*namespace, name));
        let requester = request.spec.requester.as_ref();
        let peers = requester.map_or(Read::Missing, |requester| index.peers(requester, extends));
        Observed {
            engaging: self.engaging(&policies, request.spec.policy.as_deref()),
            request: Attested { object: request, attestation: Err(AttestationError::Absent) },
            policies,
            decisions: Read::Found(Vec::new()),
            role,
            accounts: Read::Found(Vec::new()),
            banned_roles,
            surroundings,
            peers,
            grant: Read::Missing,
            settings: self.settings().clone(),
            obstacle: None,
        }
    }

    /// Observes a request that has its right, as far as it follows that: the request and its Grant, and nothing else.
    /// `None` if more is needed, so that it must be observed whole.
    ///
    /// # Errors
    /// As of [`Reader::observe_request`].
    pub async fn observe_following(
        &self,
        of: &RequestRef,
    ) -> Result<Option<Observed>, ObserveError> {
        let observed = self.observe_outcome(of).await?;
        Ok(observed.filter(|observed| shows_evaluation(&observed.request.object)))
    }

    /// The same of a request whose status may not even show yet that it was approved: for whoever has nothing to say of
    /// it but what became of its right. `None` if one of them is gone, or the Grant is not known.
    ///
    /// # Errors
    /// As of [`Reader::observe_request`].
    pub async fn observe_outcome(&self, of: &RequestRef) -> Result<Option<Observed>, ObserveError> {
        let grant = grant_name(&of.namespace, &of.name, &of.uid);
        if self.index().grant(&grant).is_none() {
            return Ok(None);
        }
        let (request, grant) = tokio::join!(self.request_of(of), self.grant(&grant));
        let (Some(request), Read::Found(grant)) = (request?, grant) else { return Ok(None) };
        let unread = || "what has its right follows that alone".to_owned();
        Ok(Some(Observed {
            request,
            grant: Read::Found(grant),
            decisions: Read::Failed(unread()),
            policies: Read::Failed(unread()),
            role: Read::Failed(unread()),
            accounts: Read::Failed(unread()),
            banned_roles: BannedRoles::new(),
            surroundings: Surroundings::default(),
            peers: Read::Failed(unread()),
            engaging: Read::Failed(unread()),
            settings: self.settings().clone(),
            obstacle: None,
        }))
    }

    /// The rights by the policies that are kept apart from what may decide.
    fn engaging(
        &self,
        policies: &Read<Policies>,
        named: Option<&str>,
    ) -> Read<Vec<Arc<GrantSummary>>> {
        let bearing = policies.found().map(|all| bearing_on(all, named));
        self.index().live_by(&bearing.unwrap_or_default())
    }

    async fn request_of(
        &self,
        of: &RequestRef,
    ) -> Result<Option<Attested<AccessRequest>>, ObserveError> {
        let RequestRef { namespace, name, uid } = of;
        match self.request(namespace, name).await {
            Read::Found(request) if request.object.metadata.uid.as_ref() == Some(uid) => {
                Ok(Some(request))
            }
            Read::Found(_) => {
                Err(ObserveError::MadeAnew(format!("AccessRequest {namespace}/{name}")))
            }
            Read::Missing => Ok(None),
            Read::Failed(why) => Err(ObserveError::Unread(why)),
        }
    }

    async fn rest_of_request(
        &self,
        known: &AccessRequest,
        policy: Option<&str>,
        occasion: Occasion,
    ) -> Rest {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let namespace = text(&known.metadata.namespace);
        let name = text(&known.metadata.name);
        let target = ResolvedTarget::resolve(&known.spec.target, &namespace);
        let place = async {
            if let Some(target) = &target {
                let role = async {
                    let role = self.role(target).await;
                    let accounts = self.accounts(target, &role).await;
                    (role, accounts)
                };
                tokio::join!(role, self.surroundings(target, known.spec.origin.as_ref()))
            } else {
                let why = "the target has no kind".to_owned();
                ((Read::Failed(why.clone()), Read::Failed(why)), Surroundings::default())
            }
        };
        let grant = grant_name(&namespace, &name, &text(&known.metadata.uid));
        let grant = async {
            // One that is not known is made with POST, which tells if it exists nevertheless.
            match self.index().grant(&grant) {
                None if self.index().knows_all_grants() => Read::Missing,
                _ => self.grant(&grant).await,
            }
        };
        let named = known.spec.policy.as_deref().or(policy);
        let policies = async {
            let policies = self.policies(named, occasion).await;
            let banned_roles = match (&target, policies.found(), &known.spec.requester) {
                (Some(target), Some(all), Some(who)) => self.banned_roles(all, who, target).await,
                _ => BannedRoles::new(),
            };
            (policies, banned_roles)
        };
        let ((policies, banned_roles), grant, ((role, accounts), surroundings)) =
            tokio::join!(policies, grant, place);
        Rest { policies, role, accounts, surroundings, banned_roles, grant }
    }
}

/// What is read beside the request itself.
struct Rest {
    policies: Read<Policies>,
    role: Read<lapse_engine::role::RoleRules>,
    accounts: Read<Vec<lapse_engine::risk::ServiceAccount>>,
    surroundings: Surroundings,
    banned_roles: BannedRoles,
    grant: Read<lapse_crds::Grant>,
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            policies: Read::Missing,
            role: Read::Missing,
            accounts: Read::Missing,
            surroundings: Surroundings::default(),
            banned_roles: BannedRoles::new(),
            grant: Read::Missing,
        }
    }
}
