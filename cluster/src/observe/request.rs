//! Everything that bears on a request.

use lapse_crds::AccessRequest;
use lapse_engine::Read;
use lapse_engine::grant::grant_name;
use lapse_engine::policy::BannedRoles;
use lapse_engine::request::Observed;
use lapse_engine::target::{Namespaces, ResolvedTarget};

use super::ObserveError;
use crate::{Freshness, Reader};

/// How new each list must be that bears on a request. Single objects are always read as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestAsOf {
    /// The decisions about it.
    pub decisions: Freshness,
    /// All policies.
    pub policies: Freshness,
    /// What else the requester asks for and holds.
    pub peers: Freshness,
    /// The Grants by policies that are kept apart.
    pub engaging: Freshness,
}

impl RequestAsOf {
    /// Everything as it is now.
    pub const NOW: Self = Self {
        decisions: Freshness::Now,
        policies: Freshness::Now,
        peers: Freshness::Now,
        engaging: Freshness::Now,
    };

    /// As new as it must be before a right is given, and otherwise as `otherwise` says.
    ///
    /// Nobody has judged what needs no approval (`is_unasked`), and a Deny policy may have come a moment ago; an
    /// approval was judged by the policies as of now, and a ban that came since ends the right. Emergencies are
    /// bounded by what is owed alone, and the last one may be a moment old and by another replica.
    #[must_use]
    pub fn to_give(request: &AccessRequest, is_unasked: bool, otherwise: Freshness) -> Self {
        let now_if = |must: bool| if must { Freshness::Now } else { otherwise };
        Self {
            decisions: otherwise,
            policies: now_if(is_unasked),
            peers: now_if(request.spec.emergency),
            engaging: otherwise,
        }
    }
}

impl Reader {
    /// Observes a request; `None` if it does not exist any more.
    ///
    /// What to read follows from the spec, which never changes, so an object that was read earlier is good
    /// enough to say it, and everything is read at once but for what Deny policies name, and the Grants by
    /// policies that are kept apart.
    ///
    /// # Errors
    /// If the request cannot be read, or another has its name by now. Whatever else could not be read is
    /// part of what is observed.
    pub async fn observe_request(
        &self,
        known: &AccessRequest,
        as_of: RequestAsOf,
    ) -> Result<Option<Observed>, ObserveError> {
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
                tokio::join!(role, self.namespaces(target))
            } else {
                let why = "the target has no kind".to_owned();
                ((Read::Failed(why.clone()), Read::Failed(why)), Namespaces::new())
            }
        };
        let grant = grant_name(&namespace, &name, &text(&known.metadata.uid));
        let peers = async {
            match &known.spec.requester {
                Some(requester) => self.peers(requester, as_of.peers).await,
                None => Read::Failed("the request names no requester".to_owned()),
            }
        };
        let named = known.spec.policy.as_deref();
        let policies = async {
            let policies = self.policies(named, as_of.policies).await;
            let all = policies.found().map_or(&[][..], Vec::as_slice);
            let banned_roles = async {
                match &target {
                    Some(target) => self.banned_roles(all, target).await,
                    None => BannedRoles::new(),
                }
            };
            let (engaging, banned_roles) =
                tokio::join!(self.engaging(all, named, as_of.engaging), banned_roles);
            (policies, engaging, banned_roles)
        };
        let (
            request,
            (policies, engaging, banned_roles),
            decisions,
            grant,
            peers,
            ((role, accounts), namespaces),
        ) = tokio::join!(
            self.request(&namespace, &name),
            policies,
            self.decisions(&namespace, &name, as_of.decisions),
            self.grant(&grant),
            peers,
            place,
        );
        let request = match request {
            Read::Found(request) => request,
            Read::Missing => return Ok(None),
            Read::Failed(why) => return Err(ObserveError::Unread(why)),
        };
        if request.object.metadata.uid != known.metadata.uid {
            return Err(ObserveError::MadeAnew(format!("AccessRequest {namespace}/{name}")));
        }
        Ok(Some(Observed {
            policies,
            decisions,
            role,
            accounts,
            banned_roles,
            namespaces,
            grant,
            peers,
            engaging,
            settings: self.settings().clone(),
            obstacle: None,
            request,
        }))
    }
}
