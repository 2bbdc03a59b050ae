//! What cannot be installed is refused before anything is changed, with what to do: by the real Helm on a real API server.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use lapse_crds::RELEASE;
use lapse_e2e::plane::{Answer, Plane, PlaneOptions, User, workspace};
use rstest::rstest;
use serde_json::{Value, json};

use crate::rendered::Rendered;
use crate::world::typed;

fn chart() -> String {
    workspace::root().join("charts/lapse").display().to_string()
}

/// What Helm says to the chart with some values, without a cluster.
async fn rendered_with(more: &[&str]) -> Answer {
    let chart = chart();
    let args = [&["template", "lapse", &chart, "--namespace", "lapse-system"], more].concat();
    Plane::shared().await.unwrap().helm(&args).await.unwrap()
}

#[rstest]
#[case::bounds(&["duration.min=\"48h\""], "duration.min (48h) is longer than duration.max (24h)")]
#[case::too_long(&["duration.max=\"8761h\""], "a grant lasts at most one year")]
#[case::tag_twice(&["image.repository=\"here:5000/lapse:1.0\""], "Put the tag into image.tag")]
#[case::own_role(
    &[r#"controller.bindableRoles=[{"kind":"ClusterRole","name":"lapse-webhook"}]"#],
    "controller.bindableRoles[0] is ClusterRole \"lapse-webhook\""
)]
#[case::own_account(
    &[r#"guard.trustedReconcilers=["lapse-system:lapse-controller"]"#],
    "guard.trustedReconcilers[0]"
)]
#[case::port(&["webhook.url=\"https://hook.example:70000\""], "a port is a number from 1 to 65535")]
#[case::minute(&["sweep.schedule=\"60 * * * *\""], "its minute is \"60\"")]
#[case::month(&["sweep.schedule=\"* * * foo *\""], "its month is \"foo\"")]
#[case::nowhere(
    &[r#"controller.grantableRules=[{"nonResourceURLs":["/metrics"],"verbs":["get"]}]"#],
    "controller.allowClusterWide is false: nobody could be given it"
)]
#[case::of_nothing(
    &[r#"controller.grantableRules=[{"apiGroups":[""],"verbs":["get"]}]"#],
    "controller.grantableRules[0] names no resources"
)]
#[case::of_no_group(
    &[r#"controller.grantableRules=[{"resources":["pods"],"verbs":["get"]}]"#],
    "controller.grantableRules[0] names no apiGroups"
)]
#[case::limit(
    &[r#"webhook.resources={"requests":{"memory":"1Gi"},"limits":{"memory":"900Mi"}}"#],
    "webhook.resources: requests.memory (1Gi) is more than limits.memory (900Mi)"
)]
#[case::limit_of_a_number(
    &[r#"sweep.resources={"requests":{"cpu":1},"limits":{"cpu":"500m"}}"#],
    "sweep.resources: requests.cpu (1) is more than limits.cpu (500m)"
)]
#[case::own_annotation(
    &[r#"controller.podAnnotations={"checksum/settings":"x"}"#],
    "controller.podAnnotations has checksum/settings"
)]
#[case::toleration_of_a_value(
    &[r#"webhook.tolerations=[{"key":"a","operator":"Exists","value":"x"}]"#],
    "webhook.tolerations[0] has the operator Exists and a value"
)]
#[case::toleration_of_nothing(&[r#"webhook.tolerations=[{"value":"x"}]"#], "and no key")]
#[case::toleration_for_long(
    &[r#"webhook.tolerations=[{"operator":"Exists","tolerationSeconds":5}]"#],
    "which the effect NoExecute alone has"
)]
#[case::half_a_network(
    &["networkPolicy.enabled=false", "networkPolicy.egress.enabled=true"],
    "nothing would be limited"
)]
#[case::no_address(
    &[r#"networkPolicy.webhookFrom=["10.0.0.0/33"]"#],
    "networkPolicy.webhookFrom[0] is \"10.0.0.0/33\""
)]
#[case::two_peers(
    &[r#"networkPolicy.metricsFrom=[{"ipBlock":{"cidr":"10.0.0.0/8"},"podSelector":{}}]"#],
    "a peer is one or the other"
)]
#[tokio::test]
async fn values_that_contradict_one_another(#[case] values: &[&str], #[case] words: &str) {
    let sets: Vec<&str> = values.iter().flat_map(|value| ["--set-json", *value]).collect();
    let answer = rendered_with(&sets).await;
    assert!(!answer.success(), "{values:?} were accepted");
    assert!(answer.stderr.contains("nothing was changed. "), "{}", answer.stderr);
    assert!(answer.stderr.contains(words), "{}", answer.stderr);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let sets = ["--set", "duration.min=48h", "--set", "sweep.schedule=60 * * * 7"];
    let said = rendered_with(&sets).await.stderr;
    for words in
        ["for 3 reasons:", "\n- duration.min", "its minute", "its day of the week is \"7\""]
    {
        assert!(said.contains(words), "{said}");
    }
}

