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
    let lacking =
        check.look("ask what the cluster serves", right, lacking(&session.client)).await?;
    Ok(vec![match lacking {
        None => check.ok("the cluster has what Lapse needs"),
        Some(why) => check.problem(
            why.to_string(),
            "until then nothing is granted, and what was granted still ends",
        ),
    }])
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
        let message = format!("the API server does not serve {} of {version}", missing.join(", "));
        return Ok(vec![check.problem(message, UPGRADE)]);
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
