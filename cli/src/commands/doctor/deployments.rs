//! The programs: whether as many run as ought to, and of which release they are.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_cluster::OF_THE_CHART;
use lapse_cluster::rights::Component;

use super::finding::{Check, Examined, Finding};
use super::installation::Installation;
use crate::session::Session;

/// Where Helm writes the release.
const RELEASE: &str = "app.kubernetes.io/version";

pub(super) async fn examine(session: &Session, installation: &Installation) -> Examined {
    let check = Check::Deployments;
    let namespace = &installation.namespace;
    let api: Api<Deployment> = Api::namespaced(session.client.clone(), namespace);
    let ours = ListParams::default().labels(OF_THE_CHART);
    let call = session.call("listing the Deployments of Lapse", api.list(&ours));
    let what = format!("list Deployments in namespace {namespace}");
    let right = format!("ClusterRole view in namespace {namespace}");
    let all = check.look(&what, &right, call).await?.items;
    let has_gateway = installation.settings.as_ref().is_some_and(|settings| settings.has_gateway);
    Ok(told(&all, namespace, has_gateway))
}

fn told(all: &[Deployment], namespace: &str, has_gateway: bool) -> Vec<Finding> {
    let check = Check::Deployments;
    let (mut found, mut available) = (Vec::new(), Vec::new());
    let mut ours = Vec::new();
    for component in Component::ALL {
        // Each has the name of its account.
        let name = component.account();
        let Some(deployment) = all.iter().find(|deployment| deployment.name_any() == name) else {
            if component != Component::Gateway || has_gateway {
                let message = format!("there is no Deployment {name} in namespace {namespace}");
                found.push(check.problem(message, "run helm upgrade"));
            }
            continue;
        };
        ours.push(deployment);
        match lacking(deployment, namespace) {
            Some(finding) => found.push(finding),
            None => available.push(name),
        }
    }
    found.extend(releases(&ours));
    if found.is_empty() {
        found.push(check.ok(format!("all replicas are available of {}", available.join(", "))));
    }
    found
}

/// What one lacks, if anything.
fn lacking(deployment: &Deployment, namespace: &str) -> Option<Finding> {
    let (check, name) = (Check::Deployments, deployment.name_any());
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    let see = format!(
        "see `kubectl -n {namespace} describe deployment {name}` and the log of its pods, and wait if it has just been installed"
    );
    if wanted == 0 {
        let action = format!("run `kubectl -n {namespace} scale deployment {name} --replicas=2`");
        return Some(check.problem(format!("{name} is scaled to no replica"), action));
    }
    if available == 0 {
        return Some(check.problem(format!("no replica of {name} is available"), see));
    }
    if available < wanted {
        let message = format!("of {wanted} replicas of {name}, {available} are available");
        return Some(check.warning(message, see));
    }
    let is_seen = status.observed_generation >= deployment.metadata.generation;
    let updated = status.updated_replicas.unwrap_or_default();
    (!is_seen || updated < wanted).then(|| {
        check.warning(format!("{name} was changed, and not all of its replicas are new yet"), see)
    })
}

/// Whether they are of one release, and of ours.
fn releases(all: &[&Deployment]) -> Vec<Finding> {
    let (check, ours) = (Check::Deployments, env!("CARGO_PKG_VERSION"));
    let release = |deployment: &Deployment| deployment.labels().get(RELEASE).cloned();
    let mut found = Vec::new();
    let releases = grouped(all, release);
    match releases.keys().next() {
        Some(one) if releases.len() == 1 && one != ours => found.push(check.warning(
            format!("the Deployments are of release {one}, and this kubectl jit of {ours}"),
            "use the kubectl jit of the installed release, or upgrade Lapse",
        )),
        Some(_) if releases.len() > 1 => found.push(check.warning(
            format!("the Deployments are of different releases: {}", in_words(&releases)),
            "run helm upgrade, and find out who changed them (audit log)",
        )),
        _ => {}
    }
    let images = grouped(all, image);
    if images.len() > 1 {
        found.push(check.warning(
            format!("the Deployments run different images: {}", in_words(&images)),
            "run helm upgrade, and find out who changed them (audit log)",
        ));
    }
    found
}

fn image(deployment: &Deployment) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.clone()
}

/// Their names, by what they say; who says nothing is left out.
fn grouped(
    all: &[&Deployment],
    said: impl Fn(&Deployment) -> Option<String>,
) -> BTreeMap<String, Vec<String>> {
    let mut groups = BTreeMap::<String, Vec<String>>::new();
    for &deployment in all {
        if let Some(said) = said(deployment) {
            groups.entry(said).or_default().push(deployment.name_any());
        }
    }
    groups
}

fn in_words(groups: &BTreeMap<String, Vec<String>>) -> String {
    let words = groups.iter().map(|(said, names)| format!("{said} ({})", names.join(", ")));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::finding::shown;
    use super::*;

    fn deployment(name: &str, release: &str, status: &Value) -> Deployment {
        let container =
            json!({"name": "main", "image": format!("registry.example/lapse:{release}")});
        serde_json::from_value(json!({
            "metadata": {"name": name, "generation": 3, "labels": {(RELEASE): release}},
            "spec": {
                "replicas": status["wanted"].as_i64().unwrap_or(2), "selector": {},
                "template": {"spec": {"containers": [container]}},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn running() -> Value {
        json!({"availableReplicas": 2, "updatedReplicas": 2, "observedGeneration": 3})
    }

    fn found(all: &[Deployment], has_gateway: bool) -> String {
        let found = shown(&told(all, "lapse-system", has_gateway));
        found.replace(env!("CARGO_PKG_VERSION"), "OURS")
    }

    #[test]
    fn what_runs_is_compared_with_what_ought_to() {
        let ours = env!("CARGO_PKG_VERSION");
        let one = |name: &str, status: &Value| deployment(name, ours, status);
        let controller = || one("lapse-controller", &running());
        let webhook = |status: Value| [controller(), one("lapse-webhook", &status)];
        let cases = [
            found(&webhook(running()), false),
            found(&webhook(running()), true),
            found(&[], false),
            found(&webhook(json!({"wanted": 0})), false),
            found(&webhook(json!({})), false),
            found(
                &webhook(
                    json!({"availableReplicas": 1, "updatedReplicas": 2, "observedGeneration": 3}),
                ),
                false,
            ),
            found(
                &webhook(
                    json!({"availableReplicas": 2, "updatedReplicas": 1, "observedGeneration": 3}),
                ),
                false,
            ),
            found(
                &webhook(
                    json!({"availableReplicas": 2, "updatedReplicas": 2, "observedGeneration": 2}),
                ),
                false,
            ),
            found(&[controller(), deployment("lapse-webhook", "9.0.0", &running())], false),
            found(
                &["lapse-controller", "lapse-webhook"]
                    .map(|name| deployment(name, "9.0.0", &running())),
                false,
            ),
        ];
        insta::assert_snapshot!(cases.join("\n\n"));
    }
}