/// What is taken for wrong by mistake is an installation that fails for no reason.
#[rstest]
#[case("sweep.schedule=\"@hourly\"")]
#[case("sweep.schedule=\"0-30/5,45 */2 1,15 JAN-mar mon-fri\"")]
#[case("image.repository=\"here:5000/team/lapse\"")]
#[case(
    r#"networkPolicy.webhookFrom=["10.0.0.0/8","2001:db8::/32","::1/128","::ffff:10.0.0.1/128"]"#
)]
#[case(r#"controller.resources={"requests":{"cpu":0.5,"memory":"1Gi"},"limits":{"cpu":"1","memory":"1024Mi"}}"#)]
#[case(r#"controller.resources={"limits":{"memory":1000000000},"requests":{"memory":"900M"}}"#)]
#[case(r#"controller.tolerations=[{"operator":"Exists"},{"key":"a","value":"b","effect":"NoExecute","tolerationSeconds":5}]"#)]
#[case(r#"webhook.url="https://[fd00::1]:9443""#)]
#[tokio::test]
async fn values_that_make_sense_are_taken(#[case] value: &str) {
    rendered_with(&["--set-json", value]).await.ok().unwrap();
}

#[tokio::test]
async fn a_cluster_that_is_too_old() {
    let said = rendered_with(&["--kube-version", "1.31.9"]).await;
    assert!(!said.success());
    let words =
        "chart requires kubeVersion: >=1.32.0-0 which is incompatible with Kubernetes v1.31.9";
    assert!(said.stderr.contains(words), "{}", said.stderr);
    // Tools that render without a cluster say what it serves.
    let said = rendered_with(&["--api-versions", "apps/v1/Deployment"]).await.stderr;
    for words in [
        "does not serve ValidatingAdmissionPolicy, ",
        "FlowSchema of flowcontrol.apiserver.k8s.io/v1",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

/// A cluster in which nothing of Lapse runs, and nothing that it could run on.
struct Bare {
    plane: Plane,
    admin: User,
}

impl Bare {
    async fn start() -> Self {
        let plane = Plane::start(PlaneOptions::default()).await.unwrap();
        let admin = plane.admin().await.unwrap();
        Self { plane, admin }
    }

    async fn helm(&self, args: &[&str]) -> anyhow::Result<String> {
        self.plane.helm(args).await?.ok()
    }

    /// Installs or upgrades a release in a namespace. No node is here that could run the image first.
    async fn install(
        &self,
        release: &str,
        namespace: &str,
        sets: &[&str],
    ) -> anyhow::Result<String> {
        let chart = chart();
        let mut args = vec!["upgrade", "--install", release, &chart, "--create-namespace"];
        args.extend(["--namespace", namespace, "--set", "image.check=false"]);
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        self.helm(&args).await
    }

    async fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        self.plane.kubectl(&self.admin, args).await?.ok()
    }

    async fn apply(&self, objects: &str) {
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let applied = self.plane.kubectl_with_input(&self.admin, &apply, Some(objects)).await;
        applied.unwrap().ok().unwrap();
    }

    /// Applies the definitions of the chart, as messages say.
    async fn apply_definitions(&self) {
        let folder = format!("{}/files/crds", chart());
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", &folder];
        self.kubectl(&apply).await.unwrap();
    }

    fn definitions(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.admin.client.clone())
    }

    /// What stands in the cluster of what a release makes there, with its version.
    async fn standing(&self) -> Vec<String> {
        let kinds = "crd,clusterroles,clusterrolebindings,validatingadmissionpolicies,namespaces";
        let version = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        let said = self.kubectl(&["get", kinds, "--output", version]).await.unwrap();
        said.lines().map(str::to_owned).collect()
    }

    /// An installation is refused with these words, and has changed nothing.
    async fn refuses(
        &self,
        release: &str,
        namespace: &str,
        sets: &[&str],
        words: &[&str],
    ) -> String {
        let before = self.standing().await;
        let said = format!("{:#}", self.install(release, namespace, sets).await.unwrap_err());
        assert_eq!(self.standing().await, before);
        assert!(said.contains("nothing was changed"), "{said}");
        for words in words {
            assert!(said.contains(words), "{words:?} is not in {said}");
        }
        said
    }
}

