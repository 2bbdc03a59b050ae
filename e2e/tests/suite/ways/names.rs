//! Who is who: names are compared as they are, byte by byte.

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use lapse_crds::{AccessRequest, RequestPhase};
use lapse_e2e::plane::User;
use rstest::rstest;
use serde_json::json;

use super::edit;
use crate::rbac;
use crate::world::{World, refused, typed};

/// Somebody of this name, who may make requests and decisions here as far as RBAC goes.
async fn somebody(world: &World, name: &str, number: usize) -> User {
    let binding = format!("somebody-{number}");
    world.bind(&binding, "lapse:requester", &rbac::user(name)).await;
    world.lapse.plane().user(name, &[]).await.unwrap()
}

async fn ask(world: &World, who: &User, name: &str) -> AccessRequest {
    let api: Api<AccessRequest> = world.api(who);
    api.create(&PostParams::default(), &world.request(name, json!({}))).await.unwrap()
}

/// The one who is named gets the right, and the look-alike is told that nobody knows them.
#[rstest]
#[case::case_of_letters("name-case", "Alice", "alice")]
#[case::a_space_at_the_end("name-space", "al ice", "al ice ")]
#[case::letters_of_another_script("name-script", "alice@example.com", "аlice@example.com")]
#[case::composed_and_decomposed("name-accent", "zo\u{eb}", "zoe\u{308}")]
#[case::punctuation("name-odd", "a,b=c\\d/e:f|g\"h'i#j", "a,b=c\\d/e:f|g\"h'i#k")]
#[case::a_user_of_an_issuer(
    "name-issuer",
    "https://id.example.com#alice",
    "https://id.example.com#Alice"
)]
#[tokio::test]
async fn a_look_alike_is_somebody_else(
    #[case] ns: &str,
    #[case] name: &str,
    #[case] look_alike: &str,
) {
    let world = World::shared(ns).await;
    world
        .policy(json!({
            "requesters": [{"kind": "User", "name": name}], "approval": {"stages": []},
        }))
        .await;
    let (named, other) = (somebody(&world, name, 1).await, somebody(&world, look_alike, 2).await);
    ask(&world, &other, "other").await;
    let status = world.phase("other", RequestPhase::Denied).await;
    assert_eq!(status.grant, None);
    let asked = ask(&world, &named, "named").await;
    assert_eq!(asked.spec.requester.unwrap().username, name);
    world.phase("named", RequestPhase::Active).await;
    assert_eq!(world.grant("named").await.spec.subject.name, name);
    world.let_in(&named).await;
    assert!(!world.can_write(&other).await);
}

/// A name of a kibibyte is longer than any field here takes: it is refused, and nothing breaks.
#[tokio::test]
async fn a_name_of_a_kibibyte_asks_in_vain() {
    let world = World::shared("name-long").await;
    let name = "n".repeat(1024);
    let long = somebody(&world, &name, 1).await;
    let api: Api<AccessRequest> = world.api(&long);
    let request = world.request("long", json!({}));
    match api.create(&PostParams::default(), &request).await {
        Ok(_) => {
            let status = world.phase("long", RequestPhase::Denied).await;
            assert_eq!(status.grant, None);
        }
        Err(error) => refused::<()>(Err(error.into()), "username"),
    }
    assert!(!world.can_write(&long).await);
    world.granted("fix", json!({})).await;
}

/// A service account is one by its token. A certificate with its name, or with that of the account alone, is
/// somebody else; so is the account of the same name in another namespace.
#[tokio::test]
async fn a_service_account_is_known_by_its_namespace_and_its_token() {
    let world = World::shared("name-account").await;
    let ns = &world.ns;
    for (place, name) in [(&**ns, "bot"), ("default", "bot")] {
        let accounts: Api<ServiceAccount> = Api::namespaced(world.admin.client.clone(), place);
        let account: ServiceAccount = typed(json!({"metadata": {"name": name}}));
        accounts.create(&PostParams::default(), &account).await.ok();
    }
    let bot = json!([{"kind": "ServiceAccount", "namespace": ns, "name": "bot"}]);
    let targets = edit(ns);
    world.policy(json!({"requesters": bot, "targets": targets, "approval": {"stages": []}})).await;
    let username = format!("system:serviceaccount:{ns}:bot");
    let mut look_alikes = Vec::new();
    for (number, name) in
        [&*username, "bot", "system:serviceaccount:default:bot"].iter().enumerate()
    {
        look_alikes.push(somebody(&world, name, number).await);
    }
    let elsewhere = world.lapse.plane().service_account("default", "bot").await.unwrap();
    look_alikes.push(elsewhere);
    for (number, other) in look_alikes.iter().enumerate() {
        let name = format!("other-{number}");
        ask(&world, other, &name).await;
        let status = world.phase(&name, RequestPhase::Denied).await;
        assert_eq!(status.grant, None, "{name}");
    }
    let bot = world.lapse.plane().service_account(ns, "bot").await.unwrap();
    ask(&world, &bot, "own").await;
    world.phase("own", RequestPhase::Active).await;
    world.let_in(&bot).await;
}
