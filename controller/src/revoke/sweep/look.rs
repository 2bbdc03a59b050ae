//! One round of the sweep.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_cluster::clock::Clock;
use lapse_cluster::index::Index;
use lapse_cluster::process::{Heartbeat, caught, caught_in};
use lapse_cluster::{CallError, Stored, bounded, next_page, read};
use lapse_crds::{Grant, MANAGED_BY, MANAGED_BY_LAPSE, RbacKind};
use lapse_engine::Read;
use lapse_engine::grant::{Content, Fate, ObjectMarks, ObjectSpec, fate};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::{PANIC, PANICKED, Report, rotated};
use crate::revoke::orphans::remove;

/// How many objects are listed at once.
const PAGE: u32 = 500;
/// How many objects of a kind are looked at, and removed, at once.
const AT_ONCE: usize = 16;

/// One round.
pub(super) struct Round<'a> {
    client: &'a Client,
    clock: &'a Clock,
    /// The namespace of Lapse itself.
    home: &'a str,
    /// What is known of the Grants; without it, they are asked for.
    index: Option<&'a Index>,
    beats: &'a Heartbeat,
    /// Where deletions get no answer; `None`: outside of namespaces.
    hanging: Mutex<HashSet<Option<String>>>,
}

impl<'a> Round<'a> {
    pub(super) fn new(
        client: &'a Client,
        clock: &'a Clock,
        home: &'a str,
        index: Option<&'a Index>,
        beats: &'a Heartbeat,
    ) -> Self {
        Self { client, clock, home, index, beats, hanging: Mutex::default() }
    }

    fn hanging(&self) -> MutexGuard<'_, HashSet<Option<String>>> {
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at everything once.
    pub(super) async fn look(&self) -> Report {
        let mut report = Report::default();
        // What has expired goes as it is listed. What is left is listed before the Grants: a Grant is written before its
        // objects, so each of them has its Grant in a list that is made later. In boxes: together they are large.
        let mut standing = Vec::new();
        let (bindings, cluster_bindings, roles, cluster_roles) = tokio::join!(
            self.expired::<RoleBinding>(RbacKind::RoleBinding).boxed(),
            self.expired::<ClusterRoleBinding>(RbacKind::ClusterRoleBinding).boxed(),
            self.expired::<Role>(RbacKind::Role).boxed(),
            self.expired::<ClusterRole>(RbacKind::ClusterRole).boxed(),
        );
        // What was not listed whole lacks markers that stand.
        let knows_markers = bindings.1.blind.is_empty();
        for (objects, found) in [bindings, cluster_bindings, roles, cluster_roles] {
            standing.extend(objects);
            report.add(found);
        }
        if knows_markers {
            report.unmarked = self.unmarked(&standing);
        }
        // One that the index knows to be live is left alone. It may lag behind by a Grant that ended a moment ago, whose
        // own end takes its objects.
        standing.retain(|object| !self.is_live(object));
        let live = if self.index.is_none() && !standing.is_empty() {
            match self.live_grants().await {
                Ok(live) => live,
                Err(error) => {
                    warn!(%error, "the sweep goes by the objects' own ends alone");
                    report.blind.push(error.to_string());
                    return report;
                }
            }
        } else {
            HashMap::new()
        };
        let own = |object: &ObjectMarks| {
            let uid = object.grant.as_ref().and_then(|name| live.get(name));
            uid.is_some() && uid == object.grant_uid.as_ref() && object.has_the_name_of_its_grant()
        };
        let judged = standing.into_iter().filter(|object| !own(object));
        let judged = stream::iter(judged).map(|object| {
            let judged = caught_in(PANIC, self.judge(object));
            judged.map(|report| report.unwrap_or_else(|| Report::unseen(PANICKED))).boxed()
        });
        judged
            .buffer_unordered(AT_ONCE)
            .for_each(|found| {
                report.add(found);
                std::future::ready(())
            })
            .await;
        let hanging = self.hanging();
        if !hanging.is_empty() {
            let namespaces = hanging.iter().map(|namespace| namespace.as_deref().unwrap_or("none"));
            let namespaces: Vec<&str> = namespaces.collect();
            warn!(
                ?namespaces,
                "deletions get no answer there; the rest is left for the next round"
            );
        }
        drop(hanging);
        report
    }

    fn is_live(&self, object: &ObjectMarks) -> bool {
        let known = self.index.zip(object.grant.as_ref()).and_then(|(i, name)| i.grant(name));
        known.is_some_and(|known| {
            let live = known.live();
            live.is_some_and(|grant| !grant.is_deleted && object.is_of(grant, self.home))
        })
    }

    /// The grants of which something gives a right, or will, while the marker of its holder does not stand.
    fn unmarked(&self, standing: &[ObjectMarks]) -> Vec<String> {
        let Some(index) = self.index else { return Vec::new() };
        let is_marker = |object: &&ObjectMarks| {
            object.kind == RbacKind::RoleBinding && object.namespace.as_deref() == Some(self.home)
        };
        let marked: HashSet<&String> =
            standing.iter().filter(is_marker).filter_map(|object| object.grant.as_ref()).collect();
        let others = standing.iter().filter(|object| !is_marker(object));
        let unmarked: HashSet<&String> = others
            .filter_map(|object| object.grant.as_ref())
            .filter(|name| !marked.contains(name))
            .filter(|name| {
                let known = index.grant(name);
                let objects = known.as_ref().and_then(|known| {
                    known.live().map(|grant| ObjectSpec::all_of_live(grant, self.home))
                });
                let is_marker =
                    |object: &ObjectSpec| matches!(object.content, Content::Marker { .. });
                objects.is_some_and(|objects| objects.iter().any(is_marker))
            })
            .collect();
        unmarked.into_iter().cloned().collect()
    }