#[tokio::test]
async fn a_second_installation() {
    let bare = Bare::start().await;
    bare.install("lapse", "lapse-system", &[]).await.unwrap();
    let words = [
        "installed in this cluster already, as release \"lapse\" in namespace \"lapse-system\"",
        "helm upgrade lapse --namespace lapse-system",
    ];
    bare.refuses("lapse", "elsewhere", &[], &words).await;
    bare.refuses("other", "elsewhere", &["crds.install=false"], &words).await;
    bare.refuses("other", "lapse-system", &[], &words).await;
    bare.install("lapse", "lapse-system", &["controller.replicas=3"]).await.unwrap();

    // Without Helm nothing refuses it. Its roles then take the place of the first one's, so that only one can act.
    let may = async |namespace: &str| {
        let who = format!("--as=system:serviceaccount:{namespace}:lapse-controller");
        let args = ["auth", "can-i", "create", "grants.lapse.dev", &who];
        bare.plane.kubectl(&bare.admin, &args).await.unwrap().success()
    };
    assert!(may("lapse-system").await);
    bare.kubectl(&["create", "namespace", "elsewhere"]).await.unwrap();
    let chart = chart();
    let template = ["template", "lapse", &chart, "--namespace", "elsewhere", "--no-hooks"];
    bare.apply(&bare.helm(&template).await.unwrap()).await;
    lapse_e2e::plane::eventually("the second to act", crate::world::SOON, async || {
        Ok(may("elsewhere").await.then_some(()))
    })
    .await
    .unwrap();
    assert!(!may("lapse-system").await);
    bare.plane.stop().await.unwrap();
}

/// They stay when a release is uninstalled, and belong to it still.
#[tokio::test]
async fn definitions_of_a_release_that_is_gone() {
    let bare = Bare::start().await;
    bare.install("lapse", "lapse-system", &[]).await.unwrap();
    let uninstall = ["uninstall", "lapse", "--namespace", "lapse-system", "--no-hooks", "--wait"];
    bare.helm(&uninstall).await.unwrap();
    let words = ["from release \"lapse\" in namespace \"lapse-system\", which is uninstalled"];
    let said = bare.refuses("other", "elsewhere", &[], &words).await;
    let (_, command) = said.split_once("Take them over: kubectl ").unwrap();
    let (command, _) = command.split_once(". Or").unwrap();
    bare.kubectl(&command.split(' ').collect::<Vec<_>>()).await.unwrap();
    bare.install("other", "elsewhere", &[]).await.unwrap();
    bare.plane.stop().await.unwrap();
}

