//! The installation as `kubectl jit doctor` sees it: whole, by somebody who may see little, and with everything wrong with it
//! that somebody can do to it.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use lapse_e2e::plane::{Answer, InstallOptions, User, eventually};
use regex::Regex;
use serde_json::{Value, json};

use crate::rbac;
use crate::world::{SOON, World};

/// Without what differs from run to run.
fn settled(table: &str) -> String {
    let table = Regex::new(r"\(in [^)]*\)").unwrap().replace_all(table, "(THEN)");
    let table =
        Regex::new(r"controller \S+ leads").unwrap().replace_all(&table, "controller NAME leads");
    Regex::new(r"\d+").unwrap().replace_all(&table, "N").into_owned()
}

/// What it found, by check and outcome, each with its message.
fn found(answer: &Answer) -> Vec<(String, String, String)> {
    let told: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = told["checks"].as_array().unwrap();
    let of = |found: &Value| {
        let says_what_to_do = found["outcome"] == "Ok" || !text(&found["action"]).is_empty();
        assert!(says_what_to_do, "{found}");
        (text(&found["check"]), text(&found["outcome"]), text(&found["message"]))
    };
    checks.iter().map(of).collect()
}

/// What is told of all that.
const RUINED: [(&str, &str, &str); 12] = [
    ("Deployments", "Problem", "no replica of lapse-webhook is available"),
    ("Deployments", "Warning", "the Deployments are of different releases: "),
    ("Admission", "Problem", "ValidatingAdmissionPolicyBinding lapse-rbac-reserved is missing"),
    (
        "Admission",
        "Problem",
        "ValidatingAdmissionPolicy lapse-immutable: failurePolicy: this differs from the chart",
    ),
    ("Webhook", "Problem", "the API server gets no answer from the webhook"),
    ("Rights", "Problem", "lapse-webhook may not "),
    ("Leader", "Problem", "has not been heard of for"),
    ("Policies", "Problem", "JitPolicy broken is not ready (RoleNotFound)"),
    ("Policies", "Warning", "nobody has looked at JitPolicy jit-doctor since it was changed"),
    (
        "Ends",
        "Problem",
        "RoleBinding lapse:forged in jit-doctor exists, and no active Grant owns it",
    ),
    ("Ends", "Problem", "The access of user alice-jit-doctor should have ended at"),
    (
        "Standing",
        "Warning",
        "user olga is a standing administrator of the whole cluster, by ClusterRoleBinding olga-for-good",
    ),
];

