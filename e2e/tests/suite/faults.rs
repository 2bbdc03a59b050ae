//! Processes that are killed, stopped and started at the worst moments. Each test has a control plane
//! of its own.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessRequest, EndReason, Grant, GrantPhase, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;

use crate::world::{SOON, World, typed, until};

/// The binding cannot be made for a moment (the API server is overloaded, say): killed in between,
/// the controller goes on where it was.
#[tokio::test]
async fn killed_between_grant_and_binding() {
    let world = World::own("killed", InstallOptions::default()).await;
    let controller = &world.lapse.controllers[0].process;
    world.ask("fix", json!({})).await;
    world.phase("fix", RequestPhase::Pending).await;
    controller.pause();
    world.approve(&world.bob, "fix").await.unwrap();
    // What the controller would have written, and died.
    controller.kill();
    write_the_grant(&world).await;
    assert!(!world.can_write(&world.alice).await);
    controller.start().unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
    assert_eq!(
        world.grants().list(&kube::api::ListParams::default()).await.unwrap().items.len(),
        1
    );
}

/// Writes the grant as the controller does, with the controller's own rights.
async fn write_the_grant(world: &World) {
    let plane = world.lapse.plane();
    let controller = plane.service_account("lapse-system", "lapse-controller").await.unwrap();
    let requests: Api<AccessRequest> = world.api(&world.admin);
    let request = requests.get("fix").await.unwrap();
    let policies: Api<lapse_crds::JitPolicy> = Api::all(world.admin.client.clone());
    let policy = policies.get(&world.ns).await.unwrap();
    let uid = request.uid().unwrap();
    let api: Api<lapse_crds::AccessDecision> = world.api(&world.admin);
    let decision = api.list(&kube::api::ListParams::default()).await.unwrap().items.remove(0);
    // The webhook lets through what follows from the request, and nothing else.
    let attestation = &decision.metadata.annotations.as_ref().unwrap()[lapse_crds::ATTESTATION];
    let attestation: serde_json::Value = serde_json::from_str(attestation).unwrap();
    let start: lapse_crds::Timestamp =
        serde_json::from_value(attestation["admittedAt"].clone()).unwrap();
    let expires: lapse_crds::Timestamp = (start.time() + chrono::TimeDelta::minutes(10)).into();
    let grant: lapse_crds::Grant = typed(json!({
        "metadata": {
            "name": lapse_engine::grant::grant_name(&world.ns, "fix", &uid),
            "finalizers": ["lapse.dev/revoke"],
        },
        "spec": {
            "request": {"namespace": world.ns, "name": "fix", "uid": uid},
            "policy": {"name": world.ns, "uid": policy.uid(), "generation": policy.metadata.generation},
            "subject": {"kind": "User", "name": world.alice.name}, "username": world.alice.name,
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "namespaces": [world.ns]}},
            "startsAt": start, "expiresAt": expires, "approvedBy": [world.bob.name], "emergency": false,
            "rulesHash": decision.spec.rules_hash, "rules": decision.spec.rules,
            "session": {"guard": "Enforce", "impersonates": ["*"]},
        },
    }));
    let grants: Api<lapse_crds::Grant> = Api::all(controller.client.clone());
    grants.create(&PostParams::default(), &grant).await.unwrap();
}

/// Killed at the very moment of the approval, again and again: wherever it was, it ends up granted
/// once, and gone once.
#[tokio::test]
async fn killed_at_any_moment() {
    let world = World::own("any-moment", InstallOptions::default()).await;
    let controller = &world.lapse.controllers[0].process;
    for round in 0..6_u32 {
        let name = format!("fix-{round}");
        world.ask(&name, json!({})).await;
        world.phase(&name, RequestPhase::Pending).await;
        world.approve(&world.bob, &name).await.unwrap();
        // Each round a little later in what the controller does.
        if round > 0 {
            let api: Api<AccessRequest> = world.api(&world.admin);
            for _ in 0..round {
                api.get(&name).await.unwrap();
            }
        }
        controller.kill();
        controller.start().unwrap();
        world.phase(&name, RequestPhase::Active).await;
        world.let_in(&world.alice).await;
        world.decide(&world.alice, &name, json!({"verdict": "End"})).await.unwrap();
        controller.kill();
        controller.start().unwrap();
        world.phase(&name, RequestPhase::Ended).await;
        world.locked_out(&world.alice).await;
    }
    let grants = world.grants().list(&kube::api::ListParams::default()).await.unwrap();
    assert_eq!(grants.items.len(), 6, "each request was granted once");
}