#[tokio::test]
async fn definitions_of_another_release_of_lapse() {
    let bare = Bare::start().await;
    let (release, namespace) = ("lapse", "lapse-system");
    let install = async |sets: &[&str]| bare.install(release, namespace, sets).await;
    let by_hand = ["crds.install=false"];
    let apply_them =
        ["has no definitions", "kubectl apply --server-side -f charts/lapse/files/crds"];
    bare.refuses(release, namespace, &by_hand, &apply_them).await;
    bare.apply_definitions().await;
    install(&by_hand).await.unwrap();

    let of_release = async |version: &str| {
        let patch = json!({"metadata": {"annotations": {RELEASE: version}}});
        let name = "jitpolicies.lapse.dev";
        let by = PatchParams::default();
        bare.definitions().patch(name, &by, &Patch::Merge(&patch)).await.unwrap();
    };
    of_release("0.0.9").await;
    bare.refuses(release, namespace, &by_hand, &["older than this chart", "jitpolicies"]).await;
    for newer in ["9.10.0", "9.10.0-rc.1"] {
        of_release(newer).await;
        let words = [&*format!("definitions of Lapse {newer}"), "helm rollback"];
        bare.refuses(release, namespace, &[], &words).await;
        bare.refuses(release, namespace, &by_hand, &words).await;
    }
    // What the message says, for whoever wants to go back all the same.
    bare.apply_definitions().await;
    install(&by_hand).await.unwrap();

    // A version of the API that this release does not have, in which objects are stored.
    let mut grants = bare.definitions().get("grants.lapse.dev").await.unwrap();
    let mut next = grants.spec.versions[0].clone();
    next.name = "v1beta1".to_owned();
    grants.spec.versions[0].storage = false;
    grants.spec.versions.push(next);
    let post = PostParams::default();
    bare.definitions().replace("grants.lapse.dev", &post, &grants).await.unwrap();
    let words = ["objects of grants.lapse.dev are stored as version \"v1beta1\""];
    bare.refuses(release, namespace, &by_hand, &words).await;

    // One that waits for its objects to go.
    let patch = json!({"metadata": {"finalizers": ["example.com/wait"]}});
    let definitions = bare.definitions();
    let name = "jitpolicies.lapse.dev";
    definitions.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    definitions.delete(name, &kube::api::DeleteParams::default()).await.unwrap();
    bare.refuses(release, namespace, &by_hand, &["jitpolicies.lapse.dev is being deleted"]).await;
    bare.plane.stop().await.unwrap();
}

