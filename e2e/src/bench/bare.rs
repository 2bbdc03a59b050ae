//! The bare client: it makes the same writes as Lapse, on the same control plane, and decides nothing.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::seen::Moment;
use super::town::{AT_ONCE, LIMIT, NAMESPACE, Town, person};

/// What one plain write took, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    /// Until its answer.
    pub(super) call: f64,
    /// From the call, once it was sent, until a watch showed it.
    pub(super) seen: f64,
}

/// Makes a config map.
pub(super) async fn create(town: &Town, name: &str) -> Result<Plain> {
    let maps = maps(town);
    let map = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let sent = Moment::now();
    maps.create(&PostParams::default(), &map).await?;
    let answered = Moment::now();
    let seen = town.maps.there(name, LIMIT).await?;
    Ok(Plain { call: answered.ms_after(sent), seen: seen.ms_after(sent) })
}

/// Deletes a config map.
pub(super) async fn delete(town: &Town, name: &str) -> Result<Plain> {
    let maps = maps(town);
    let sent = Moment::now();
    maps.delete(name, &DeleteParams::default()).await?;
    let answered = Moment::now();
    let seen = town.maps.gone(name, LIMIT).await?;
    Ok(Plain { call: answered.ms_after(sent), seen: seen.ms_after(sent) })
}

/// For each name one plain write and then two bindings, as an approval makes them: how long all of it
/// takes, in milliseconds.
pub(super) async fn approvals(town: &Town, names: &[String]) -> Result<f64> {
    let post = PostParams::default();
    let (maps, bindings) = (maps(town), bindings(town));
    let begun = Moment::now();
    let items = names.iter().enumerate().map(async |(index, name)| {
        maps.create(&post, &serde_json::from_value(json!({"metadata": {"name": name}}))?).await?;
        for part in ["marker", "binding"] {
            let binding = binding(&format!("{name}-{part}"), &person(index % 40))?;
            bindings.create(&post, &binding).await?;
        }
        anyhow::Ok(())
    });
    stream::iter(items).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(Moment::now().ms_after(begun))
}

/// Makes bindings.
pub(super) async fn bind(town: &Town, names: &[String]) -> Result<()> {
    let post = PostParams::default();
    let bindings = bindings(town);
    let items = names.iter().enumerate().map(async |(index, name)| {
        bindings.create(&post, &binding(name, &person(index % 40))?).await?;
        anyhow::Ok(())
    });
    stream::iter(items).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// Deletes bindings: how long all of it takes, in milliseconds.
pub(super) async fn unbind(town: &Town, names: &[String]) -> Result<f64> {
    let bindings = bindings(town);
    let begun = Moment::now();
    let items = names.iter().map(async |name| {
        bindings.delete(name, &DeleteParams::default()).await?;
        anyhow::Ok(())
    });
    stream::iter(items).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(Moment::now().ms_after(begun))
}

fn maps(town: &Town) -> Api<ConfigMap> {
    Api::namespaced(town.admin.client.clone(), NAMESPACE)
}

fn bindings(town: &Town) -> Api<RoleBinding> {
    Api::namespaced(town.admin.client.clone(), NAMESPACE)
}

fn binding(name: &str, subject: &str) -> Result<RoleBinding> {
    let group = "rbac.authorization.k8s.io";
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": NAMESPACE},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": subject}],
    }))?)
}
