//! Who is named as an approver, and could not approve.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::authentication::v1::UserInfo;
use lapse_crds::{JitPolicySpec, Subject, SubjectKind};
use lapse_engine::identity::username_of;

use crate::admission::Admission;
use crate::stamp::holds_verb;

/// How many are asked about: a policy may name hundreds.
const MOST: usize = 16;

/// Warns of those who lack the verb `approve` on the policy. Who holds it by a group that is not named here is not
/// known, so nothing is refused.
pub(super) async fn lint(admission: &Admission, policy: &str, spec: &JitPolicySpec) -> Vec<String> {
    let stages = spec.approval.iter().flat_map(|approval| &approval.stages);
    let named: BTreeSet<&Subject> = stages.flat_map(|stage| &stage.approvers).collect();
    let looks = named.into_iter().take(MOST).map(async |who| {
        let may = holds_verb(admission, &as_user(who), "approve", Some(policy)).await;
        // What cannot be looked up is no reason to warn.
        matches!(may, Ok(false)).then(|| who.to_string())
    });
    let lacking: Vec<String> = join_all(looks).await.into_iter().flatten().collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "the verb approve on jitpolicies/{policy} is not held by {}: whoever does not hold it in another way cannot \
         approve; bind the role lapse:approver with a ClusterRoleBinding",
        lacking.join(", ")
    )]
}

/// A subject as the API server would see it, with nothing but what the subject itself says.
fn as_user(who: &Subject) -> UserInfo {
    let everybody = "system:authenticated".to_owned();
    match who.kind {
        SubjectKind::Group => {
            UserInfo { groups: Some(vec![who.name.clone(), everybody]), ..UserInfo::default() }
        }
        // Nobody decides on a host: a policy that names one is refused.
        SubjectKind::User | SubjectKind::EndpointUser => UserInfo {
            username: Some(username_of(who)),
            groups: Some(vec![everybody]),
            ..UserInfo::default()
        },
        SubjectKind::ServiceAccount => {
            let namespace = who.namespace.as_deref().unwrap_or_default();
            let accounts = format!("system:serviceaccounts:{namespace}");
            UserInfo {
                username: Some(username_of(who)),
                groups: Some(vec!["system:serviceaccounts".to_owned(), accounts, everybody]),
                ..UserInfo::default()
            }
        }
    }
}
