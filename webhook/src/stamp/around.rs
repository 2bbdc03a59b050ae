//! What is looked at around a decision, beside its request: single objects, as they are now, and all at once.

use futures::future::try_join_all;
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use lapse_cluster::{Reader, bounded};
use lapse_crds::{API_GROUP, AccessRequest, Verdict};
use lapse_engine::Read;
use lapse_engine::policy::{BannedRoles, Policies, PolicyState};
use lapse_engine::role::RoleRules;
use lapse_engine::session::marks_of;
use lapse_engine::surroundings::Surroundings;
use lapse_engine::target::ResolvedTarget;

use crate::admission::Admission;
use crate::answer::{NotAdmitted, known};

/// What is looked at beside the request itself: single objects, as they are now.
#[derive(Clone)]
pub(super) struct Around {
    /// The policy that decides, or that was thought to.
    pub(super) policy: Option<(String, Read<PolicyState>)>,
    pub(super) role: Read<RoleRules>,
    pub(super) surroundings: Surroundings,
    pub(super) banned_roles: BannedRoles,
    /// Whether the caller holds the verb that the verdict needs, or why that cannot be told.
    pub(super) may: Option<Result<bool, String>>,
    /// Whether the API server knows the caller for the holder of a right, or why that cannot be told. Whoever says no
    /// is not asked.
    pub(super) holds_a_right: Result<bool, String>,
}

impl Around {
    pub(super) async fn read(
        admission: &Admission,
        request: &AccessRequest,
        verdict: Verdict,
        decider: &UserInfo,
    ) -> Self {
        let reader = admission.reader();
        let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
        let target = ResolvedTarget::resolve(&request.spec.target, namespace);
        let named = policy_name(verdict, request).map(ToOwned::to_owned).or_else(|| {
            let uid = request.metadata.uid.as_deref().unwrap_or_default();
            reader.index().request(uid)?.summary.ok()?.policy.clone()
        });
        let role = async {
            match &target {
                Some(target) => reader.role(target).await,
                None => Read::Missing,
            }
        };
        let surroundings = async {
            match &target {
                Some(target) => reader.surroundings(target, request.spec.origin.as_ref()).await,
                None => Surroundings::default(),
            }
        };
        let banned_roles = async {
            let policies = reader.index().policies();
            match (&target, policies.found(), &request.spec.requester) {
                (Some(target), Some(all), Some(who)) => reader.banned_roles(all, who, target).await,
                _ => BannedRoles::new(),
            }
        };
        let mut around = Self {
            policy: None,
            role: Read::Missing,
            surroundings: Surroundings::default(),
            banned_roles: BannedRoles::new(),
            may: None,
            holds_a_right: Ok(false),
        };
        let of_policy = async {
            let name = denied_by(verdict, request, named.as_deref());
            match name {
                Some(name) => around.look_at(admission, &name, verdict, decider).await,
                None => around.may = Some(may(admission, decider, verdict, None).await),
            }
            around
        };
        let holds_a_right = async {
            match verdict {
                Verdict::Approve => is_marked(admission, decider.username.as_deref()).await,
                Verdict::Deny | Verdict::End | Verdict::Review => Ok(false),
            }
        };
        let (role, surroundings, banned_roles, around, holds_a_right) =
            tokio::join!(role, surroundings, banned_roles, of_policy, holds_a_right);
        Self { role, surroundings, banned_roles, holds_a_right, ..around }
    }

    /// Looks at a policy, and at what the caller may do to it.
    pub(super) async fn look_at(
        &mut self,
        admission: &Admission,
        policy: &str,
        verdict: Verdict,
        decider: &UserInfo,
    ) {
        let (state, may) = tokio::join!(
            admission.reader().policy(policy),
            may(admission, decider, verdict, Some(policy))
        );
        self.policy = Some((policy.to_owned(), state));
        self.may = Some(may);
    }

