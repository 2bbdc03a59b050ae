//! Whether everything has come to rest, and all objects agree.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt as _;
use lapse_crds::{
    AccessDecision, AccessRequest, GRANT_UID, Grant, GrantPhase, JitPolicy, OBJECT_PREFIX,
    PolicyMode, RequestPhase, Verdict,
};

use super::history::FORBIDDING;
use super::step::Policy;

/// What stands at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) requests: Vec<AccessRequest>,
    pub(super) decisions: Vec<AccessDecision>,
    pub(super) grants: Vec<Grant>,
    pub(super) policies: Vec<JitPolicy>,
    /// Those of the rights.
    pub(super) bindings: Vec<RoleBinding>,
    pub(super) markers: Vec<RoleBinding>,
    /// Whether the API server lets the holder of all of them do what they give.
    pub(super) is_allowed: bool,
}

impl Standing {
    /// What has not come to rest, or what does not agree.
    pub(super) fn unsettled(&self, now: DateTime<Utc>) -> Vec<String> {
        let grants = self.grants.iter().map(|grant| (grant.name_any(), grant)).collect();
        let mut left = Vec::new();
        for (what, all) in [("binding", &self.bindings), ("marker", &self.markers)] {
            left.extend(all.iter().filter_map(|one| nobodys(what, one, &grants, now)));
        }
        left.extend(self.grants.iter().filter_map(|grant| self.of_grant(grant, now)));
        left.extend(self.requests.iter().filter_map(|request| self.of_request(request, &grants)));
        let live = self.grants.iter().any(|grant| phase(grant) == GrantPhase::Active);
        if live != self.is_allowed {
            left.push(format!(
                "somebody holds a right: {live}; the API server lets them: {}",
                self.is_allowed
            ));
        }
        left
    }

    fn of_grant(&self, grant: &Grant, now: DateTime<Utc>) -> Option<String> {
        let name = grant.name_any();
        if grant.metadata.deletion_timestamp.is_some() {
            return Some(format!("Grant {name} is being deleted"));
        }
        match phase(grant) {
            GrantPhase::Ended => None,
            phase @ (GrantPhase::Pending | GrantPhase::Ending) => {
                Some(format!("Grant {name} is {phase}"))
            }
            GrantPhase::Active if grant.spec.expires_at.time() <= now => {
                Some(format!("Grant {name} is Active, and its time is over"))
            }
            GrantPhase::Active => {
                let object = format!("{OBJECT_PREFIX}{name}");
                let stands = |all: &[RoleBinding]| all.iter().any(|one| one.name_any() == object);
                if !stands(&self.bindings) || !stands(&self.markers) {
                    return Some(format!("Grant {name} is Active, without binding or marker"));
                }
                let is_of = |request: &&AccessRequest| {
                    request.uid().as_deref() == Some(&*grant.spec.request.uid)
                };
                let request = self.requests.iter().find(is_of);
                let phase = request.map(phase_of);
                (phase != Some(Some(RequestPhase::Active)))
                    .then(|| format!("Grant {name} is Active, and its request is {phase:?}"))
            }
        }
    }

    fn of_request(
        &self,
        request: &AccessRequest,
        grants: &BTreeMap<String, &Grant>,
    ) -> Option<String> {
        let name = request.name_any();
        if request.metadata.deletion_timestamp.is_some() {
            return Some(format!("request {name} is being deleted"));
        }
        let Some(phase) = phase_of(request) else {
            return Some(format!("nobody has looked at request {name}"));
        };
        match phase {
            RequestPhase::Active => {
                let recorded = request.status.as_ref().and_then(|status| status.grant.as_ref());
                let grant = recorded.and_then(|recorded| grants.get(&recorded.name).copied());
                let held = grant.map(self::phase);
                (held != Some(GrantPhase::Active))
                    .then(|| format!("request {name} is Active, and its Grant is {held:?}"))
            }
            RequestPhase::Pending => {
                self.hangs(request).map(|why| format!("request {name} is Pending: {why}"))
            }
            // Nothing that lasts so short fails what was approved.
            RequestPhase::Failed => {
                let conditions = request.status.iter().flat_map(|status| &status.conditions);
                let said: Vec<&str> =
                    conditions.map(|condition| condition.message.as_str()).collect();
                Some(format!("request {name} is Failed: {}", said.join(" ")))
            }
            RequestPhase::Scheduled => Some(format!("request {name} is {phase}")),
            RequestPhase::Denied
            | RequestPhase::Withdrawn
            | RequestPhase::TimedOut
            | RequestPhase::Ended => None,
        }
    }

    /// Why a request that waits should not.
    fn hangs(&self, request: &AccessRequest) -> Option<String> {
        if self.policies.iter().any(|policy| policy.name_any() == FORBIDDING) {
            return Some("everything is denied".to_owned());
        }
        let asked = request.spec.policy.as_deref();
        let policy = self.policies.iter().find(|policy| Some(&*policy.name_any()) == asked)?;
        if policy.spec.mode == PolicyMode::Disabled {
            return Some("its policy is switched off".to_owned());
        }
        let name = request.name_any();
        let mut approved = Vec::new();
        for decision in self.decisions.iter().filter(|one| one.spec.request.name == name) {
            let decider = decision.spec.decider.as_ref().map(|who| who.username.as_str());
            let of = decision.spec.policy.as_ref().map(|policy| policy.generation);
            match decision.spec.verdict {
                Verdict::Approve if of == policy.metadata.generation => approved.push(decider),
                Verdict::Approve | Verdict::Review => {}
                verdict @ (Verdict::Deny | Verdict::End) => {
                    return Some(format!("{decider:?} said {verdict}"));
                }
            }
        }
        approved.sort_unstable();
        approved.dedup();
        let policy = Policy::ALL.into_iter().find(|policy| Some(policy.name()) == asked)?;
        (approved.len() >= policy.required()).then(|| format!("{approved:?} approved"))
    }
}

