//! What Lapse asks of the API server has places there of its own.

use std::collections::BTreeMap;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kube::client::Body;
use kube::{Api, ResourceExt as _};
use lapse_e2e::plane::{User, eventually};
use rstest::rstest;

use crate::rendered::Rendered;
use crate::world::{SOON, World};

/// The UIDs of the schema and of the level by which the API server took a request.
async fn taken(user: &User, method: &str, path: &str) -> (String, String) {
    let request = http::Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    let answer = user.client.send(request).await.unwrap();
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .unwrap_or_else(|| panic!("no {name}"))
            .to_str()
            .unwrap()
            .to_owned()
    };
    (header("x-kubernetes-pf-flowschema-uid"), header("x-kubernetes-pf-prioritylevel-uid"))
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const LAPSE: &str = "/apis/lapse.dev/v1alpha1";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/lapse-system/leases/lapse-controller";

#[rstest]
#[case::end("lapse-controller", "DELETE", format!("{RBAC}/namespaces/default/rolebindings/none"), "lapse-revocation", "lapse-revocation")]
#[case::end_everywhere("lapse-controller", "DELETE", format!("{RBAC}/clusterrolebindings/none"), "lapse-revocation", "lapse-revocation")]
#[case::end_of_rules("lapse-controller", "DELETE", format!("{RBAC}/clusterroles/none"), "lapse-revocation", "lapse-revocation")]
#[case::verify("lapse-controller", "GET", format!("{RBAC}/namespaces/default/rolebindings/none"), "lapse-revocation", "lapse-revocation")]
#[case::lease("lapse-controller", "GET", LEASE.to_owned(), "lapse-leader-election", "leader-election")]
#[case::list("lapse-controller", "GET", format!("{RBAC}/rolebindings"), "lapse-controller", "lapse-controller")]
#[case::look("lapse-controller", "GET", format!("{LAPSE}/grants/none"), "lapse-controller", "lapse-controller")]
#[case::webhook("lapse-webhook", "GET", format!("{LAPSE}/namespaces/default/accessrequests/none"), "lapse-webhook", "lapse-webhook")]
#[tokio::test]
async fn what_lapse_asks_is_taken_by_its_own_levels(
    #[case] account: &str,
    #[case] method: &str,
    #[case] path: String,
    #[case] schema: &str,
    #[case] level: &str,
) {
    let world = World::shared("flow").await;
    let admin = &world.admin.client;
    let account = world.lapse.plane().service_account("lapse-system", account).await.unwrap();
    let schema = Api::<FlowSchema>::all(admin.clone()).get(schema).await.unwrap();
    let level = Api::<PriorityLevelConfiguration>::all(admin.clone()).get(level).await.unwrap();
    let expected = (schema.uid().unwrap(), level.uid().unwrap());
    // The API server reads its configuration a moment after it was written.
    eventually("the request to be taken so", SOON, async || {
        Ok((taken(&account, method, &path).await == expected).then_some(()))
    })
    .await
    .unwrap();
}

/// Of the 600 places that an API server has unless it is told otherwise.
#[tokio::test]
async fn the_shares_are_the_places_that_the_documentation_says() {
    let world = World::shared("flow-seats").await;
    eventually("the levels to have their places", SOON, async || {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics = world.admin.client.request_text(request).await?;
        let has = |(level, seats)| {
            let name = "apiserver_flowcontrol_nominal_limit_seats";
            metrics.contains(&format!("{name}{{priority_level=\"{level}\"}} {seats}\n"))
        };
        let all = [("lapse-revocation", 12), ("lapse-controller", 23), ("lapse-webhook", 23)];
        Ok(all.into_iter().all(has).then_some(()))
    })
    .await
    .unwrap();
}

/// Nobody else is let into them.
#[tokio::test]
async fn what_others_ask_is_taken_by_others() {
    let world = World::shared("flow-others").await;
    let schemas = Api::<FlowSchema>::all(world.admin.client.clone());
    let schemas = schemas.list(&kube::api::ListParams::default()).await.unwrap();
    let names: BTreeMap<String, String> =
        schemas.iter().map(|schema| (schema.uid().unwrap(), schema.name_any())).collect();
    let path = format!("{LAPSE}/namespaces/{}/accessrequests", world.ns);
    for who in [&world.admin, &world.alice] {
        let (schema, _) = taken(who, "GET", &path).await;
        assert!(!names[&schema].starts_with("lapse-"), "{}: {}", who.name, names[&schema]);
    }
}

#[tokio::test]
async fn every_pod_is_covered_and_all_can_be_switched_off() {
    let rendered = Rendered::with(&[]).await;
    let schemas: Vec<FlowSchema> = rendered.all("FlowSchema");
    let of = |schema: &FlowSchema| -> Vec<(String, String)> {
        let rules = schema.spec.as_ref().unwrap().rules.iter().flatten();
        let accounts = rules
            .flat_map(|rule| &rule.subjects)
            .filter_map(|subject| subject.service_account.as_ref());
        accounts.map(|account| (account.namespace.clone(), account.name.clone())).collect()
    };
    for pod in rendered.pods().into_values() {
        let account = pod.spec.unwrap().service_account_name.unwrap();
        let named = (String::from("elsewhere"), account);
        let covering = schemas.iter().filter(|schema| of(schema).contains(&named));
        let levels: Vec<i32> = covering
            .map(|schema| schema.spec.as_ref().unwrap().matching_precedence.unwrap())
            .collect();
        assert!(levels.contains(&220), "{named:?}: {levels:?}");
        // Kubernetes' own for all service accounts of kube-system, where Lapse may be installed.
        assert!(levels.iter().all(|precedence| *precedence < 900), "{named:?}: {levels:?}");
    }
    let levels: Vec<PriorityLevelConfiguration> = rendered.all("PriorityLevelConfiguration");
    let shares = |name: &str| {
        let level = levels.iter().find(|level| level.name_any() == name).unwrap();
        let limited = level.spec.as_ref().unwrap().limited.as_ref().unwrap();
        (limited.nominal_concurrency_shares.unwrap(), limited.lendable_percent.unwrap())
    };
    assert_eq!(shares("lapse-revocation"), (5, 0), "what is lent does not come back at once");
    assert_eq!(shares("lapse-controller"), (10, 50));
    assert_eq!(shares("lapse-webhook"), (10, 50));

    let off = Rendered::with(&["flowControl.enabled=false"]).await;
    assert!(off.all::<FlowSchema>("FlowSchema").is_empty());
    assert!(off.all::<PriorityLevelConfiguration>("PriorityLevelConfiguration").is_empty());
}
