//! What the caller may do with Lapse.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use lapse_crds::API_GROUP;

use super::finding::{Check, Examined};
use crate::fault::Fault;
use crate::session::Session;

/// What people do with Lapse: in words, verb and resource, whether in a namespace, and the role that gives it.
const DEEDS: [(&str, &str, &str, bool, &str); 6] = [
    ("request access", "create", "accessrequests", true, "lapse:requester"),
    ("decide about requests", "create", "accessdecisions", true, "lapse:approver"),
    ("count as an approver", "approve", "jitpolicies", false, "lapse:approver"),
    ("see what others hold", "list", "grants", false, "lapse:auditor"),
    ("see the policies", "list", "jitpolicies", false, "lapse:policy-viewer"),
    ("change the policies", "update", "jitpolicies", false, "lapse:policy-admin"),
];

pub(super) async fn examine(session: &Session) -> Examined {
    let check = Check::Access;
    let (mut may, mut may_not) = (Vec::new(), Vec::new());
    for (words, verb, resource, is_namespaced, role) in DEEDS {
        let namespace = is_namespaced.then_some(&*session.namespace);
        let place = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let asked = allowed(session, verb, resource, namespace);
        let right = "ClusterRole system:basic-user";
        if check.look("ask what you may do", right, asked).await? {
            may.push(format!("{words}{place}"));
        } else {
            may_not.push(format!("{words}{place} ({role})"));
        }
    }
    let list =
        |words: &[String]| if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
    let mut message = format!("you may: {}", list(&may));
    if !may_not.is_empty() {
        message = format!("{message}; not: {}", list(&may_not));
    }
    Ok(vec![check.ok(message)])
}

async fn allowed(
    session: &Session,
    verb: &str,
    resource: &str,
    namespace: Option<&str>,
) -> Result<bool, Fault> {
    let attributes = ResourceAttributes {
        namespace: namespace.map(ToOwned::to_owned),
        group: Some(API_GROUP.to_owned()),
        resource: Some(resource.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(session.client.clone());
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let params = PostParams::default();
    let answer = session.call("asking what you may do", api.create(&params, &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