#[tokio::test]
async fn down_at_expiry_and_started_later() {
    let world = World::own("down", InstallOptions::default()).await;
    let controller = &world.lapse.controllers[0].process;
    let status = world.granted("fix", json!({"duration": "15s"})).await;
    controller.kill();
    let expires = status.expires_at.unwrap().time();
    until(expires).await;
    controller.start().unwrap();
    world.locked_out(&world.alice).await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::Expired));
}

/// With no controller at all the job of the chart revokes.
#[tokio::test]
async fn the_sweep_revokes_without_a_controller() {
    let world = World::own("swept", InstallOptions::default()).await;
    let component = &world.lapse.controllers[0].process;
    world.granted("kept", json!({})).await;
    let status = world.granted("fix", json!({"duration": "15s"})).await;
    component.kill();
    let expires = status.expires_at.unwrap().time();
    until(expires).await;
    let spec = component.spec();
    let settings = spec.args.iter().find(|arg| arg.starts_with("--settings")).unwrap();
    let output = std::process::Command::new(&spec.program)
        .args(["sweep", settings])
        .envs(&spec.env)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.bindings().await.len(), 1, "the one that has time left stays");
    assert!(world.can_write(&world.alice).await);
    world.decide(&world.alice, "kept", json!({"verdict": "End"})).await.unwrap();
    component.start().unwrap();
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn another_controller_takes_over_and_revocation_waits_for_nobody() {
    let options = InstallOptions { controllers: 2, ..InstallOptions::default() };
    let world = World::own("takes-over", options).await;
    let leases: Api<Lease> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    let holder = async || {
        let lease = leases.get("lapse-controller").await.unwrap();
        lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
    };
    world.granted("fix", json!({})).await;
    world.granted("short", json!({"duration": "20s"})).await;
    let first = holder().await;
    let leader = world.lapse.controllers.iter().find(|c| first.contains(c.process.name())).unwrap();
    leader.process.kill();
    // The other one has no lease yet. It needs none to revoke, and within 10 s it has it to grant.
    let short = world.grant("short").await.metadata.name.unwrap();
    world.ended(&short).await;
    world.ask("next", json!({})).await;
    world.approve(&world.bob, "next").await.unwrap();
    world.phase("next", RequestPhase::Active).await;
    assert_ne!(holder().await, first);
    world.phase("short", RequestPhase::Ended).await;
}

/// Without the lease nothing is given, and everything is taken back.
#[tokio::test]
async fn revoking_needs_no_lease() {
    let world = World::own("no-lease", InstallOptions::default()).await;
    world.granted("by-time", json!({"duration": "20s"})).await;
    world.granted("by-deny", json!({})).await;
    let leases: Api<Lease> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    // A lease that another one renews faster than it lapses.
    let usurper = async {
        for renewal in 0_u64.. {
            let mut lease = leases.get("lapse-controller").await.unwrap();
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(format!("usurper-{renewal}"));
            // Conflicts with the controller's own writes are lost; the next one is not.
            leases.replace("lapse-controller", &PostParams::default(), &lease).await.ok();
            tokio::task::yield_now().await;
        }
    };
    let story = async {
        eventually("the controller to have lost the lease", SOON, async || {
            let metrics = scrape(world.lapse.controllers[0].metrics).await?;
            Ok(metrics.contains("lapse_leader 0").then_some(()))
        })
        .await
        .unwrap();
        world.ask("fix", json!({})).await;
        world.approve(&world.bob, "fix").await.unwrap();
        world.decide(&world.bob, "by-deny", json!({"verdict": "Deny"})).await.unwrap();
        for grant in world.grants().list(&kube::api::ListParams::default()).await.unwrap() {
            world.ended(&grant.name_any()).await;
        }
        world.locked_out(&world.alice).await;
        assert!(world.status("fix").await.grant.is_none(), "nothing is given");
    };
    tokio::select! {
        () = story => {}
        () = usurper => {}
    }
    world.phase("fix", RequestPhase::Active).await;
}