impl World {
    /// What Kubernetes would say of the Deployments: nothing runs pods here.
    async fn replicas_are_available(&self) {
        let api = self.deployments();
        for deployment in api.list(&ListParams::default()).await.unwrap() {
            let count = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            let status = json!({
                "observedGeneration": deployment.metadata.generation, "replicas": count,
                "readyReplicas": count, "availableReplicas": count, "updatedReplicas": count,
            });
            let status = Patch::Merge(json!({"status": status}));
            let name = deployment.name_any();
            api.patch_status(&name, &PatchParams::default(), &status).await.unwrap();
        }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.admin.client.clone(), "lapse-system")
    }

    /// Everything is in order, and nothing is left out.
    async fn is_whole(&self) {
        self.replicas_are_available().await;
        let (answer, whole) = self.examined(&self.admin).await;
        assert_eq!(answer.status, 0, "{answer:?}");
        let other: Vec<_> = whole.iter().filter(|(_, outcome, _)| outcome != "Ok").collect();
        assert!(other.is_empty(), "{other:#?}");
        let checks = "Cluster Installation Definitions Deployments Admission Webhook Certificates Keys Rights Leader Clock \
                      Gateway Endpoints Policies Ends Standing Access";
        for check in checks.split(' ') {
            assert!(whole.iter().any(|(known, ..)| known == check), "{check}: {whole:#?}");
        }
        let table = self.jit(&self.admin, &["doctor"]).await.ok().unwrap();
        insta::assert_snapshot!("whole", settled(&table));
    }

    async fn tells_who_may_not_see(&self) {
        // Who may see little is told what was not looked at, and whom to ask for what.
        let answer = self.jit(&self.alice, &["doctor"]).await;
        assert_eq!(answer.status, 0, "what was not checked is no problem: {answer:?}");
        insta::assert_snapshot!("little", settled(&answer.stdout));
        for words in [
            "you may not read ConfigMap lapse-settings in namespace lapse-system",
            "→ ask for ClusterRole view in namespace lapse-system",
            "you may not list Deployments in namespace lapse-system",
            "whether there is a gateway for hosts is not known without the settings",
            "you may not list Endpoints",
            "you may not list Grants",
            "→ ask for ClusterRole lapse:auditor",
            "you may not list roles and bindings",
            "the webhook answers, and stamps the requester",
            "you may: request access in jit-doctor",
        ] {
            assert!(answer.stdout.contains(words), "{words}: {}", answer.stdout);
        }
        let stranger =
            self.lapse.plane().jit(&self.mallory, &["-n", "default", "doctor"]).await.unwrap();
        assert!(
            stranger.stdout.contains("→ ask for ClusterRole lapse:requester in namespace default"),
            "{stranger:?}"
        );
        let elsewhere = self.jit(&self.admin, &["doctor", "--installation", "nowhere"]).await;
        assert_eq!(elsewhere.status, 1, "{elsewhere:?}");
        insta::assert_snapshot!(
            "elsewhere",
            settled(&[elsewhere.stdout.clone(), elsewhere.stderr.clone()].join("\n"))
        );
        assert!(
            elsewhere.stdout.contains("there is no ConfigMap lapse-settings in namespace nowhere"),
            "{elsewhere:?}"
        );
    }

    async fn examined(&self, user: &User) -> (Answer, Vec<(String, String, String)>) {
        let answer = self.jit(user, &["doctor", "-o", "json"]).await;
        let found = found(&answer);
        (answer, found)
    }

    /// Everything that keeps Lapse from its work or its guards, done by an administrator.
    async fn ruined(&self) {
        let client = &self.admin.client;
        self.bind_everywhere("olga-for-good", "cluster-admin", &rbac::user("olga")).await;
        let guards: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        guards.delete("lapse-rbac-reserved", &DeleteParams::default()).await.unwrap();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        let ignored = Patch::Merge(json!({"spec": {"failurePolicy": "Ignore"}}));
        policies.patch("lapse-immutable", &PatchParams::default(), &ignored).await.unwrap();
        let roles: Api<ClusterRole> = Api::all(client.clone());
        let nothing = Patch::Merge(json!({"rules": []}));
        roles.patch("lapse-webhook", &PatchParams::default(), &nothing).await.unwrap();
        let none = Patch::Merge(json!({"status": {"readyReplicas": 0, "availableReplicas": 0}}));
        let params = PatchParams::default();
        self.deployments().patch_status("lapse-webhook", &params, &none).await.unwrap();
        let release = json!({"metadata": {"labels": {"app.kubernetes.io/version": "9.0.0"}}});
        let release = Patch::Merge(release);
        self.deployments().patch("lapse-controller", &params, &release).await.unwrap();
        let forged = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {
                "name": "lapse:forged", "namespace": self.ns,
                "labels": {"app.kubernetes.io/managed-by": "lapse", "lapse.dev/grant": "forged"},
            },
            "roleRef": rbac::cluster_role("view"), "subjects": [rbac::user("mallory")],
        });
        // The controllers are dead by now, or they would take it away again.
        eventually("what nothing guards any more to be forged", SOON, async || {
            let text = forged.to_string();
            let made = self.kubectl(&self.admin, &["create", "-f", "-"], Some(&text)).await;
            Ok(made.is_ok().then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn an_installation_is_whole_until_somebody_ruins_it() {
    let options = InstallOptions {
        set: vec![
            "controller.bindableRoles[4].kind=Role".into(),
            "controller.bindableRoles[4].name=mend".into(),
        ],
        ..InstallOptions::default()
    };
    let world = World::own("jit-doctor", options).await;
    world.is_whole().await;
    world.tells_who_may_not_see().await;
    world
        .policy_named(
            "broken",
            json!({"targets": [{"kubernetes": {
                "roles": [{"kind": "Role", "name": "mend"}], "namespaces": {"names": [world.ns]},
            }}]}),
        )
        .await;
    world.granted("held", json!({"duration": "20s"})).await;
    for controller in &world.lapse.controllers {
        controller.process.kill();
    }
    world
        .kubectl(
            &world.admin,
            &["patch", "jp", &world.ns, "--type=merge", "-p", r#"{"spec":{"priority":7}}"#],
            None,
        )
        .await
        .unwrap();
    world.ruined().await;
    for webhook in &world.lapse.webhooks {
        webhook.process.kill();
    }
    // That nobody leads, and that a right is late, is told some time after it began.
    let told = eventually("everything to be told", SOON, async || {
        let (answer, found) = world.examined(&world.admin).await;
        assert_eq!(answer.status, 1, "{answer:?}");
        let is_told = |(check, outcome, words): &(&str, &str, &str)| {
            found.iter().any(|(c, o, message)| {
                (&**c, &**o) == (*check, *outcome) && message.contains(words)
            })
        };
        let missing: Vec<_> = RUINED.iter().filter(|expected| !is_told(expected)).collect();
        anyhow::ensure!(missing.is_empty(), "{missing:#?} are not among {found:#?}");
        Ok(Some(answer.stderr))
    })
    .await
    .unwrap();
    assert!(told.contains("problems"), "{told}");
}

#[tokio::test]
async fn without_lapse_and_without_a_cluster_it_says_so() {
    let world = World::shared("jit-doctor-nowhere").await;
    let gone = world.jit(&world.alice, &["--context", "elsewhere", "doctor"]).await;
    assert_eq!(gone.status, 1, "{gone:?}");
    assert!(gone.stderr.contains("elsewhere") && gone.stdout.is_empty(), "{gone:?}");
}
