//! Beside GitOps tools, by the libraries that Flux and Argo CD are made of: what they applied stays as they have it.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Api;
use lapse_crds::{ConditionStatus, JitPolicy, RequestPhase};
use lapse_e2e::plane::install::NAMESPACE;
use lapse_e2e::plane::{GitOps, InstallOptions, User, eventually, workspace};
use serde_json::{Value, json};

use crate::waiting::json_of;
use crate::world::{SOON, World};

const CONFIGURATIONS: &str = "mutatingwebhookconfiguration,validatingwebhookconfiguration";
const ARGO_SERVER_SIDE: [&str; 3] =
    ["--server-side", "--force-conflicts", "--field-manager=argocd-controller"];

fn documents(text: &str) -> Vec<Value> {
    let text = text.trim_start_matches("---\n");
    let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap());
    documents.filter(|document: &Value| !document.is_null()).collect()
}

/// What was said with another word than this one.
fn but(word: &str, said: &str) -> Vec<String> {
    assert!(!said.is_empty(), "nothing was looked at");
    let other = |line: &&str| line.split(' ').nth(2) != Some(word);
    said.lines().filter(other).map(str::to_owned).collect()
}

impl World {
    async fn says(&self, who: &User, what: GitOps, objects: &[Value]) -> String {
        self.lapse.plane().gitops(who, what, objects).await.unwrap()
    }

    /// The chart as it is rendered without a cluster, without its hooks: what is applied of it.
    async fn rendered(&self, set: &[&str]) -> Vec<Value> {
        let plane = self.lapse.plane();
        let chart = workspace::root().join("charts/lapse").display().to_string();
        let values = plane.folder().join("values.yaml").display().to_string();
        let args = ["template", "lapse", &chart, "--namespace", NAMESPACE, "--values", &values];
        let text = plane.helm(&[&args[..], set].concat()).await.unwrap().ok().unwrap();
        let is_hook =
            |object: &Value| object["metadata"]["annotations"]["helm.sh/hook"].is_string();
        documents(&text).into_iter().filter(|object| !is_hook(object)).collect()
    }

    async fn kubectl_applies(&self, who: &User, how: &[&str], objects: &[Value]) -> String {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let args = [&["apply", "-f", "-"], how].concat();
        self.kubectl(who, &args, Some(&list)).await.unwrap()
    }

    /// Authorities and paths that stand in the webhook configurations, of each webhook.
    async fn clients(&self) -> Vec<(Option<String>, Option<String>)> {
        let client = self.admin.client.clone();
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(client);
        let mutating = mutating.get("lapse").await.unwrap().webhooks.unwrap_or_default();
        let validating = validating.get("lapse").await.unwrap().webhooks.unwrap_or_default();
        let clients = mutating.into_iter().map(|webhook| webhook.client_config);
        let clients = clients.chain(validating.into_iter().map(|webhook| webhook.client_config));
        let of = |bytes: k8s_openapi::ByteString| String::from_utf8(bytes.0).unwrap();
        clients
            .map(|client| (client.ca_bundle.map(of), client.service.and_then(|of| of.path)))
            .collect()
    }