async fn scrape(address: std::net::SocketAddr) -> anyhow::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_graceful_stop_leaves_nothing_half_done() {
    let world = World::own("graceful", InstallOptions::default()).await;
    let controller = &world.lapse.controllers[0].process;
    world.ask("fix", json!({})).await;
    world.phase("fix", RequestPhase::Pending).await;
    world.approve(&world.bob, "fix").await.unwrap();
    let exit = controller.terminate(SOON).await.unwrap();
    assert!(exit.success(), "{exit}");
    let leases: Api<Lease> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    let lease = leases.get("lapse-controller").await.unwrap();
    let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    assert_eq!(holder, "", "the lease was given back");
    for grant in world.grants().list(&kube::api::ListParams::default()).await.unwrap() {
        let bound = world.bindings().await.len();
        let phase = grant.status.map(|status| status.phase).unwrap_or_default();
        assert_eq!(bound == 1, phase == GrantPhase::Active, "binding and record agree");
    }
    controller.start().unwrap();
    world.phase("fix", RequestPhase::Active).await;
}

#[tokio::test]
async fn with_the_webhook_down_nothing_gets_in_and_rights_still_end() {
    let world = World::own("webhook-down", InstallOptions::default()).await;
    world.granted("fix", json!({"duration": "15s"})).await;
    world.ask("waiting", json!({})).await;
    let webhook = &world.lapse.webhooks[0].process;
    webhook.kill();
    let request = world.request("in", json!({}));
    let api: Api<AccessRequest> = world.api(&world.alice);
    let error = api.create(&PostParams::default(), &request).await.unwrap_err().to_string();
    assert!(error.contains("failed calling webhook"), "{error}");
    world.approve(&world.bob, "waiting").await.unwrap_err();
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;

    webhook.start().unwrap();
    world.lapse.webhooks[0].ready().await.unwrap();
    eventually("admission to work again", SOON, async || {
        Ok(Some(api.create(&PostParams::default(), &request).await?))
    })
    .await
    .unwrap();
    world.approve(&world.bob, "waiting").await.unwrap();
    world.phase("waiting", RequestPhase::Active).await;
}

/// What somebody's finalizer keeps still gives its right. That is said, and when it goes, the right has ended.
#[tokio::test]
async fn a_binding_that_is_kept_is_said_and_its_end_is_noticed() {
    let world = World::own("kept", InstallOptions::default()).await;
    let guard = ["delete", "validatingadmissionpolicybinding", "lapse-rbac-reserved"];
    world.kubectl(&world.admin, &guard, None).await.unwrap();
    let grant = world.granted("fix", json!({})).await.grant.unwrap().name;
    let bindings: Api<RoleBinding> = Api::namespaced(world.admin.client.clone(), &world.ns);
    let name = format!("lapse:{grant}");
    let keep = |finalizers: serde_json::Value| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        let (bindings, name) = (bindings.clone(), name.clone());
        // The API server learns late that the guard is gone.
        async move {
            eventually("the finalizers to be written", SOON, async || {
                Ok(bindings.patch(&name, &PatchParams::default(), &patch).await.ok())
            })
            .await
            .unwrap()
        }
    };
    keep(json!(["example.com/keep"])).await;
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    let grants: Api<Grant> = Api::all(world.admin.client.clone());
    eventually("the Grant to say that its right stands", SOON, async || {
        let status = grants.get(&grant).await?.status.unwrap_or_default();
        Ok((status.phase == GrantPhase::Ending).then_some(()))
    })
    .await
    .unwrap();
    keep(json!(null)).await;
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

/// Somebody deletes the lease: rights are given again after a while, and those that were given end meanwhile.
#[tokio::test]
async fn a_lease_that_is_lost_is_made_again() {
    let world = World::own("lost", InstallOptions::default()).await;
    world.granted("held", json!({})).await;
    let leases: Api<Lease> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    let before = leases.get("lapse-controller").await.unwrap();
    leases.delete("lapse-controller", &DeleteParams::default()).await.unwrap();
    world.decide(&world.alice, "held", json!({"verdict": "End"})).await.unwrap();
    world.phase("held", RequestPhase::Ended).await;
    let after = eventually("the lease to be made again", SOON, async || {
        leases.get_opt("lapse-controller").await.map_err(Into::into)
    })
    .await
    .unwrap();
    world.granted("fix", json!({})).await;
    assert_ne!(after.uid(), before.uid());
    assert_eq!(after.labels(), before.labels(), "Helm knows its objects by these");
}
