//! Lets Endpoints go. Each carries a finalizer for as long as it stands, which nobody would take off any more: it could never
//! be deleted, nor could its definition.

use futures::{StreamExt as _, stream};
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, ResourceExt as _};
use lapse_cluster::{bounded, next_page};
use lapse_crds::{Endpoint, GRANT_FINALIZER};

use super::Round;
use crate::finalizers;

/// How many objects are listed at once.
const PAGE: u32 = 500;
/// How many are let go at once.
const AT_ONCE: usize = 8;

/// Takes the finalizer off each Endpoint, once no right on a host is left.
pub(super) async fn let_go(client: &Client, round: &mut Round) {
    let api: Api<PartialObjectMeta<Endpoint>> = Api::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = match bounded("listing the Endpoints", api.list(&params)).await {
            Ok(page) => page,
            Err(error) => return round.left.push(error.to_string()),
        };
        let is_held = |endpoint: &&PartialObjectMeta<Endpoint>| {
            endpoint.finalizers().iter().any(|finalizer| finalizer == GRANT_FINALIZER)
        };
        let releases = page.items.iter().filter(is_held).map(async |endpoint| {
            let others: Vec<&str> = finalizers::of_others(&endpoint.metadata).collect();
            let what = format!("letting Endpoint {} go", endpoint.name_any());
            finalizers::set::<Endpoint>(client, what, &endpoint.metadata, &others).await
        });
        let outcomes: Vec<_> = stream::iter(releases).buffer_unordered(AT_ONCE).collect().await;
        let failures = outcomes.into_iter().filter_map(Result::err);
        round.left.extend(failures.map(|error| error.to_string()));
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return,
        }
    }
}
