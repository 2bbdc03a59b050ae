//! Removes the bindings and roles of Lapse, whatever is known of them.

use futures::{FutureExt as _, StreamExt as _, stream};
use kube::api::ListParams;
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::{CallError, Reader, bounded, next_page};
use lapse_crds::{MANAGED_BY, MANAGED_BY_LAPSE, RbacKind};
use lapse_engine::grant::ObjectMarks;

use super::Round;
use crate::revoke::remove;

/// How many objects are listed at once.
const PAGE: u32 = 500;
/// How many are removed at once.
const AT_ONCE: usize = 8;

/// Bindings before roles: they are what gives the right.
const KINDS: [RbacKind; 4] =
    [RbacKind::RoleBinding, RbacKind::ClusterRoleBinding, RbacKind::Role, RbacKind::ClusterRole];

/// Removes what is Lapse's by name and label. The markers go last: whoever holds a right is marked for as long.
pub(super) async fn remove_all(reader: &Reader, round: &mut Round) {
    let mut markers = Vec::new();
    for kind in KINDS {
        match standing(reader, kind, round).await {
            Ok(objects) => {
                let is_marker = |object: &ObjectMarks| {
                    kind == RbacKind::RoleBinding
                        && object.namespace.as_ref() == Some(&reader.settings().namespace)
                };
                let (marks, others) = objects.into_iter().partition(is_marker);
                markers.extend::<Vec<_>>(marks);
                remove_each(reader, others, round).await;
            }
            Err(error) => round.left.push(error.to_string()),
        }
    }
    remove_each(reader, markers, round).await;
}

/// The objects of a kind. Those that are being deleted and stay nevertheless are told.
async fn standing(
    reader: &Reader,
    kind: RbacKind,
    round: &mut Round,
) -> Result<Vec<ObjectMarks>, CallError> {
    let place = ObjectPlace { kind, namespace: None, name: "" };
    let api = place.api(reader.client());
    let ours = format!("{MANAGED_BY}={MANAGED_BY_LAPSE}");
    let mut params = ListParams::default().labels(&ours).limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = bounded(format!("listing {kind}s"), api.list_metadata(&params)).await?;
        for item in &page.items {
            let object = ObjectMarks::of(kind, &item.metadata);
            let finalizers = item.metadata.finalizers.as_deref().unwrap_or_default();
            if object.is_ours && item.metadata.deletion_timestamp.is_some() {
                let place = object.namespace.map(|name| format!("{name}/")).unwrap_or_default();
                let keeps = finalizers.join(", ");
                round.left.push(format!("{kind} {place}{} is kept by {keeps}", object.name));
            } else if object.is_ours {
                all.push(object);
            }
        }
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return Ok(all),
        }
    }
}

async fn remove_each(reader: &Reader, objects: Vec<ObjectMarks>, round: &mut Round) {
    let removals = objects
        .iter()
        .map(|object| remove(reader.client(), object, "Lapse is being uninstalled").boxed());
    let outcomes: Vec<_> = stream::iter(removals).buffer_unordered(AT_ONCE).collect().await;
    for outcome in outcomes {
        match outcome {
            Ok(_) => round.removed += 1,
            Err(error) => round.left.push(error.to_string()),
        }
    }
}
