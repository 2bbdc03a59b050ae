//! What policies offer whoever asks, as Lapse tells it, and who may be an approver.

use kube::ResourceExt as _;
use lapse_crds::{
    AccessRequest, AccessRequestSpec, Identity, JitPolicy, KubernetesTarget, OFFERS, RoleKind,
    RoleRef, Target,
};
use lapse_engine::identity::matches_any;
use lapse_engine::policy::{Offered, Offers};
use serde::Deserialize;

use crate::args::DryRun;
use crate::decide::params;
use crate::fault::Fault;
use crate::output::plain;
use crate::session::Session;
use crate::target::named;

/// The release of this program.
pub(crate) const OURS: &str = env!("CARGO_PKG_VERSION");
/// What to do where the cluster's is another.
pub(crate) const SAME_RELEASE: &str = "use the kubectl jit of the release that is installed, or ask an administrator to upgrade Lapse";

/// Asks what is offered: by a request that is judged and not stored, so whoever may ask for access may ask this.
pub(crate) async fn to_me(session: &Session) -> Result<Offers, Fault> {
    let answer = ask(session).await?;
    read(answer.annotations().get(OFFERS).map(String::as_str))
}

fn read(told: Option<&str>) -> Result<Offers, Fault> {
    let told = told.filter(|told| !told.is_empty());
    let told = told.ok_or_else(|| {
        let releases = differ(None);
        Fault::Other(format!(
            "what policies offer you is not known: {releases}, which asks for that by the annotation {OFFERS}; \
             {SAME_RELEASE}"
        ))
    })?;
    serde_json::from_str(told).map_err(|error| {
        let releases = differ(release_of(told).as_deref());
        Fault::Other(format!(
            "what policies offer you is told in another form than is known here ({error}): {releases}; {SAME_RELEASE}"
        ))
    })
}

/// The release of the cluster's Lapse, as far as it says that to us.
pub(crate) async fn release(session: &Session) -> Option<String> {
    let answer = ask(session).await.ok()?;
    release_of(answer.annotations().get(OFFERS)?)
}

fn release_of(told: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Told {
        release: String,
    }
    serde_json::from_str::<Told>(told).ok().map(|told| plain(&told.release))
}

/// The release of the cluster's Lapse and ours, in words.
pub(crate) fn differ(theirs: Option<&str>) -> String {
    match theirs {
        Some(theirs) => format!(
            "the Lapse of this cluster is of release {theirs}, and this kubectl jit is of {OURS}"
        ),
        None => format!(
            "the Lapse of this cluster does not say of which release it is, and this kubectl jit is of {OURS}"
        ),
    }
}

/// The question, and the request as it would be stored.
pub(crate) async fn ask(session: &Session) -> Result<AccessRequest, Fault> {
    let role = RoleRef { kind: RoleKind::ClusterRole, name: "offers".to_owned() };
    let kubernetes = KubernetesTarget {
        role: Some(role),
        rules: Vec::new(),
        namespaces: Vec::new(),
        cluster_wide: false,
    };
    let spec = AccessRequestSpec {
        policy: None,
        target: Target { kubernetes: Some(kubernetes), endpoint: None },
        duration: None,
        start_time: None,
        ticket: None,
        reason: None,
        emergency: false,
        extends: None,
        origin: None,
        requester: None,
    };
    let mut question = named(spec, None, &session.namespace);
    question.annotations_mut().insert(OFFERS.to_owned(), String::new());
    let api = session.requests();
    let params = params(DryRun::Server);
    let answer = session.create("asking what policies offer you", &api, &params, &question).await?;
    // It is about no request.
    session.warnings();
    Ok(answer)
}

/// The roles that are offered, those of the first policy first.
pub(crate) fn roles(offers: &[Offered]) -> Vec<RoleRef> {
    let mut roles: Vec<RoleRef> = Vec::new();
    for role in offers.iter().flat_map(|offered| &offered.roles) {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}

/// Whether somebody may be an approver of a policy: of any stage, or once it has been escalated.
pub(crate) fn may_approve(policy: &JitPolicy, me: &Identity) -> bool {
    let Some(approval) = &policy.spec.approval else { return false };
    let escalated = approval.escalation.iter().map(|escalation| &escalation.approvers);
    let mut approvers = approval.stages.iter().map(|stage| &stage.approvers).chain(escalated);
    approvers.any(|approvers| matches_any(me, approvers))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lapse_of_another_release_is_told() {
        let told = [None, Some(""), Some("{}"), Some(r#"{"release":"9.0.0"}"#)];
        let told = told.map(|told| read(told).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n").replace(OURS, "OURS"));
    }

    #[rstest]
    #[case("managers", true)]
    #[case("directors", true)]
    #[case("developers", false)]
    fn approvers_are_those_of_the_stages_and_of_the_escalation(
        #[case] group: &str,
        #[case] may: bool,
    ) {
        let policy = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "shop"},
            "spec": {
                "requesters": [{"kind": "Group", "name": "developers"}],
                "targets": [],
                "approval": {
                    "stages": [{"name": "manager", "approvers": [{"kind": "Group", "name": "managers"}]}],
                    "escalation": {"after": "30m", "approvers": [{"kind": "Group", "name": "directors"}]},
                },
            },
        });
        let mut policy: JitPolicy = serde_json::from_value(policy).unwrap();
        let me = Identity { groups: vec![group.to_owned()], ..Identity::default() };
        assert_eq!(may_approve(&policy, &me), may);
        policy.spec.approval = None;
        assert!(!may_approve(&policy, &me));
    }
}