    /// Has the API server look for the webhook behind its Service, as the chart's default is. Nobody answers there, as
    /// nothing runs as a pod; what the webhook writes into the configurations is the same.
    async fn by_the_service(&self) -> Vec<(Option<String>, Option<String>)> {
        self.kubectl(&self.admin, &["delete", CONFIGURATIONS, "lapse"], None).await.unwrap();
        self.lapse.upgrade(&["webhook.url="]).await.unwrap();
        eventually("the webhook to write its authority and path", SOON, async || {
            let clients = self.clients().await;
            let written = clients.iter().all(|(bundle, path)| bundle.is_some() && path.is_some());
            Ok(written.then_some(clients))
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn the_chart_stays_as_git_has_it() {
    let world = World::own("gitops", InstallOptions::default()).await;
    let admin = &world.admin;
    world.granted("held", json!({})).await;

    // With a url, host and path are one field, which is rendered without what stands.
    let rendered = world.rendered(&["--set", "webhook.url=https://127.0.0.1:1"]).await;
    let said = world.says(admin, GitOps::ArgoCompares, &rendered).await;
    let differ = but("Synced", &said);
    assert!(differ.len() == 2 && differ.iter().all(|line| line.contains("/unset/")), "{differ:#?}");

    let written = world.by_the_service().await;
    let plane = world.lapse.plane();
    let release = plane.helm(&["get", "manifest", "lapse", "--namespace", NAMESPACE]).await;
    let release = documents(&release.unwrap().ok().unwrap());
    let said = world.says(admin, GitOps::FluxLooksForDrift, &release).await;
    assert_eq!(but("none", &said), [""; 0], "drift of the release");

    let rendered = world.rendered(&["--set", "webhook.url="]).await;
    for (how, compares) in
        [(&[][..], GitOps::ArgoCompares), (&ARGO_SERVER_SIDE[..], GitOps::ArgoComparesOnTheServer)]
    {
        world.kubectl_applies(admin, how, &rendered).await;
        let said = world.says(admin, compares, &rendered).await;
        assert_eq!(but("Synced", &said), [""; 0], "{compares:?}");
        assert_eq!(world.clients().await, written, "{compares:?}: what the webhook wrote stands");
    }
    world.says(admin, GitOps::FluxApplies, &rendered).await;
    let said = world.says(admin, GitOps::FluxApplies, &rendered).await;
    assert_eq!(but("unchanged", &said), [""; 0], "of a second apply");
    assert_eq!(world.clients().await, written, "what the webhook wrote stands");

    // What somebody changes is seen by all of them.
    let patch = r#"[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]"#;
    let args = ["patch", "validatingwebhookconfiguration", "lapse", "--type=json", "-p", patch];
    world.kubectl(admin, &args, None).await.unwrap();
    let asked = [
        (GitOps::FluxLooksForDrift, "none", &release),
        (GitOps::ArgoCompares, "Synced", &rendered),
        (GitOps::ArgoComparesOnTheServer, "Synced", &rendered),
    ];
    for (what, well, objects) in asked {
        let said = world.says(admin, what, objects).await;
        let [differs] = &but(well, &said)[..] else { panic!("{what:?}: {said}") };
        assert!(differs.starts_with("ValidatingWebhookConfiguration lapse"), "{differs}");
        assert!(differs.contains("failurePolicy"), "{differs}");
    }
    world.kubectl_applies(admin, &ARGO_SERVER_SIDE, &rendered).await;
    let said = world.says(admin, GitOps::ArgoComparesOnTheServer, &rendered).await;
    assert_eq!(but("Synced", &said), [""; 0], "after a sync");
}

/// Whatever the programs write into them.
#[tokio::test]
async fn what_people_apply_stays_as_git_has_it() {
    let world = World::shared("from-git").await;
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    let ours = policies.get("from-git").await.unwrap();
    let policy = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
        "metadata": {"name": "from-git-too"}, "spec": ours.spec,
    });
    let request = |name: &str| {
        let request = world.request(name, json!({"policy": "from-git-too"}));
        json_of("AccessRequest", request)
    };
    let stays = async |who: &User, object: &Value| {
        let object = std::slice::from_ref(object);
        let said = world.says(who, GitOps::FluxApplies, object).await;
        assert_eq!(but("unchanged", &said), [""; 0]);
        for what in [GitOps::ArgoCompares, GitOps::ArgoComparesOnTheServer] {
            assert_eq!(but("Synced", &world.says(who, what, object).await), [""; 0], "{what:?}");
        }
    };
    let said = world.says(&world.admin, GitOps::FluxApplies, std::slice::from_ref(&policy)).await;
    assert_eq!(said, "JitPolicy from-git-too created\n");
    eventually("the policy to be ready", SOON, async || {
        let status = policies.get("from-git-too").await?.status.unwrap_or_default();
        Ok(status.conditions.iter().any(|of| of.status == ConditionStatus::True).then_some(()))
    })
    .await
    .unwrap();
    stays(&world.admin, &policy).await;

    let (by_flux, by_argo) = (request("flux"), request("argo"));
    let said = world.says(&world.alice, GitOps::FluxApplies, std::slice::from_ref(&by_flux)).await;
    assert_eq!(said, "AccessRequest flux created\n");
    world.kubectl_applies(&world.alice, &[], std::slice::from_ref(&by_argo)).await;
    for name in ["flux", "argo"] {
        world.waits(name, "manager").await;
    }
    for phase in [RequestPhase::Pending, RequestPhase::Active, RequestPhase::Ended] {
        for (name, object) in [("flux", &by_flux), ("argo", &by_argo)] {
            match phase {
                RequestPhase::Active => drop(world.approve(&world.bob, name).await.unwrap()),
                RequestPhase::Ended => {
                    world.decide(&world.alice, name, json!({"verdict": "End"})).await.unwrap();
                }
                _ => {}
            }
            world.phase(name, phase).await;
            if name == "argo" {
                let again =
                    world.kubectl_applies(&world.alice, &[], std::slice::from_ref(object)).await;
                assert!(again.ends_with(" unchanged\n"), "{phase:?}: {again}");
            } else {
                stays(&world.alice, object).await;
            }
        }
    }
}

/// The health checks for Argo CD that the documents give.
fn scripts_of_the_documents() -> Vec<(String, String)> {
    let text = include_str!("../../../docs/concepts.md");
    let (_, after) = text.split_once("### Argo CD").unwrap();
    let (_, yaml) = after.split_once("```yaml\n").unwrap();
    let (yaml, _) = yaml.split_once("```").unwrap();
    let map: BTreeMap<String, BTreeMap<String, String>> = serde_saphyr::from_str(yaml).unwrap();
    let scripts = map["data"].iter().map(|(key, script)| {
        let kind = key.strip_prefix("resource.customizations.health.lapse.dev_").unwrap();
        (kind.to_owned(), script.clone())
    });
    scripts.collect()
}

#[tokio::test]
async fn argo_says_how_each_state_is() {
    let world = World::shared("argo-health").await;
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    // As the API server has them: the types of this release would fill in what is not there.
    let answered = async |who: &User, args: &[&str], input: Option<&Value>| -> Value {
        let args = [args, &["--namespace", &world.ns, "--output=json"]].concat();
        let input = input.map(Value::to_string);
        let text = world.kubectl(who, &args, input.as_deref()).await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let seen =
        async |kind: &str, name: &str| answered(&world.admin, &["get", kind, name], None).await;
    let create = ["create", "-f", "-"];
    let mut states: Vec<(Value, &str)> = Vec::new();

    let spec = policies.get("argo-health").await.unwrap().spec;
    let new = json!({"metadata": {"name": "argo-health-new"}, "spec": spec});
    let new = json_of("JitPolicy", new);
    states.push((answered(&world.admin, &create, Some(&new)).await, "Progressing"));
    for (changes, health) in [
        (json!({}), "Healthy"),
        (json!({"mode": "Audit"}), "Healthy"),
        (json!({"mode": "Disabled"}), "Suspended"),
    ] {
        world.policy_named("argo-health-new", changes).await;
        states.push((seen("jp", "argo-health-new").await, health));
    }
    let missing = json!([{"kubernetes": {
        "roles": [{"kind": "Role", "name": "mend"}], "namespaces": {"names": [world.ns]},
    }}]);
    world.policy_named("argo-health-missing", json!({"targets": missing})).await;
    states.push((seen("jp", "argo-health-missing").await, "Degraded"));

    let held = json_of("AccessRequest", world.request("held", json!({})));
    states.push((answered(&world.alice, &create, Some(&held)).await, "Progressing"));
    world.waits("held", "manager").await;
    states.push((seen("areq", "held").await, "Suspended"));
    world.approve(&world.bob, "held").await.unwrap();
    world.phase("held", RequestPhase::Active).await;
    states.push((seen("areq", "held").await, "Healthy"));
    // There is no rule for other kinds: Argo CD takes them for neither.
    let grant = world.grant("held").await.metadata.name.unwrap();
    states.push((seen("gr", &grant).await, "None"));
    world.decide(&world.alice, "held", json!({"verdict": "End"})).await.unwrap();
    world.phase("held", RequestPhase::Ended).await;
    states.push((seen("areq", "held").await, "Healthy"));
    world.ask("denied", json!({})).await;
    world.decide(&world.bob, "denied", json!({"verdict": "Deny"})).await.unwrap();
    world.phase("denied", RequestPhase::Denied).await;
    states.push((seen("areq", "denied").await, "Degraded"));

    let objects: Vec<Value> = states.iter().map(|(object, _)| object.clone()).collect();
    let plane = world.lapse.plane();
    let said = plane.argo_health(&objects, &scripts_of_the_documents()).await.unwrap();
    let said: Vec<&str> = said.lines().collect();
    let expected: Vec<&str> = states.iter().map(|(_, health)| *health).collect();
    let found: Vec<&str> = said.iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(found, expected, "{said:#?}");
}
