//! What is shown, to people and to programs.

use lapse_crds::RequestPhase;
use regex::Regex;
use serde_json::{Value, json};

use crate::world::World;

/// Without what differs from run to run.
fn settled(text: &str) -> String {
    let text = Regex::new(r"Ended, .*").unwrap().replace(text, "Ended, THEN");
    let text = Regex::new(r"\d{4}-\d\d-\d\dT[\d:]+Z").unwrap().replace_all(&text, "TIME");
    let text =
        Regex::new(r"\(in [^)]*\)|\([^)]* ago\)|\(now\)").unwrap().replace_all(&text, "(THEN)");
    Regex::new(r"\b\d+[smh](\d+[smh])? left|\b\d+s\b")
        .unwrap()
        .replace_all(&text, "SPAN")
        .into_owned()
}

#[tokio::test]
async fn a_request_is_explained_from_its_checks_to_its_history() {
    let world = World::shared("jit-explain").await;
    world.granted("fix", json!({"ticket": "INC0012345"})).await;
    world.jit(&world.bob, &["deny", "fix", "--comment", "That is enough"]).await.ok().unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    let told = world.jit(&world.alice, &["explain", "fix"]).await.ok().unwrap();
    insta::assert_snapshot!(settled(&told));
}

#[tokio::test]
async fn people_see_what_policies_offer_them_alone() {
    let world = World::shared("jit-policies").await;
    // They may not list policies, which would show what others may.
    let all: kube::Api<lapse_crds::JitPolicy> = kube::Api::all(world.alice.client.clone());
    let listed = all.list(&kube::api::ListParams::default()).await;
    assert!(matches!(listed, Err(kube::Error::Api(status)) if status.code == 403));
    let own = world.jit(&world.alice, &["policies"]).await.ok().unwrap();
    insta::assert_snapshot!(own, @r"
    POLICY         OFFERS                                               FOR            APPROVAL
    jit-policies   ClusterRole edit, ClusterRole view in jit-policies   5m, up to 1h   1 of group jit-policies-managers
    ");
    let wide = world.jit(&world.alice, &["policies", "-o", "json"]).await.ok().unwrap();
    let told: Value = serde_json::from_str(&wide).unwrap();
    assert_eq!(told["offers"][0]["roles"][1], json!({"kind": "ClusterRole", "name": "view"}));
    let others = world.jit(&world.mallory, &["policies"]).await;
    assert!(others.success() && others.stdout.is_empty(), "{others:?}");
    assert!(others.stderr.contains("No policy offers you anything"), "{others:?}");
    // Nobody else is asked for: what is told follows from who asks.
    let stored = world.jit(&world.alice, &["list", "-o", "name"]).await.ok().unwrap();
    assert_eq!(stored, "", "the question is not stored");
    let mut question = world.request("kept", json!({}));
    question.metadata.annotations = Some([("lapse.dev/offers".to_owned(), String::new())].into());
    let kept = world.api::<lapse_crds::AccessRequest>(&world.alice);
    let refused = kept.create(&kube::api::PostParams::default(), &question).await.unwrap_err();
    assert!(refused.to_string().contains("only in a server-side dry run"), "{refused}");
}

#[tokio::test]
async fn what_a_role_allows_is_told_to_whom_it_is_offered_without_rights_on_roles() {
    let world = World::shared("jit-allows").await;
    let roles: kube::Api<k8s_openapi::api::rbac::v1::ClusterRole> =
        kube::Api::all(world.alice.client.clone());
    let read = roles.get("view").await;
    assert!(matches!(read, Err(kube::Error::Api(status)) if status.code == 403));
    let yes = world.jit(&world.alice, &["can-i", "view", "--for", "9m"]).await;
    assert!(yes.success(), "{yes:?}");
    // Each rule, and whole.
    let told: Vec<&str> = yes
        .stderr
        .lines()
        .skip_while(|line| !line.starts_with("Allows     get,list,watch "))
        .collect();
    assert!(told.len() > 5 && told[1].starts_with("           get,list,watch "), "{yes:?}");
    assert!(!yes.stderr.contains("more rule"), "{yes:?}");

    world.ask("fix", json!({})).await;
    world.waits("fix", "managers").await;
    let approved = world.jit(&world.bob, &["approve", "fix", "--dry-run", "server"]).await;
    assert!(
        approved.success() && approved.stderr.contains("Allows     get,list,watch "),
        "{approved:?}"
    );
    assert!(approved.stderr.contains("           create pods/eviction"), "{approved:?}");
    assert_eq!(world.status("fix").await.phase, RequestPhase::Pending, "nothing was stored");

    // Of a role that no policy offers to whoever asks nothing is told, and nothing is stored.
    let ask = async |user: &lapse_e2e::plane::User, role: &str, dry_run: bool| {
        let role = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": role}}});
        let mut question = world.request("question", json!({"target": role, "policy": null}));
        question.metadata.annotations =
            Some([("lapse.dev/allows".to_owned(), String::new())].into());
        let params = kube::api::PostParams { dry_run, ..Default::default() };
        let answer =
            world.api::<lapse_crds::AccessRequest>(user).create(&params, &question).await?;
        Ok::<_, kube::Error>(answer.metadata.annotations.unwrap()["lapse.dev/allows"].clone())
    };
    for (user, role) in
        [(&world.mallory, "edit"), (&world.alice, "admin"), (&world.alice, "lapse:policy-admin")]
    {
        assert_eq!(ask(user, role, true).await.unwrap(), "", "{role}");
    }
    assert!(ask(&world.alice, "edit", true).await.unwrap().contains("pods/eviction"));
    let kept = ask(&world.alice, "edit", false).await.unwrap_err();
    assert!(kept.to_string().contains("only in a server-side dry run"), "{kept}");
}

#[tokio::test]
async fn programs_get_whole_objects() {
    let world = World::shared("jit-output").await;
    let made = world
        .jit(&world.alice, &["request", "edit", "--reason", "By a program", "-o", "json"])
        .await;
    let made: Value = serde_json::from_str(&made.ok().unwrap()).unwrap();
    assert_eq!(made["kind"], "AccessRequest");
    assert_eq!(made["spec"]["requester"]["username"], world.alice.name.as_str());
    assert!(made["metadata"]["managedFields"].is_null(), "{made}");
    let list = world.jit(&world.alice, &["list", "-o", "json"]).await.ok().unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("List"), Some(1)));
    let name = made["metadata"]["name"].as_str().unwrap();
    let yaml = world.jit(&world.alice, &["status", name, "-o", "yaml"]).await.ok().unwrap();
    let yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(yaml["metadata"]["uid"], made["metadata"]["uid"]);
    let tried =
        world.jit(&world.alice, &["request", "edit", "--dry-run", "client", "-o", "yaml"]).await;
    let tried: Value = serde_saphyr::from_str(&tried.ok().unwrap()).unwrap();
    assert_eq!(tried["metadata"]["generateName"], "edit-");
    let colours = world.jit(&world.alice, &["list"]).await.ok().unwrap();
    assert!(!colours.contains('\u{1b}'), "colours are for terminals: {colours:?}");
    assert!(colours.starts_with("NAME "), "{colours}");
}

