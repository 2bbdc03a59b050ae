//! What exactly a request allows: by what it says itself, by what Lapse tells of the role to whoever would get or approve it, or by
//! the role, where whoever looks may read that.

use anstream::eprintln;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::{Api, ResourceExt as _};
use lapse_crds::{
    ALLOWS, AccessRequest, KubernetesTarget, RecordedRules, RoleKind, RoleRef, RoleRule,
};
use lapse_engine::rules::compact;
use lapse_engine::target::{Privilege, ResolvedTarget};

use crate::args::DryRun;
use crate::decide::{Saying, send};
use crate::output::plain;
use crate::rules::{in_words, lines};
use crate::session::Session;

/// A line for each rule; or what there is to say instead.
pub(super) type Told = Result<Vec<String>, String>;

/// What the lines are called, as wide as the names on a sheet.
const NAME: &str = "Allows     ";

/// Has a request that is made as a dry run ask what its role allows.
pub(super) fn ask(request: &mut AccessRequest) {
    if role_of(request).is_some() {
        request.annotations_mut().insert(ALLOWS.to_owned(), String::new());
    }
}

/// For whoever asked so, by the answer. A Lapse that does not know the question leaves it as it was.
pub(super) async fn by_answer(session: &Session, answer: &AccessRequest) -> Told {
    let told = answer.annotations().get(ALLOWS);
    let told = told.and_then(|told| serde_json::from_str::<Vec<RecordedRules>>(told).ok());
    known(session, answer, &told.unwrap_or_default()).await
}

/// For whoever approves, by an approval that is judged and not stored: it has the rules for which it would hold.
pub(super) async fn by_approval(
    session: &Session,
    request: &AccessRequest,
    saying: &Saying,
) -> Told {
    if role_of(request).is_none() {
        return known(session, request, &[]).await;
    }
    let tried = send(session, &saying.about(request), DryRun::Server).await;
    // What was only tried warns of nothing.
    session.warnings();
    let rules = tried.map(|decision| decision.spec.rules).unwrap_or_default();
    known(session, request, &rules).await
}

/// Shows it on standard error, below its name.
pub(super) fn show(told: &[String]) {
    for (place, line) in told.iter().enumerate() {
        let name = if place == 0 { NAME } else { "" };
        eprintln!("{name:width$}{}", plain(line), width = NAME.len());
    }
}

/// What is told, if anything is, or what can be found out; more rules than are told are read like those of which nothing is.
async fn known(session: &Session, request: &AccessRequest, told: &[RecordedRules]) -> Told {
    let Some((target, role)) = role_of(request) else { return Ok(spelled_out(request)) };
    if told.is_empty() { read(session, request, target, role).await } else { Ok(lines(told)) }
}

/// The rules of the role, as whoever looks may read it.
async fn read(
    session: &Session,
    request: &AccessRequest,
    target: &KubernetesTarget,
    role: &RoleRef,
) -> Told {
    let client = session.client.clone();
    let what = format!("reading {role}");
    let rules = match role.kind {
        RoleKind::ClusterRole => {
            let api: Api<ClusterRole> = Api::all(client);
            session.call(what, api.get(&role.name)).await.map(|role| role.rules)
        }
        RoleKind::Role => {
            let own = request.namespace().unwrap_or_default();
            let namespace = target.namespaces.first().unwrap_or(&own);
            let api: Api<Role> = Api::namespaced(client, namespace);
            session.call(what, api.get(&role.name)).await.map(|role| role.rules)
        }
    };
    match rules {
        Ok(rules) => {
            let rules = compact(&rules.unwrap_or_default());
            let rules = rules.into_iter().map(RoleRule::from).collect();
            Ok(lines(&[RecordedRules { namespace: None, rules }]))
        }
        Err(fault) if fault.is_forbidden() => {
            Err(format!("what {role} allows, which you may not read"))
        }
        Err(fault) => Err(fault.to_string()),
    }
}