    /// The policies that were seen, the one that was looked at as it is now.
    pub(super) fn policies(
        &self,
        reader: &Reader,
        verdict: Verdict,
    ) -> Result<Policies, NotAdmitted> {
        let mut policies = match reader.index().policies() {
            // Saying no must be possible whatever is not known.
            Read::Failed(_) if verdict != Verdict::Approve => Policies::default(),
            policies => known(policies)?.unwrap_or_default(),
        };
        match &self.policy {
            Some((_, Read::Found(state))) if policies.get(&state.name) != Some(state) => {
                policies.insert(state.clone());
            }
            Some((name, Read::Missing)) => policies.remove(name),
            Some((_, Read::Failed(why))) => return Err(NotAdmitted::Failed(why.clone())),
            Some((_, Read::Found(_))) | None => {}
        }
        Ok(policies)
    }
}

/// The policy on which the verb counts, as far as it is known before one was found that decides: denying outlasts a
/// broken policy, so there it is the one that the request named or was decided by.
pub(super) fn denied_by(
    verdict: Verdict,
    request: &AccessRequest,
    decides: Option<&str>,
) -> Option<String> {
    let recorded = request.status.as_ref().and_then(|status| status.policy.as_ref());
    let recorded = recorded.map(|policy| &*policy.name).filter(|_| verdict == Verdict::Deny);
    decides.or(recorded).map(ToOwned::to_owned)
}

/// Whether the caller holds the verb that a verdict needs.
pub(super) async fn may(
    admission: &Admission,
    caller: &UserInfo,
    verdict: Verdict,
    policy: Option<&str>,
) -> Result<bool, String> {
    let verb = match verdict {
        Verdict::Approve => "approve",
        Verdict::Deny => "deny",
        Verdict::End | Verdict::Review => return Ok(false),
    };
    holds_verb(admission, caller, verb, policy).await.map_err(|error| error.to_string())
}

/// The policy that a decision is about, if it is known by name. A right that is held is taken back by
/// the approvers of the policy that gave it, whichever policy would decide today.
pub(super) fn policy_name(verdict: Verdict, request: &AccessRequest) -> Option<&str> {
    let status = request.status.as_ref().filter(|status| status.grant.is_some());
    let gave = status.and_then(|status| status.policy.as_ref()).map(|policy| &*policy.name);
    match verdict {
        Verdict::Approve => request.spec.policy.as_deref(),
        Verdict::Deny | Verdict::End | Verdict::Review => gave.or(request.spec.policy.as_deref()),
    }
}

/// Whether the caller holds a verb on the policy of this name; without one, on every policy.
pub(crate) async fn holds_verb(
    admission: &Admission,
    caller: &UserInfo,
    verb: &str,
    policy: Option<&str>,
) -> Result<bool, NotAdmitted> {
    let attributes = ResourceAttributes {
        group: Some(API_GROUP.to_owned()),
        resource: Some("jitpolicies".to_owned()),
        name: policy.map(ToOwned::to_owned),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let what = format!("asking whether the caller may {verb}");
    is_allowed(admission, caller.clone(), attributes, what).await
}

/// Whether the API server knows a person for the holder of a right, by the mark of the Grant.
async fn is_marked(admission: &Admission, username: Option<&str>) -> Result<bool, String> {
    let home = &admission.reader().settings().namespace;
    let attributes = ResourceAttributes {
        group: Some(API_GROUP.to_owned()),
        resource: Some("sessions".to_owned()),
        namespace: Some(home.clone()),
        verb: Some("record".to_owned()),
        ..ResourceAttributes::default()
    };
    let questions = marks_of(username.unwrap_or_default(), home).into_iter().map(|mark| {
        let who = UserInfo { username: Some(mark), ..UserInfo::default() };
        let what = "asking whether the caller holds access".to_owned();
        is_allowed(admission, who, attributes.clone(), what)
    });
    let answers = try_join_all(questions).await.map_err(|error| error.to_string())?;
    Ok(answers.into_iter().all(|is_marked| is_marked))
}

async fn is_allowed(
    admission: &Admission,
    who: UserInfo,
    attributes: ResourceAttributes,
    what: String,
) -> Result<bool, NotAdmitted> {
    let UserInfo { extra, groups, uid, username } = who;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            extra,
            groups,
            uid,
            user: username,
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(admission.reader().client().clone());
    let answer = bounded(what, reviews.create(&PostParams::default(), &review)).await;
    let answer = answer.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
    Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}
