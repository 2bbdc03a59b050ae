//! The cluster itself, and the kinds of Lapse in it.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, ResourceExt as _};
use lapse_cluster::lacking;
use lapse_crds::{API_GROUP, API_VERSION, RELEASE};

use super::finding::{Check, Examined, Finding};
use crate::session::Session;

/// How to have the definitions as they must be.
const UPGRADE: &str =
    "run helm upgrade with the chart of the installed release (crds.install: true)";

/// Whether it has what Lapse needs.
pub(super) async fn supported(session: &Session) -> Examined {
    let check = Check::Cluster;
    let right = "ClusterRole system:discovery";
    let lacking = lacking(&session.client, session.limit);
    let lacking = check.look("ask what the cluster serves", right, lacking).await?;
    Ok(vec![judged(lacking.map(|why| why.to_string()))])
}

fn judged(lacking: Option<String>) -> Finding {
    let check = Check::Cluster;
    match lacking {
        None => check.ok("the cluster has what Lapse needs"),
        Some(why) => {
            check.problem(why, "until then nothing is granted, and what was granted still ends")
        }
    }
}

/// Whether all kinds are served, and of which release they are.
pub(super) async fn definitions(session: &Session) -> Examined {
    let check = Check::Definitions;
    let expected = lapse_crds::all();
    let version = format!("{API_GROUP}/{API_VERSION}");
    let served = async {
        match session.client.list_api_group_resources(&version).await {
            Ok(list) => Ok(list.resources.into_iter().map(|resource| resource.name).collect()),
            // None of the group.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    let call = session.call("asking which kinds are served", served);
    let served: Vec<String> =
        check.look("ask what the cluster serves", "ClusterRole system:discovery", call).await?;
    let names = expected.iter().map(|definition| definition.spec.names.plural.clone());
    let missing: Vec<String> = names.filter(|name| !served.contains(name)).collect();
    if !missing.is_empty() {
        return Ok(vec![unserved(&missing, &version)]);
    }
    let api: Api<CustomResourceDefinition> = Api::all(session.client.clone());
    let standing = stream::iter(&expected).then(async |definition| {
        let name = definition.name_any();
        let call = session.call("reading the definitions", api.get(&name));
        check.look("read CustomResourceDefinitions", "get on customresourcedefinitions", call).await
    });
    let standing: Vec<CustomResourceDefinition> = standing.try_collect().await?;
    let mut found: Vec<Finding> = standing.iter().filter_map(of_other_release).collect();
    if found.is_empty() {
        found.push(check.ok(format!("all {} kinds are served", expected.len())));
    }
    Ok(found)
}

fn unserved(missing: &[String], version: &str) -> Finding {
    let message = format!("the API server does not serve {} of {version}", missing.join(", "));
    Check::Definitions.problem(message, UPGRADE)
}

fn of_other_release(definition: &CustomResourceDefinition) -> Option<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    let release = definition.annotations().get(RELEASE).map(String::as_str);
    (release != Some(ours)).then(|| {
        let message = format!(
            "{} is of release {}, and this kubectl jit is of {ours}",
            definition.name_any(),
            release.unwrap_or("none that is named")
        );
        Check::Definitions
            .warning(message, "use the kubectl jit of the installed release, or upgrade Lapse")
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    #[test]
    fn a_cluster_that_lacks_something_is_told() {
        let mut definition = lapse_crds::all().remove(0);
        assert_eq!(of_other_release(&definition), None);
        let annotations = definition.annotations_mut();
        annotations.insert(RELEASE.to_owned(), "9.0.0".to_owned());
        let newer = of_other_release(&definition).unwrap();
        definition.annotations_mut().clear();
        let of_none = of_other_release(&definition).unwrap();
        let missing = ["grants".to_owned(), "endpoints".to_owned()];
        let all = [
            judged(None),
            judged(Some("the cluster is older than Kubernetes 1.32".to_owned())),
            unserved(&missing, "lapse.dev/v1alpha1"),
            newer,
            of_none,
        ];
        insta::assert_snapshot!(shown(&all).replace(env!("CARGO_PKG_VERSION"), "OURS"));
    }
}
