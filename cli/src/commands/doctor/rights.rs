//! What the programs may do: each right that they need, as the API server's authorizer sees it.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use lapse_cluster::rights::{Access, Component, accesses};
use lapse_engine::identity::{service_account_groups, service_account_name};

use super::finding::{Check, Examined, Finding};
use super::installation::Installation;
use crate::fault::Fault;
use crate::session::Session;

/// How many are asked about at once.
const AT_ONCE: usize = 16;
/// How many missing ones are named of each program; the others are counted.
const NAMED: usize = 5;

pub(super) async fn examine(session: &Session, installation: &Installation) -> Examined {
    let check = Check::Rights;
    let Some(settings) = &installation.settings else {
        return Err(check.not_checked(
            "what the programs need is not known without the settings",
            format!("ask for ClusterRole view in namespace {}", installation.namespace),
        ));
    };
    let mut found = Vec::new();
    let components = Component::ALL.into_iter();
    // Without a gateway nothing runs under its account.
    for component in components.filter(|of| *of != Component::Gateway || settings.has_gateway) {
        let user = service_account_name(&settings.namespace, component.account());
        let mut groups = service_account_groups(&user);
        groups.push("system:authenticated".to_owned());
        let needs = accesses(component, settings);
        let asked = stream::iter(&needs).map(async |(access, need)| {
            let may = may(session, &user, &groups, access).await?;
            Ok::<_, Fault>((!may).then(|| format!("{access} ({})", need.why)))
        });
        let asked =
            asked.buffered(AT_ONCE).try_filter_map(async |missing| Ok(missing)).try_collect();
        let right = "create on subjectaccessreviews";
        let missing: Vec<String> = check.look("ask what others may do", right, asked).await?;
        found.push(lacks(component, needs.len(), &missing));
    }
    Ok(found)
}

fn lacks(component: Component, all: usize, missing: &[String]) -> Finding {
    let (check, account) = (Check::Rights, component.account());
    if missing.is_empty() {
        return check.ok(format!("{account} has all {all} permissions that it needs"));
    }
    let named = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    let more = match missing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    check.problem(
        format!("{account} may not {named}{more}"),
        "run helm upgrade, and find out who changed its roles or bindings (audit log)",
    )
}

async fn may(
    session: &Session,
    user: &str,
    groups: &[String],
    access: &Access,
) -> Result<bool, Fault> {
    let Access { namespace, group, resource, verb, name } = access;
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (&**resource, None),
    };
    let attributes = ResourceAttributes {
        namespace: namespace.clone(),
        group: Some(group.clone()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.clone()),
        name: name.clone(),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        groups: Some(groups.to_vec()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(session.client.clone());
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let params = PostParams::default();
    let answer = session.call("asking what a program may do", api.create(&params, &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_the_rest_counted() {
        let missing: Vec<String> = (1..=7).map(|n| format!("get r{n} everywhere (why)")).collect();
        let found = lacks(Component::Webhook, 9, &missing);
        assert!(found.message.starts_with("lapse-webhook may not get r1 everywhere (why); get r2"));
        assert!(found.message.ends_with("r5 everywhere (why); and 2 more"), "{}", found.message);
        let fine = lacks(Component::Webhook, 9, &[]);
        insta::assert_snapshot!(shown([&fine, &lacks(Component::Webhook, 9, &missing[..1])]), @r"
        Rights OK: lapse-webhook has all 9 permissions that it needs
        Rights problem: lapse-webhook may not get r1 everywhere (why)
          → run helm upgrade, and find out who changed its roles or bindings (audit log)
        ");
    }
}