/// The role that is asked for, and where.
fn role_of(request: &AccessRequest) -> Option<(&KubernetesTarget, &RoleRef)> {
    let target = request.spec.target.kubernetes.as_ref()?;
    Some((target, target.role.as_ref()?))
}

/// What a request without a role says, whole.
fn spelled_out(request: &AccessRequest) -> Vec<String> {
    let namespace = request.namespace().unwrap_or_default();
    match ResolvedTarget::resolve(&request.spec.target, &namespace).map(|target| target.privilege) {
        Some(Privilege::Rules(rules)) => rules.iter().map(in_words).collect(),
        Some(privilege) => vec![privilege.to_string()],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::Verdict;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{self, refusal, session};

    fn of(target: &Value) -> AccessRequest {
        serde_json::from_value(testing::request("fix", target)).unwrap()
    }

    fn edit() -> AccessRequest {
        of(&json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}}))
    }

    fn rules(verb: &str) -> Value {
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}])
    }

    /// Somebody who may read no role, unless these rules are those of one.
    fn reader(role: Option<Value>, decision: Option<Value>) -> Session {
        session(30, move |asked| {
            let told = if asked.last() == "accessdecisions" { &decision } else { &role };
            Some(told.clone().unwrap_or_else(|| refusal(403, "Forbidden", "no")))
        })
    }

    #[rstest]
    #[case::told(Some(json!([{"rules": rules("get")}]).to_string()), None, Ok("get pods"))]
    #[case::told_and_readable(Some(json!([{"rules": rules("get")}]).to_string()), Some("list"), Ok("get pods"))]
    #[case::readable(Some(String::new()), Some("list"), Ok("list pods"))]
    #[case::of_an_older_release(None, Some("list"), Ok("list pods"))]
    #[case::too_large_to_be_told(Some("[]".to_owned()), Some("list"), Ok("list pods"))]
    #[case::neither(
        Some(String::new()),
        None,
        Err("what ClusterRole edit allows, which you may not read")
    )]
    #[tokio::test]
    async fn who_asks_is_told_or_reads_it(
        #[case] answer: Option<String>,
        #[case] readable: Option<&str>,
        #[case] expected: Result<&str, &str>,
    ) {
        let mut request = edit();
        ask(&mut request);
        assert_eq!(request.annotations().get(ALLOWS).map(String::as_str), Some(""));
        request.metadata.annotations = answer.map(|text| [(ALLOWS.to_owned(), text)].into());
        let role = readable.map(|verb| json!({"metadata": {"name": "edit"}, "rules": rules(verb)}));
        let told = by_answer(&reader(role, None), &request).await;
        let told = told.map(|lines| lines.join("; "));
        assert_eq!(told, expected.map(ToOwned::to_owned).map_err(ToOwned::to_owned));
    }

    #[tokio::test]
    async fn who_approves_is_told_for_what_the_approval_would_hold() {
        let decision = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision", "metadata": {"name": "fix-x"},
            "spec": {"request": {"name": "fix"}, "verdict": "Approve", "rules": [{"rules": rules("get")}]},
        });
        let saying = Saying::only(Verdict::Approve);
        let told = by_approval(&reader(None, Some(decision)), &edit(), &saying).await;
        assert_eq!(told, Ok(vec!["get pods".to_owned()]));
        let told = by_approval(&reader(None, None), &edit(), &saying).await;
        assert_eq!(told, Err("what ClusterRole edit allows, which you may not read".to_owned()));
    }

    #[tokio::test]
    async fn what_is_no_role_says_itself_what_it_allows() {
        let told = async |target: Value| {
            let mut request = of(&target);
            ask(&mut request);
            assert_eq!(request.metadata.annotations, None, "nothing is asked");
            by_answer(&reader(None, None), &request).await.unwrap().join("; ")
        };
        let many =
            json!({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]});
        let both = json!({"kubernetes": {"rules": [rules("get")[0], many]}});
        assert_eq!(told(both).await, "get pods; get,patch deployments of apps");
        let host = json!({"endpoint": {"name": "web-1", "admin": {}}});
        assert_eq!(told(host).await, "admin");
    }
}
