//! Uninstalling: every right ends first, and nothing is left that nobody could remove.

use std::process::{Output, Stdio};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{EndReason, Endpoint, GRANT_FINALIZER, Grant, GrantPhase, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::world::{SOON, World, refused};

const OURS: [&str; 2] = ["--selector", "app.kubernetes.io/managed-by=lapse"];

impl World {
    /// What is left of the rights of Lapse, of all kinds and in all namespaces.
    async fn left(&self) -> String {
        let kinds = "rolebindings,clusterrolebindings,roles,clusterroles";
        let args = [&["get", kinds, "--all-namespaces", "--output=name"], &OURS[..]].concat();
        self.kubectl(&self.admin, &args, None).await.unwrap()
    }

    /// The command `drain`, with the controller's account and the arguments of the hook.
    fn drain(&self, args: &[String]) -> Command {
        let spec = self.lapse.controllers[0].process.spec();
        let settings = spec.args.iter().find(|arg| arg.starts_with("--settings")).unwrap();
        let place =
            |arg: &String| if arg.starts_with("--settings") { settings } else { arg }.clone();
        let mut command = Command::new(&spec.program);
        command.args(args.iter().map(place)).envs(&spec.env);
        command
    }

    /// Starts to uninstall the release.
    fn uninstall(&self, options: &'static [&str]) -> JoinHandle<anyhow::Result<String>> {
        let plane = self.lapse.plane().clone();
        tokio::spawn(async move {
            let args = [&["uninstall", "lapse", "--namespace", "lapse-system"], options].concat();
            plane.helm(&args).await?.ok()
        })
    }

    /// Runs the job of the hook once Helm has made it, as a node would; `meanwhile` while it runs. Returns what it said.
    async fn hook(&self, meanwhile: impl AsyncFnOnce()) -> Output {
        let jobs: Api<Job> = Api::namespaced(self.admin.client.clone(), "lapse-system");
        let job = eventually("the hook's job to be made", SOON, async || {
            Ok(jobs
                .get_opt("lapse-drain")
                .await?
                .filter(|job| job.status.as_ref().is_none_or(|s| s.conditions.is_none())))
        })
        .await
        .unwrap();
        let pod = job.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.service_account_name.as_deref(), Some("lapse-controller"));
        let args = pod.containers[0].args.clone().unwrap();
        let mut drain = self.drain(&args);
        let (output, ()) = tokio::join!(drain.output(), meanwhile());
        let output = output.unwrap();
        let conditions: &[&str] = if output.status.success() {
            &["SuccessCriteriaMet", "Complete"]
        } else {
            &["FailureTarget", "Failed"]
        };
        let now = lapse_cluster::clock::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|r#type| json!({"type": r#type, "status": "True", "reason": "Test", "lastTransitionTime": now}))
            .collect();
        let mut status = json!({"startTime": now, "conditions": conditions});
        if output.status.success() {
            status["completionTime"] = json!(now);
        }
        let patch = Patch::Merge(json!({ "status": status }));
        jobs.patch_status("lapse-drain", &PatchParams::default(), &patch).await.unwrap();
        output
    }

    /// An Endpoint, which is held as long as it stands.
    async fn endpoint(&self) {
        let owners = json!([{"kind": "User", "name": self.bob.name}]);
        self.apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": "web-1"},
            "spec": {"platform": "Linux", "owners": owners},
        }))
        .await;
        let endpoints: Api<Endpoint> = Api::all(self.admin.client.clone());
        eventually("the Endpoint to be held", SOON, async || {
            Ok((!endpoints.get("web-1").await?.finalizers().is_empty()).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Deletes every definition of Lapse, and with it all objects.
    async fn delete_definitions(&self) {
        let all = ["jitpolicies", "accessrequests", "accessdecisions", "grants", "endpoints"]
            .map(|of| format!("{of}.lapse.dev"));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let args = [&["delete", "crd", "--timeout=3m"], &all[..]].concat();
        self.kubectl(&self.admin, &args, None).await.unwrap();
    }

    async fn all_grants(&self) -> Vec<Grant> {
        self.grants().list(&ListParams::default()).await.unwrap().items
    }

    /// Somebody else's admission lets no binding be deleted here.
    async fn refuses_deletion(&self) {
        let name = json!({"name": "of-somebody-else"});
        let kind = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": name, "spec": spec});
        let rule = json!({
            "apiGroups": ["rbac.authorization.k8s.io"], "apiVersions": ["v1"],
            "operations": ["DELETE"], "resources": ["rolebindings"],
        });
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": self.ns}});
        let policy = json!({
            "matchConstraints": {"resourceRules": [rule], "namespaceSelector": here},
            "validations": [{"expression": "false", "message": "bindings stay here"}],
        });
        let binding = json!({"policyName": "of-somebody-else", "validationActions": ["Deny"]});
        let binding = kind("ValidatingAdmissionPolicyBinding", binding);
        for object in [kind("ValidatingAdmissionPolicy", policy), binding] {
            let create = ["create", "-f", "-"];
            self.kubectl(&self.admin, &create, Some(&object.to_string())).await.unwrap();
        }
        let ours = self.bindings().await.remove(0);
        let delete = ["delete", "rolebinding", &ours, "--namespace", &self.ns, "--dry-run=server"];
        eventually("deletion to be refused", SOON, async || {
            let refused = self.kubectl(&self.admin, &delete, None).await.err();
            Ok(refused.filter(|error| format!("{error:#}").contains("bindings stay here")))
        })
        .await
        .unwrap();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// With a controller that runs, and goes on giving until it is told not to.
#[tokio::test]
async fn helm_uninstall_ends_every_right_first_or_stops() {
    let world = World::own("uninstalled", InstallOptions::default()).await;
    world.endpoint().await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]);
    let reviewers = json!([{"kind": "User", "name": world.ben.name}]);
    world
        .policy(json!({
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}], "rules": rules, "namespaces": {"names": [world.ns]},
            }}],
            "emergency": {"maxDuration": "10m", "review": {"within": "1h", "reviewers": reviewers}},
        }))
        .await;
    world.granted("held", json!({})).await;
    world.ask("waiting", json!({})).await;

    // Something keeps the binding: the hook fails, Helm stops, and Lapse goes on.
    world.refuses_deletion().await;
    world.lapse.upgrade(&[]).await.unwrap();
    let uninstalling = world.uninstall(&[]);
    let output = world.hook(async || {}).await;
    assert!(!output.status.success());
    assert!(said(&output).contains("not all access could be ended"), "{}", said(&output));
    assert!(said(&output).contains("bindings stay here"), "{}", said(&output));
    let error = format!("{:#}", uninstalling.await.unwrap().unwrap_err());
    assert!(error.contains("lapse-drain"), "{error}");
    let args = ["delete", "validatingadmissionpolicybinding", "of-somebody-else"];
    world.kubectl(&world.admin, &args, None).await.unwrap();
    let held = world.phase("held", RequestPhase::Ended).await;
    // To keep Lapse after all, as the document says: Helm upgrades no release that is being uninstalled.
    refused(world.lapse.upgrade(&[]).await, "has no deployed releases");
    let rollback = ["rollback", "lapse", "2", "--namespace", "lapse-system"];
    world.lapse.plane().helm(&rollback).await.unwrap().ok().unwrap();
    world.lapse.upgrade(&[]).await.unwrap();
    assert_eq!(held.end_reason, Some(EndReason::Uninstalled));
    world.granted("again", json!({"target": {"kubernetes": {"rules": rules}}})).await;
    world.ask("night", json!({"emergency": true})).await;
    world.phase("night", RequestPhase::Active).await;

    // What is approved meanwhile is not given, nor before the controller has gone.
    let uninstalling = world.uninstall(&[]);
    let output = world
        .hook(async || {
            world.phase("again", RequestPhase::Ended).await;
            // What is given before it knows ends, too.
            eventually("the controller to know that it gives nothing", SOON, async || {
                let leads = world.lapse.controllers[0].counted("lapse_leader", &[]).await?;
                Ok((leads < 1.0).then_some(()))
            })
            .await
            .unwrap();
            world.approve(&world.bob, "waiting").await.unwrap();
        })
        .await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("await their review"), "{}", said(&output));
    uninstalling.await.unwrap().unwrap();
    world.lapse.stop().await.unwrap();
    assert_eq!(world.left().await, "");
    assert!(!world.can_write(&world.alice).await);
    let waiting = world.status("waiting").await;
    assert_eq!((waiting.phase, waiting.grant), (RequestPhase::Pending, None));
    for (request, emergency) in [("held", false), ("again", false), ("night", true)] {
        let status = world.status(request).await;
        assert_eq!(
            (status.phase, status.end_reason),
            (RequestPhase::Ended, Some(EndReason::Uninstalled))
        );
        let grant = world.grant(request).await;
        assert_eq!(grant.status.as_ref().unwrap().phase, GrantPhase::Ended);
        assert_eq!(
            grant.finalizers().contains(&GRANT_FINALIZER.to_owned()),
            emergency,
            "{request}"
        );
    }

    // The debt goes as the document says; then everything does.
    let grants: Api<Grant> = world.grants();
    eventually("the Grants to be let go", SOON, async || {
        for grant in world.all_grants().await {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            grants.patch(&grant.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(Some(()))
    })
    .await
    .unwrap();
    world.delete_definitions().await;
}

/// With no controller and no webhook at all, and without the hook.
#[tokio::test]
async fn a_drain_needs_no_controller() {
    let world = World::own("drained", InstallOptions::default()).await;
    world.endpoint().await;
    world.granted("held", json!({})).await;
    let wide = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "view"}, "clusterWide": true}});
    world
        .policy_named(
            "drained-wide",
            json!({"targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "view"}], "clusterWide": true,
            }}]}),
        )
        .await;
    world.granted("wide", json!({"policy": "drained-wide", "target": wide})).await;
    let deleted = world.grant("wide").await.name_any();
    world.lapse.stop().await.unwrap();
    // Something keeps a binding for a while.
    let reserved = ["delete", "validatingadmissionpolicybinding", "lapse-rbac-reserved"];
    world.kubectl(&world.admin, &reserved, None).await.unwrap();
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    let name = world.bindings().await.remove(0);
    let finalizers = async |finalizers: Value| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        bindings.patch(&name, &PatchParams::default(), &patch).await
    };
    eventually("the binding to be kept", SOON, async || {
        Ok(finalizers(json!(["example.com/clutch"])).await.ok())
    })
    .await
    .unwrap();
    // One that was deleted while nobody was there to let it go.
    world.grants().delete(&deleted, &kube::api::DeleteParams::default()).await.unwrap();
    let mut drain = world.drain(&["drain".to_owned(), "--settings".to_owned()]);
    let mut drain = drain.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(drain.stderr.take().unwrap()).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("is kept by example.com/clutch") && !said.contains("is kept by") {
            finalizers(json!(null)).await.unwrap();
        }
        said += &line;
    }
    assert!(drain.wait().await.unwrap().success(), "{said}");
    assert!(said.contains("is kept by"), "{said}");
    assert_eq!(world.left().await, "");
    let [grant] = &world.all_grants().await[..] else { panic!("the one that was deleted is gone") };
    let status = grant.status.clone().unwrap();
    assert_eq!(
        (status.phase, status.end_reason),
        (GrantPhase::Ended, Some(EndReason::Uninstalled))
    );
    assert_eq!(world.status("wide").await.end_reason, Some(EndReason::GrantDeleted));

    world.uninstall(&["--no-hooks"]).await.unwrap().unwrap();
    assert_eq!(world.left().await, "");
    world.delete_definitions().await;
}
