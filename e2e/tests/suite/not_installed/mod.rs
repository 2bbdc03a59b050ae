//! What cannot be installed is refused before anything is changed, with what to do: by the real Helm on a real API server.

mod quotas;
mod values;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use lapse_crds::RELEASE;
use lapse_e2e::plane::{Plane, PlaneOptions, User, eventually, workspace};
use serde_json::json;

use crate::world::SOON;

fn chart() -> String {
    workspace::root().join("charts/lapse").display().to_string()
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

    /// Installs or upgrades a release in a namespace.
    async fn install(
        &self,
        release: &str,
        namespace: &str,
        sets: &[&str],
    ) -> anyhow::Result<String> {
        let chart = chart();
        let mut args = vec!["upgrade", "--install", release, &chart, "--create-namespace"];
        args.extend(["--namespace", namespace]);
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
        // The API server itself writes on a definition that was just changed, or is being deleted.
        let mut before = self.standing().await;
        eventually("the definitions to be left alone", SOON, async || {
            let is_quiet = before == self.standing().await && before == self.standing().await;
            if !is_quiet {
                before = self.standing().await;
            }
            Ok(is_quiet.then_some(()))
        })
        .await
        .unwrap();
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
    // Whoever has no rights is told so by the API server, which does not look whether there is anything to have them on.
    let nobody = bare.plane.user("nobody-of-the-shop", &[]).await.unwrap();
    for user in [&bare.admin, &nobody] {
        for args in [&["list"][..], &["policies"], &["request", "edit"], &["end", "fix"]] {
            let told = bare.plane.jit(user, args).await.unwrap();
            assert_eq!(told.status, 1, "{told:?}");
            let words =
                format!("Lapse is not installed in the cluster at {}: ", bare.plane.server());
            assert!(told.stderr.contains(&words), "{told:?}");
        }
    }
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
    eventually("the second to act", SOON, async || Ok(may("elsewhere").await.then_some(())))
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
        bare.refuses(release, namespace, &["crds.install=true"], &words).await;
        // What runs beside them already may have other values.
        install(&by_hand).await.unwrap();
    }
    let runs = async |version: &str| {
        let label = format!("app.kubernetes.io/version={version}");
        let args = ["label", "--overwrite", "deployment/lapse-controller", &label];
        bare.kubectl(&[&args[..], &["--namespace", namespace]].concat()).await.unwrap();
    };
    runs("0.0.1").await;
    let words = ["definitions of Lapse 9.10.0-rc.1", "helm rollback"];
    bare.refuses(release, namespace, &by_hand, &words).await;
    runs(env!("CARGO_PKG_VERSION")).await;
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

/// No node is here, so the image is never run. The first installation leaves nothing but what Helm notes, and the next try
/// goes through.
#[tokio::test]
async fn an_image_that_is_not_run() {
    let bare = Bare::start().await;
    let before = bare.standing().await;
    let chart = chart();
    let mut install = vec!["install", "lapse", &chart, "--timeout=3s", "--set", "image.check=true"];
    install.extend(["--namespace", "lapse-system", "--create-namespace"]);
    let said = format!("{:#}", bare.helm(&install).await.unwrap_err());
    assert!(said.contains("pre-install"), "{said}");
    // It stays to be looked at.
    let describe = ["describe", "job", "lapse-image-check", "--namespace", "lapse-system"];
    assert!(bare.kubectl(&describe).await.unwrap().contains("pre-install"));
    let is_not_namespace = |one: &String| !one.starts_with("Namespace lapse-system ");
    let after: Vec<_> = bare.standing().await.into_iter().filter(is_not_namespace).collect();
    assert_eq!(after, before);
    // Helm keeps the values of the try where it is given none.
    bare.install("lapse", "lapse-system", &["image.check=false"]).await.unwrap();
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
