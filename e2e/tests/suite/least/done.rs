//! What the components did, in the audit log of the API server.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use lapse_cluster::rights::{Access, Component, accesses};
use lapse_crds::{AccessRequest, Grant, JitPolicy, RequestPhase};
use lapse_e2e::audit::{self, Asked};
use lapse_e2e::plane::{InstallOptions, eventually};
use lapse_engine::Settings;
use serde_json::json;

use crate::poison;
use crate::started::create_what_makes_pods;
use crate::world::{SOON, World, refused, typed};

/// The settings that the components run with.
fn settings(world: &World) -> Settings {
    let spec = world.lapse.controllers[0].process.spec();
    let argument = spec.args.iter().find_map(|arg| arg.strip_prefix("--settings=")).unwrap();
    serde_saphyr::from_str(&std::fs::read_to_string(argument).unwrap()).unwrap()
}

/// What the component did so far, of what the list allows it. Panics if it asked for anything else, or if
/// anything was refused.
pub(super) fn done(world: &World, component: Component) -> BTreeSet<Access> {
    let listed = accesses(component, &settings(world));
    let user = audit::user(component);
    let asked = audit::read(&world.lapse.plane().audit_log()).unwrap();
    let mut done = BTreeSet::new();
    for Asked { access, code, .. } in asked.into_iter().filter(|asked| asked.user == user) {
        assert_ne!(code, 403, "{component:?} was refused: {access}");
        let by: Vec<_> = listed.iter().filter(|(listed, _)| listed.allows(&access)).collect();
        assert!(!by.is_empty(), "{component:?} did what is not listed: {access}");
        done.extend(by.into_iter().map(|(listed, _)| listed.clone()));
    }
    done
}

/// What is never a request of its own.
fn unseen(access: &Access) -> bool {
    // The API server asks for it itself when a binding is made, and when a write makes a lease anew.
    access.verb == "bind" || (access.verb == "create" && access.resource == "leases")
}

/// Everything that people do with Lapse, and everything that it does by itself.
async fn lived_through(world: &World) {
    let ns = &world.ns;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]);
    // What is started under a right ends with it, where the namespace opted in.
    let tracked = json!({"lapse.dev/track-workloads": "true"});
    world
        .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns, "labels": tracked}}))
        .await;
    let on_end = json!({"startedWorkloads": "Delete", "openStreams": "DeletePods"});
    world.policy(json!({"session": {"onEnd": on_end}})).await;
    world.granted("fix", json!({})).await;
    let containers = json!([{"name": "c", "image": "busybox"}]);
    let template = json!({"spec": {"restartPolicy": "Never", "containers": containers}});
    let pod: Pod = typed(json!({"metadata": {"name": "p"}, "spec": template["spec"]}));
    let job: Job = typed(json!({"metadata": {"name": "j"}, "spec": {"template": template}}));
    let post = PostParams::default();
    world.api(&world.alice).create(&post, &pod).await.unwrap();
    world.api(&world.alice).create(&post, &job).await.unwrap();
    world.enters(&world.alice, &["exec", "p", "--", "id"]).await;
    create_what_makes_pods(world, &world.grant("fix").await.name_any()).await;
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.locked_out(&world.alice).await;
    world.denied("no").await;

    // Namespaces by their labels, roles of namespaces, rules, emergencies, and the whole cluster.
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "mend", "namespace": ns}, "rules": rules,
        }))
        .await;
    let labelled = json!({"matchLabels": {"kubernetes.io/metadata.name": ns}});
    let offered =
        json!([{"kind": "ClusterRole", "name": "edit"}, {"kind": "Role", "name": "mend"}]);
    let reviewers = json!([{"kind": "User", "name": world.mallory.name}]);
    world
        .policy(json!({
            "targets": [
                {"kubernetes": {"roles": offered, "rules": rules, "namespaces": {"selector": labelled}}},
                {"kubernetes": {"rules": rules, "clusterWide": true, "allowEscalation": true}},
            ],
            "emergency": {"maxDuration": "10m", "review": {"within": "1h", "reviewers": reviewers}},
        }))
        .await;
    let mend = json!({"kind": "Role", "name": "mend"});
    world.granted("mend", json!({"target": {"kubernetes": {"role": mend}}})).await;
    world.granted("rules", json!({"target": {"kubernetes": {"rules": rules}}})).await;
    let wide = json!({"kubernetes": {"rules": rules, "clusterWide": true}});
    world.granted("wide", json!({"target": wide})).await;
    world.ask("night", json!({"emergency": true})).await;
    world.phase("night", RequestPhase::Active).await;
    for name in ["mend", "rules", "wide", "night"] {
        world.decide(&world.alice, name, json!({"verdict": "End"})).await.unwrap();
        world.phase(name, RequestPhase::Ended).await;
    }
    let uid = world.grant("night").await.spec.request.uid;
    let review = json!({"verdict": "Review", "outcome": "Justified"});
    world.decide(&world.mallory, "night", review).await.unwrap();
    let about = json!({"name": "night", "uid": uid});
    let again = json!({"verdict": "Review", "outcome": "Justified", "request": about});
    refused(world.decide(&world.mallory, "night", again).await, "already reviewed");
    world.locked_out(&world.alice).await;

    // A host, whose agent has never enrolled.
    let host = format!("host-{ns}");
    world
        .apply(json!({"apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": host}, "spec": {"platform": "Linux"}}))
        .await;
    let target = json!({"endpoint": {"name": host, "admin": {}}});
    world.ask("host", json!({"target": target})).await;
    world.phase("host", RequestPhase::Denied).await;

    // A person takes a binding away, and what is over goes.
    let held = world.granted("held", json!({})).await;
    let binding = world.bindings().await.remove(0);
    world
        .kubectl(&world.admin, &["delete", "rolebinding", &binding, "--namespace", ns], None)
        .await
        .unwrap();
    world.ended(&held.grant.unwrap().name).await;
    world.policy(json!({"retention": "1s"})).await;
    eventually("what is over to go", SOON, async || {
        let requests: Api<AccessRequest> = world.api(&world.admin);
        let left = requests.list(&ListParams::default()).await?.items.len();
        let grants = world.grants().list(&ListParams::default()).await?.items.len();
        Ok((left + grants == 0).then_some(()))
    })
    .await
    .unwrap();
}