/// That an object belongs to no right that is held.
fn nobodys(
    what: &str,
    object: &RoleBinding,
    grants: &BTreeMap<String, &Grant>,
    now: DateTime<Utc>,
) -> Option<String> {
    let name = object.name_any();
    let grant = name.strip_prefix(OBJECT_PREFIX).and_then(|grant| grants.get(grant));
    let is_live = grant.is_some_and(|grant| {
        phase(grant) == GrantPhase::Active
            && grant.spec.expires_at.time() > now
            && object.annotations().get(GRANT_UID) == grant.uid().as_ref()
    });
    (!is_live).then(|| format!("{what} {name} stands, and nobody holds its right"))
}

fn phase(grant: &Grant) -> GrantPhase {
    grant.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// Where a request stands, if anybody has looked at it: of others the API server says `-1`.
fn phase_of(request: &AccessRequest) -> Option<RequestPhase> {
    let status = request.status.as_ref()?;
    (status.observed_generation >= Some(0)).then_some(status.phase)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn typed<K: DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-03-02T09:00:00Z".parse().unwrap()
    }

    fn binding() -> RoleBinding {
        typed(json!({
            "metadata": {
                "name": "lapse:chaos-fix-1-abc", "annotations": {"lapse.dev/grant-uid": "g1"},
            },
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        }))
    }

    fn grant(phase: &str, expires: &str) -> Grant {
        typed(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant",
            "metadata": {"name": "chaos-fix-1-abc", "uid": "g1"},
            "spec": {
                "request": {"namespace": "chaos", "name": "fix-1", "uid": "r1"},
                "policy": {"name": "one", "uid": "p1", "generation": 1},
                "subject": {"kind": "User", "name": "alice"},
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                "startsAt": "2026-03-02T08:00:00Z", "expiresAt": expires, "rulesHash": "h",
            },
            "status": {"phase": phase},
        }))
    }

    fn request(phase: &str) -> AccessRequest {
        typed(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": "fix-1", "namespace": "chaos", "uid": "r1"},
            "spec": {
                "policy": "one",
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            },
            "status": {
                "observedGeneration": 1, "phase": phase,
                "grant": {"name": "chaos-fix-1-abc", "uid": "g1"},
            },
        }))
    }

    fn policy(generation: i64) -> JitPolicy {
        typed(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
            "metadata": {"name": "one", "generation": generation},
            "spec": {"requesters": [], "targets": []},
        }))
    }

    fn approval() -> AccessDecision {
        typed(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"name": "fix-1.approve.1", "namespace": "chaos"},
            "spec": {
                "request": {"name": "fix-1"}, "verdict": "Approve",
                "policy": {"name": "one", "uid": "p1", "generation": 1},
            },
        }))
    }

    /// A right that is held.
    fn held() -> Standing {
        Standing {
            requests: vec![request("Active")],
            grants: vec![grant("Active", "2026-03-02T10:00:00Z")],
            bindings: vec![binding()],
            markers: vec![binding()],
            policies: vec![policy(1)],
            is_allowed: true,
            ..Standing::default()
        }
    }

    #[track_caller]
    fn left(standing: &Standing, words: &str) {
        let left = standing.unsettled(now());
        assert!(left.iter().any(|left| left.contains(words)), "{words:?}: {left:#?}");
    }

    #[test]
    fn what_agrees_is_settled() {
        assert_eq!(held().unsettled(now()), Vec::<String>::new());
        let over = Standing {
            requests: vec![request("Ended")],
            grants: vec![grant("Ended", "2026-03-02T08:30:00Z")],
            ..Standing::default()
        };
        assert_eq!(over.unsettled(now()), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_agree_is_named() {
        left(&Standing { grants: Vec::new(), ..held() }, "nobody holds its right");
        left(&Standing { bindings: Vec::new(), ..held() }, "without binding or marker");
        left(&Standing { markers: Vec::new(), ..held() }, "without binding or marker");
        left(&Standing { requests: Vec::new(), ..held() }, "its request is None");
        left(&Standing { requests: vec![request("Ended")], ..held() }, "its request is Some");
        left(&Standing { is_allowed: false, ..held() }, "the API server lets them: false");
        for phase in ["Pending", "Ending"] {
            let grants = vec![grant(phase, "2026-03-02T10:00:00Z")];
            left(&Standing { grants, ..held() }, &format!("is {phase}"));
        }
        let grants = vec![grant("Active", "2026-03-02T08:59:59Z")];
        left(&Standing { grants, ..held() }, "its time is over");
        left(&Standing { requests: vec![request("Failed")], ..Standing::default() }, "is Failed");
    }

    #[test]
    fn what_waits_for_nothing_hangs() {
        let waits = Standing {
            requests: vec![request("Pending")],
            policies: vec![policy(1)],
            ..Standing::default()
        };
        assert_eq!(waits.unsettled(now()), Vec::<String>::new());
        let approved = Standing { decisions: vec![approval()], ..waits };
        left(&approved, "approved");
        let changed = Standing { policies: vec![policy(2)], ..approved };
        assert_eq!(changed.unsettled(now()), Vec::<String>::new(), "the approval is void");
    }
}