#[tokio::test]
async fn a_watch_tells_each_change_once() {
    let world = World::shared("jit-watch").await;
    let mut watching = world.jit_started(&world.bob, &["watch"]).await;
    let stdout = watching.stdout.take().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout));
    let mut next = async |words: &str| {
        let found = async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap();
                if line.contains(words) {
                    return line;
                }
            }
        };
        tokio::time::timeout(crate::world::SOON, found)
            .await
            .unwrap_or_else(|_| panic!("no line says {words}"))
    };
    world.ask("fix", json!({})).await;
    next("fix: Pending: waiting for 1 of group jit-watch-managers").await;
    world.approve(&world.bob, "fix").await.unwrap();
    next("fix: Active: until ").await;
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    next("fix: Ended (EndedByRequester)").await;
}

#[tokio::test]
async fn shells_and_manuals_know_it() {
    let world = World::shared("jit-help").await;
    for shell in ["bash", "zsh", "fish"] {
        let script = world.jit(&world.alice, &["completion", shell]).await.ok().unwrap();
        assert!(script.contains("kubectl-jit"), "{shell}: {script}");
    }
    let page = world.jit(&world.alice, &["man"]).await.ok().unwrap();
    for words in [
        ".SH NAME",
        ".SH \"KUBECTL JIT APPROVE\"",
        ".SH \"KUBECTL JIT RUN\"",
        ".SH \"EXIT STATUS\"",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}