/// The job of the chart, as one that finds no controller would do it.
fn swept(world: &World) {
    let spec = world.lapse.controllers[0].process.spec();
    let settings = spec.args.iter().find(|arg| arg.starts_with("--settings")).unwrap();
    let mut sweep = std::process::Command::new(&spec.program);
    let output = sweep.args(["sweep", settings]).envs(&spec.env).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Objects that nobody can read.
async fn poisoned(world: &World) {
    poison::unchecked(world).await;
    let rubbish = json!({"spec": {"requester": {"username": "x"}, "subject": {"name": "x"}}});
    poison::store::<JitPolicy>(world, "rubbish", rubbish.clone()).await;
    poison::store::<AccessRequest>(world, "rubbish", rubbish.clone()).await;
    poison::store::<Grant>(world, "rubbish", rubbish).await;
    for (what, of) in [
        ("jitpolicy", poison::dynamic::<JitPolicy>(world)),
        ("accessrequest", poison::dynamic::<AccessRequest>(world)),
        ("grant", poison::dynamic::<Grant>(world)),
    ] {
        eventually(&format!("{what} rubbish to say what is wrong with it"), SOON, async || {
            let found = of.get("rubbish").await?;
            Ok(found.data.pointer("/status/conditions/0").cloned())
        })
        .await
        .unwrap();
    }
    // Told once more, of the same object: the event is counted up.
    let worse = Patch::Merge(json!({"spec": {"requesters": 7}}));
    let policies = poison::dynamic::<JitPolicy>(world);
    policies.patch("rubbish", &PatchParams::default(), &worse).await.unwrap();
}

#[tokio::test]
async fn the_components_do_what_is_listed_and_all_that_is_listed_is_needed() {
    let role = ["kind=Role", "name=mend"];
    let set = role.map(|value| format!("controller.bindableRoles[4].{value}")).to_vec();
    let options = InstallOptions { controllers: 2, set, ..InstallOptions::default() };
    let world = World::own("least", options).await;
    lived_through(&world).await;
    swept(&world);
    poisoned(&world).await;
    let settings = settings(&world);
    let mut unused = Vec::new();
    let all_used = eventually("all that is listed to be used", SOON, async || {
        unused.clear();
        for component in Component::ALL {
            let done = done(&world, component);
            for (access, need) in accesses(component, &settings) {
                if !unseen(&access) && !done.contains(&access) {
                    unused.push(format!("{component:?}: {access} ({})", need.why));
                }
            }
        }
        Ok(unused.is_empty().then_some(()))
    })
    .await;
    assert!(all_used.is_ok(), "listed, and never used:\n{}", unused.join("\n"));
}