    /// Removes the objects of a kind whose own end has come, and returns the others. A page that cannot be read is said.
    async fn expired<K>(&self, kind: RbacKind) -> (Vec<ObjectMarks>, Report)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let (mut standing, mut found) = (Vec::new(), Report::default());
        let api: Api<K> = Api::all(self.client.clone());
        let ours = format!("{MANAGED_BY}={MANAGED_BY_LAPSE}");
        let mut params = ListParams::default().labels(&ours).limit(PAGE);
        loop {
            self.beats.beat();
            let page = bounded(format!("listing {kind}s"), api.list_metadata(&params)).await;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    warn!(%error, "the sweep goes on with what else there is");
                    found.blind.push(error.to_string());
                    return (standing, found);
                }
            };
            found.revision = page.metadata.resource_version.clone().or(found.revision.take());
            let mut over = Vec::new();
            for item in &page.items {
                // One over which that panics keeps no other.
                let judged = caught(PANIC, || {
                    let object = ObjectMarks::of(kind, &item.metadata);
                    let unknown = Read::Failed("not asked for".to_owned());
                    let fate = fate(&object, &unknown, self.home, self.clock.now());
                    (object, fate)
                });
                match judged {
                    Some((object, Fate::Remove(why))) => over.push((object, why)),
                    Some((object, Fate::Keep)) => standing.push(object),
                    None => found.blind.push(PANICKED.to_owned()),
                }
            }
            // Where some cannot be deleted, others come first in the next round.
            let over = rotated(over);
            let taken: Vec<BoxFuture<'_, Report>> =
                over.iter().map(|(object, why)| self.take(object, why).boxed()).collect();
            let taken: Vec<Report> = stream::iter(taken).buffer_unordered(AT_ONCE).collect().await;
            for one in taken {
                found.add(one);
            }
            match next_page(params, &page.metadata) {
                Some(next) => params = next,
                None => return (standing, found),
            }
        }
    }

    /// Looks at the Grant of an object, and removes it if there is none that lives.
    async fn judge(&self, object: ObjectMarks) -> Report {
        self.beats.beat();
        let grant = match &object.grant {
            Some(name) => self.grant(name).await,
            None => Ok(Read::Missing),
        };
        let grant = match grant {
            Ok(grant) => grant,
            // It is told on the Grant itself, and counted; its objects go at their own end.
            Err(why) => {
                warn!(grant = object.grant, error = %why, "its objects go at their own end");
                return Report { unreadable: 1, ..Report::default() };
            }
        };
        let blind = match &grant {
            Read::Failed(why) => vec![why.clone()],
            Read::Found(_) | Read::Missing => Vec::new(),
        };
        let mut found = Report { blind, ..Report::default() };
        if let Fate::Remove(why) = fate(&object, &grant, self.home, self.clock.now()) {
            found.add(self.take(&object, &why).await);
        }
        found
    }

    /// Removes an object. In a namespace where that got no answer it is not tried again in this round: one in which
    /// somebody's admission webhook hangs is not to use it up.
    async fn take(&self, object: &ObjectMarks, why: &str) -> Report {
        self.beats.beat();
        if self.hanging().contains(&object.namespace) {
            return Report { failed: 1, ..Report::default() };
        }
        match remove(self.client, object, why).await {
            Ok(was_there) => Report { removed: was_there.into(), ..Report::default() },
            Err(error) => {
                warn!(%error, "an object could not be removed");
                if matches!(error, CallError::TimedOut { .. }) {
                    self.hanging().insert(object.namespace.clone());
                }
                Report { failed: 1, ..Report::default() }
            }
        }
    }

    /// The Grants that are not over, by name, with their UID.
    async fn live_grants(&self) -> Result<HashMap<String, String>, CallError> {
        let api: Api<Grant> = Api::all(self.client.clone());
        let mut params = ListParams::default().fields("status.phase!=Ended").limit(PAGE);
        let mut live = HashMap::new();
        loop {
            self.beats.beat();
            let page = bounded("listing the live Grants", api.list_metadata(&params)).await?;
            let is_there =
                |item: &&PartialObjectMeta<Grant>| item.metadata.deletion_timestamp.is_none();
            let pairs = page.items.iter().filter(is_there);
            live.extend(
                pairs.filter_map(|item| Some((item.name_any(), item.metadata.uid.clone()?))),
            );
            match next_page(params, &page.metadata) {
                Some(next) => params = next,
                None => return Ok(live),
            }
        }
    }

    /// A Grant; or why what stands under its name cannot be decoded.
    async fn grant(&self, name: &str) -> Result<Read<Grant>, String> {
        let api: Api<Stored<Grant>> = Api::all(self.client.clone());
        match read(bounded(format!("reading Grant {name}"), api.get(name)).await) {
            Read::Found(stored) => stored.object().map(Read::Found),
            Read::Missing => Ok(Read::Missing),
            Read::Failed(why) => Ok(Read::Failed(why)),
        }
    }
}

#[cfg(test)]
mod tests;