/// The pods that the API server would not take, with what it says.
async fn pods_refused(bare: &Bare, namespace: &str, sets: &[&str]) -> Vec<String> {
    let api: Api<Pod> = Api::namespaced(bare.admin.client.clone(), namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut refused = Vec::new();
    for (component, template) in Rendered::with(sets).await.pods() {
        let mut metadata = template.metadata.unwrap();
        metadata.name = Some(component);
        let mut spec = template.spec.unwrap();
        // It is no part of a quota, and not known here.
        spec.service_account_name = None;
        let pod = Pod { metadata, spec: Some(spec), status: None };
        refused.extend(api.create(&dry_run, &pod).await.err().map(|error| error.to_string()));
    }
    refused
}

/// What the chart says of quotas is what the API server would say of its pods.
#[tokio::test]
async fn a_namespace_with_quotas() {
    let bare = Bare::start().await;
    let namespace = "lapse-system";
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let of_restricted: Namespace =
        typed(json!({"metadata": {"name": namespace, "labels": restricted}}));
    let namespaces: Api<Namespace> = Api::all(bare.admin.client.clone());
    namespaces.create(&PostParams::default(), &of_restricted).await.unwrap();
    // Nobody counts here, so what is used is said by hand.
    let quota = async |hard: Value| {
        let mut used = hard.clone();
        used.as_object_mut().unwrap().values_mut().for_each(|value| *value = json!("0"));
        let spec = json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "of-the-team", "namespace": namespace}, "spec": {"hard": hard},
        });
        bare.apply(&spec.to_string()).await;
        let status = json!({"status": {"hard": spec["spec"]["hard"], "used": used}}).to_string();
        let patch =
            ["patch", "resourcequota", "of-the-team", "--subresource=status", "--type=merge"];
        let patch = [&patch[..], &["--namespace", namespace, "--patch", &status]].concat();
        bare.kubectl(&patch).await.unwrap();
    };
    let range = async |limits: Value| {
        let range = json!({
            "apiVersion": "v1", "kind": "LimitRange",
            "metadata": {"name": "of-the-team", "namespace": namespace}, "spec": {"limits": [limits]},
        });
        bare.apply(&range.to_string()).await;
    };
    // What the chart sets by itself is enough for a quota on these.
    quota(json!({"pods": "20", "requests.cpu": "2", "requests.memory": "4Gi", "limits.memory": "4Gi"}))
        .await;
    assert_eq!(pods_refused(&bare, namespace, &[]).await, [""; 0]);
    bare.install("lapse", namespace, &[]).await.unwrap();

    // It sets no limit of the processor, since one that is reached would delay the end of rights.
    quota(json!({"limits.cpu": "4"})).await;
    let refused_by_it = pods_refused(&bare, namespace, &[]).await;
    assert!(refused_by_it.iter().all(|said| said.contains("limits.cpu")), "{refused_by_it:?}");
    assert_eq!(refused_by_it.len(), Rendered::with(&[]).await.pods().len());
    let words = ["controller", "webhook", "sweep"].map(|component| {
        format!("counts limits.cpu, so that it refuses pods without it, and {component}.resources.limits.cpu")
    });
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    bare.refuses("lapse", namespace, &[], &words).await;
    let set = ["controller", "webhook", "sweep"].map(|of| format!("{of}.resources.limits.cpu=1"));
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    assert_eq!(pods_refused(&bare, namespace, &set).await, [""; 0]);
    bare.install("lapse", namespace, &set).await.unwrap();

    // A default of the namespace does as well.
    range(json!({"type": "Container", "default": {"cpu": "500m"}})).await;
    assert_eq!(pods_refused(&bare, namespace, &[]).await, [""; 0]);
    bare.install("lapse", namespace, &[]).await.unwrap();

    // Its bounds count, too.
    range(json!({"type": "Container", "max": {"memory": "200Mi"}, "default": {"cpu": "500m"}}))
        .await;
    assert_eq!(pods_refused(&bare, namespace, &[]).await.len(), 2);
    let words = ["200Mi of memory at the most, and webhook.resources.limits.memory is 256Mi"];
    let said = bare.refuses("lapse", namespace, &[], &words).await;
    assert!(said.contains("for 2 reasons"), "{said}");
    range(json!({"type": "Container", "min": {"memory": "40Mi"}, "default": {"cpu": "500m"}}))
        .await;
    assert!(!pods_refused(&bare, namespace, &[]).await.is_empty());
    let words = ["40Mi of memory at the least, and sweep.resources.requests.memory is 32Mi"];
    bare.refuses("lapse", namespace, &[], &words).await;
    bare.plane.stop().await.unwrap();
}

/// No node is here, so the image is never run. The first installation leaves nothing but what Helm notes, and the next try
/// goes through.
#[tokio::test]
async fn an_image_that_is_not_run() {
    let bare = Bare::start().await;
    let before = bare.standing().await;
    let chart = chart();
    let namespace = ["--namespace", "lapse-system", "--create-namespace", "--timeout=3s"];
    let install = [&["install", "lapse", &chart], &namespace[..]].concat();
    let said = format!("{:#}", bare.helm(&install).await.unwrap_err());
    assert!(said.contains("pre-install"), "{said}");
    // It stays to be looked at.
    let describe = ["describe", "job", "lapse-image-check", "--namespace", "lapse-system"];
    assert!(bare.kubectl(&describe).await.unwrap().contains("pre-install"));
    let is_not_namespace = |one: &String| !one.starts_with("Namespace lapse-system ");
    let after: Vec<_> = bare.standing().await.into_iter().filter(is_not_namespace).collect();
    assert_eq!(after, before);
    bare.install("lapse", "lapse-system", &[]).await.unwrap();
    bare.plane.stop().await.unwrap();
}

/// Pods of a class that does not exist are not made at all.
#[tokio::test]
async fn a_priority_class_that_is_not_there() {
    let bare = Bare::start().await;
    let class = ["webhook.priorityClassName=of-the-platform"];
    bare.refuses("lapse", "lapse-system", &class, &["no such PriorityClass", "of-the-platform"])
        .await;
    let create = ["create", "priorityclass", "of-the-platform", "--value=1000"];
    bare.kubectl(&create).await.unwrap();
    bare.install("lapse", "lapse-system", &class).await.unwrap();
    bare.plane.stop().await.unwrap();
}
