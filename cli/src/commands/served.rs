//! What the cluster has of Lapse, where a refusal may come from its having none, or another release.

use lapse_crds::{API_GROUP, API_VERSION};

use crate::fault::Fault;
use crate::foreign::releases;
use crate::session::Session;

/// How the API server introduces a field that it does not know.
const UNKNOWN_FIELD: &str = "unknown field \"";

/// A refusal that comes from what the cluster lacks, told as that. Whoever has no rights is told so by the API server before it looks
/// whether there is anything to have rights on.
pub(super) async fn explained(session: &Session, fault: Fault) -> Fault {
    let Some((code, message)) = fault.answer() else { return fault };
    let fields = unknown_fields(message);
    let is_about_lapse = message.contains(&format!("API group \"{API_GROUP}\""));
    let why = if code == 400 && !fields.is_empty() {
        Some(format!("the Lapse of this cluster does not know {}", fields.join(", ")))
    } else if fault.is_unserved() || (code == 403 && is_about_lapse) {
        match lacking(session).await {
            Some(Lacking::Lapse) => return Fault::Other(not_installed(session.server())),
            Some(Lacking::Version(versions)) => Some(other_version(&versions)),
            Some(Lacking::Kinds(kinds)) if code == 404 => {
                Some(format!("the Lapse of this cluster has no {}", kinds.join(", ")))
            }
            Some(Lacking::Kinds(_)) | None => None,
        }
    } else {
        None
    };
    match why {
        Some(why) => Fault::Other(format!("{why}: {}", releases(session).await)),
        None => fault,
    }
}

/// What the cluster does not have.
enum Lacking {
    Lapse,
    /// It has these versions of the API, and not ours.
    Version(Vec<String>),
    /// It does not have these kinds of ours.
    Kinds(Vec<String>),
}

/// What it lacks; `None` if nothing is known to be missing. Everybody may ask for that.
async fn lacking(session: &Session) -> Option<Lacking> {
    let what = "asking which kinds are served";
    let version = format!("{API_GROUP}/{API_VERSION}");
    let served = session.client.list_api_group_resources(&version);
    match session.call(what, served).await {
        Ok(list) => {
            let served: Vec<String> = list.resources.into_iter().map(|kind| kind.name).collect();
            let ours = lapse_crds::all().into_iter().map(|kind| kind.spec.names.plural);
            let kinds: Vec<String> = ours.filter(|kind| !served.contains(kind)).collect();
            (!kinds.is_empty()).then_some(Lacking::Kinds(kinds))
        }
        Err(fault) if fault.answer().is_some_and(|(code, _)| code == 404) => {
            let groups = session.call(what, session.client.list_api_groups()).await.ok()?.groups;
            let group = groups.into_iter().find(|group| group.name == API_GROUP);
            Some(group.map_or(Lacking::Lapse, |group| {
                Lacking::Version(group.versions.into_iter().map(|one| one.version).collect())
            }))
        }
        Err(_) => None,
    }
}

fn not_installed(server: &str) -> String {
    format!(
        "Lapse is not installed in the cluster at {server}: it does not serve the API {API_GROUP}. Give --context, if you mean \
         another cluster, or ask its administrator to install Lapse (docs/operations.md)"
    )
}

fn other_version(versions: &[String]) -> String {
    format!(
        "this cluster serves the API {API_GROUP} as {}, which this kubectl jit does not know",
        versions.join(", ")
    )
}

/// The fields that the API server does not know.
fn unknown_fields(message: &str) -> Vec<String> {
    let after = message.split(UNKNOWN_FIELD).skip(1);
    after.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::offers::OURS;
    use crate::testing::{Asked, refusal, session};

    const NOT_FOUND: &str = "the server could not find the requested resource";
    const FORBIDDEN: &str = "accessrequests.lapse.dev is forbidden: User \"al\" cannot list resource \"accessrequests\" in API group \
                             \"lapse.dev\" in the namespace \"shop\"";
    const STRICT: &str = "AccessRequest in version \"v1alpha1\" cannot be handled as a AccessRequest: strict decoding error: unknown \
                          field \"spec.origin\", unknown field \"spec.target.endpoint.account\"";

    fn kinds(names: &[&str]) -> Value {
        let resource = |name: &&str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "", "verbs": []});
        let resources: Vec<Value> = names.iter().map(resource).collect();
        json!({"groupVersion": "lapse.dev/v1alpha1", "resources": resources})
    }

    fn groups(versions: &[&str]) -> Value {
        let version =
            |name: &&str| json!({"groupVersion": format!("lapse.dev/{name}"), "version": name});
        let versions: Vec<Value> = versions.iter().map(version).collect();
        let groups = if versions.is_empty() {
            json!([])
        } else {
            json!([{"name": "lapse.dev", "versions": versions}])
        };
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    fn all() -> Value {
        kinds(&["jitpolicies", "accessrequests", "accessdecisions", "grants", "endpoints"])
    }

    fn absent() -> Value {
        refusal(404, "NotFound", "404 page not found")
    }

    /// What is said to whoever is refused so, where this is served.
    async fn told((code, message): (u16, &'static str), served: Value, groups: Value) -> String {
        let session = session(30, move |asked: &Asked| {
            Some(match asked.last() {
                "v1alpha1" => served.clone(),
                "apis" => groups.clone(),
                _ => refusal(code, "Forbidden", message),
            })
        });
        let (api, params) = (session.requests(), kube::api::ListParams::default());
        let refused = session.call("listing requests", api.list(&params)).await.unwrap_err();
        explained(&session, refused).await.to_string().replace(OURS, "OURS")
    }

    #[tokio::test]
    async fn what_the_cluster_lacks_is_told() {
        let older = kinds(&["jitpolicies", "accessrequests", "accessdecisions", "grants"]);
        let all_told = [
            told((404, NOT_FOUND), absent(), groups(&[])).await,
            told((403, FORBIDDEN), absent(), groups(&[])).await,
            told((404, NOT_FOUND), absent(), groups(&["v1", "v1beta1"])).await,
            told((404, NOT_FOUND), older, groups(&[])).await,
            told((400, STRICT), all(), groups(&[])).await,
        ];
        insta::assert_snapshot!(all_told.join("\n"), @r"
        Lapse is not installed in the cluster at https://cluster.example:6443: it does not serve the API lapse.dev. Give --context, if you mean another cluster, or ask its administrator to install Lapse (docs/operations.md)
        Lapse is not installed in the cluster at https://cluster.example:6443: it does not serve the API lapse.dev. Give --context, if you mean another cluster, or ask its administrator to install Lapse (docs/operations.md)
        this cluster serves the API lapse.dev as v1, v1beta1, which this kubectl jit does not know: the Lapse of this cluster does not say of which release it is, and this kubectl jit is of OURS; use the kubectl jit of the release that is installed, or ask an administrator to upgrade Lapse
        the Lapse of this cluster has no endpoints: the Lapse of this cluster does not say of which release it is, and this kubectl jit is of OURS; use the kubectl jit of the release that is installed, or ask an administrator to upgrade Lapse
        the Lapse of this cluster does not know spec.origin, spec.target.endpoint.account: the Lapse of this cluster does not say of which release it is, and this kubectl jit is of OURS; use the kubectl jit of the release that is installed, or ask an administrator to upgrade Lapse
        ");
        // What lacks nothing has its own reasons.
        for (code, message) in [(403, FORBIDDEN), (404, NOT_FOUND), (400, "no fields")] {
            let told = told((code, message), all(), groups(&[])).await;
            assert!(told.starts_with("listing requests: "), "{told}");
        }
    }
}
