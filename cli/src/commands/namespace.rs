//! A namespace that there is not.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use crate::fault::Fault;
use crate::pages::Pages;
use crate::role::nearest;
use crate::session::Session;

/// A refusal that is about a namespace which does not exist, told as that, with the nearest that does. The API server says so to
/// few: whoever has rights in single namespaces has none in one that is misspelt. Who may not list namespaces either is told what it
/// said.
pub(super) async fn explained(session: &Session, fault: Fault) -> Fault {
    let name = &session.namespace;
    let is_about_it = fault.answer().is_some_and(|(code, message)| {
        matches!(code, 403 | 404) && message.contains(&format!("\"{name}\""))
    });
    if !is_about_it {
        return fault;
    }
    let mut names = Vec::new();
    let api: Api<Namespace> = Api::all(session.client.clone());
    let pages = Pages::of(session, "listing namespaces", api, ListParams::default());
    let listed = pages.each(|namespace| names.push(namespace.name_any())).await;
    if listed.is_err() || names.contains(name) {
        return fault;
    }
    let near = nearest(name, names.iter().map(String::as_str));
    let hint = near.map_or_else(
        || "`kubectl get namespaces` lists those that there are".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    Fault::Other(format!("there is no namespace {name}; {hint}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{page, refusal, session};

    fn namespaces(names: &[&str]) -> Value {
        let all = names.iter().map(|name| json!({"metadata": {"name": name}}));
        page(&all.collect::<Vec<_>>(), "")
    }

    /// Somebody asks in namespace `shop`.
    #[rstest]
    #[case::misspelt(namespaces(&["shops", "bank"]), "there is no namespace shop; did you mean shops?")]
    #[case::of_another_cluster(namespaces(&["bank"]), "there is no namespace shop; `kubectl get namespaces` lists those that there are")]
    #[case::there(namespaces(&["shop"]), "creating it: forbidden in the namespace \"shop\"")]
    #[case::unknown(
        refusal(403, "Forbidden", "no"),
        "creating it: forbidden in the namespace \"shop\""
    )]
    #[tokio::test]
    async fn a_namespace_that_is_misspelt_is_told_with_the_nearest(
        #[case] answer: Value,
        #[case] told: &str,
    ) {
        let session = session(30, move |asked| {
            Some(match asked.last() {
                "namespaces" => answer.clone(),
                _ => refusal(403, "Forbidden", "forbidden in the namespace \"shop\""),
            })
        });
        let refused = session.call("creating it", session.policies().get("any")).await;
        let fault = explained(&session, refused.unwrap_err()).await;
        assert_eq!(fault.to_string(), told);
    }
}
