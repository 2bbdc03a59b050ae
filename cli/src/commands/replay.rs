//! Which past requests would be decided differently under changed policies.
//!
//! Each is judged twice, by the policies of the cluster and by the changed ones, as of when it was made, with roles and
//! namespaces as they are now. What else its requester asked for and held is left out of both.

use std::collections::HashMap;

use anstream::eprintln;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::ListParams;
use lapse_cluster::Reader;
use lapse_cluster::index::Index;
use lapse_crds::{AccessRequest, Identity, JitPolicy, created_at};
use lapse_engine::attest::KeySet;
use lapse_engine::policy::{Policies, PolicyState};
use lapse_engine::role::RoleRules;
use lapse_engine::surroundings::Surroundings;
use lapse_engine::target::ResolvedTarget;
use lapse_engine::{Read, Settings};
use serde::Serialize;
use tokio::sync::watch;

use crate::args::{Format, Replayed};
use crate::assumed;
use crate::fault::Fault;
use crate::installation::{self, USUAL, allowed};
use crate::manifests;
use crate::output::{Table, plain, whole};
use crate::pages::Pages;
use crate::session::Session;
use crate::story;
use crate::trial::{Ground, Judgement, Verdict, judge, state_of};

/// How many requests are looked at at once.
const AT_ONCE: usize = 8;
/// How many targets are remembered with what is known of them.
const REMEMBERED: usize = 512;

/// A request that would be decided differently.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    namespace: String,
    request: String,
    requester: String,
    target: String,
    now: Outcome,
    changed: Outcome,
}

/// What comes of a request, without its checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    why: String,
}

impl From<Judgement> for Outcome {
    fn from(judgement: Judgement) -> Self {
        let Judgement { verdict, why, policy, checks: _, candidates: _ } = judgement;
        Self { verdict, policy, why }
    }
}

impl Outcome {
    fn brief(&self) -> String {
        let by =
            self.policy.as_ref().map(|policy| format!(" ({})", plain(policy))).unwrap_or_default();
        format!("{:?}{by}", self.verdict)
    }

    /// Whether people would notice: what is refused is refused, by whatever policy and in whatever words.
    fn is_other_than(&self, other: &Self) -> bool {
        let given_by = |outcome: &Self| match outcome.verdict {
            Verdict::Denied | Verdict::Unknown => None,
            Verdict::Granted => Some((outcome.policy.clone(), String::new())),
            Verdict::Pending => Some((outcome.policy.clone(), outcome.why.clone())),
        };
        self.verdict != other.verdict || given_by(self) != given_by(other)
    }
}

pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    replayed: &Replayed,
    all_namespaces: bool,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let format = Format::of_values(format)?;
    let given = manifests::policies(&replayed.files)?;
    let mut standing = Vec::new();
    let pages = Pages::of(session, "listing policies", session.policies(), ListParams::default());
    pages.each(|policy: JitPolicy| standing.push(policy)).await?;
    let settings = settings(session, replayed.installation.as_deref(), &standing, &given).await?;
    let before: Policies =
        standing.iter().map(|policy| PolicyState::of(policy, &settings)).collect();
    let mut after = before.clone();
    for name in &replayed.without {
        if before.get(name).is_none() {
            return Err(Fault::Usage(format!(
                "--without: there is no JitPolicy {name} in the cluster"
            )));
        }
        after.remove(name);
    }
    for policy in &given {
        after.insert(state_of(policy, &settings)?);
    }
    let mut replay = Replay::new(session, settings, before, after);
    replay.all(session, all_namespaces, replayed.since.since(now)).await?;
    replay.tell(format)
}

async fn settings(
    session: &Session,
    home: Option<&str>,
    standing: &[JitPolicy],
    given: &[JitPolicy],
) -> Result<Settings, Fault> {
    match installation::settings(session, home.unwrap_or(USUAL)).await {
        Ok(Some(map)) => allowed(&map)
            .map_err(|why| Fault::Other(format!("reading the settings of Lapse: {why}"))),
        Err(fault) if !fault.is_forbidden() => Err(fault),
        Ok(None) | Err(_) => {
            eprintln!(
                "Assumed: the installation allows what the policies offer, for 5m to 24h; its settings cannot be read in \
                 namespace {}.",
                home.unwrap_or(USUAL)
            );
            assumed::settings(&[standing, given].concat())
        }
    }
}

/// Both sets of policies, and what is found.
struct Replay {
    reader: Reader,
    settings: Settings,
    before: Policies,
    after: Policies,
    /// What is known of targets, by all that it depends on. What could not be read is kept for one page alone.
    known: HashMap<String, (Read<RoleRules>, Surroundings)>,
    differences: Vec<Difference>,
    judged: usize,
    unknown: usize,
}

impl Replay {
    fn new(session: &Session, settings: Settings, before: Policies, after: Policies) -> Self {
        // It is asked for what stands in the cluster now, and for nothing that it would have to be told.
        let (_, keys) = watch::channel(KeySet::default());
        let index = Index::new(settings.clone(), keys.clone(), false);
        let reader = Reader::new(session.client.clone(), index, keys).waiting_for(session.limit);
        let (known, differences) = (HashMap::new(), Vec::new());
        Self { reader, settings, before, after, known, differences, judged: 0, unknown: 0 }
    }

    async fn all(
        &mut self,
        session: &Session,
        all_namespaces: bool,
        since: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let api = session.requests_in(all_namespaces);
        let params = ListParams::default();
        let mut pages = Pages::of(session, "listing requests", api, params).passing_over();
        while let Some(page) = pages.next().await? {
            let made = |request: &AccessRequest| created_at(&request.metadata);
            let page: Vec<AccessRequest> = page
                .into_iter()
                .filter(|request| made(request).is_some_and(|at| at >= since))
                .collect();
            self.look(&page).await;
            for request in &page {
                if let Some(at) = made(request) {
                    self.one(request, at).await;
                }
            }
        }
        Ok(())
    }

    /// Looks up what is not known of the targets of a page, several at a time.
    async fn look(&mut self, page: &[AccessRequest]) {
        self.known.retain(|_, (role, surroundings)| {
            !matches!(role, Read::Failed(_)) && surroundings.failure().is_none()
        });
        let mut lacking: HashMap<String, ResolvedTarget> = HashMap::new();
        for target in page.iter().filter_map(target_of) {
            let key = format!("{target:?}");
            if !self.known.contains_key(&key) {
                lacking.insert(key, target);
            }
        }
        if self.known.len() + lacking.len() > REMEMBERED {
            self.known.clear();
            lacking = page
                .iter()
                .filter_map(target_of)
                .map(|target| (format!("{target:?}"), target))
                .collect();
        }
        let reader = &self.reader;
        let looked = stream::iter(lacking).map(async |(key, target)| {
            let known = futures::join!(reader.role(&target), reader.surroundings(&target, None));
            (key, known)
        });
        let looked: Vec<_> = looked.buffer_unordered(AT_ONCE).collect().await;
        self.known.extend(looked);
    }

    async fn one(&mut self, request: &AccessRequest, at: DateTime<Utc>) {
        let (Some(requester), Some(target)) = (&request.spec.requester, target_of(request)) else {
            return;
        };
        let Some((role, mut surroundings)) = self.known.get(&format!("{target:?}")).cloned() else {
            return;
        };
        // Few are made on a workstation.
        if let Some(origin) = &request.spec.origin {
            surroundings.origin = Some(self.reader.endpoint(&origin.endpoint).await);
        }
        let (now, changed) = futures::join!(
            self.judged_by(&self.before, request, requester, &target, (&role, &surroundings), at),
            self.judged_by(&self.after, request, requester, &target, (&role, &surroundings), at),
        );
        self.judged += 1;
        if [&now, &changed].iter().any(|outcome| outcome.verdict == Verdict::Unknown) {
            self.unknown += 1;
        } else if changed.is_other_than(&now) {
            self.differences.push(Difference {
                namespace: request.namespace().unwrap_or_default(),
                request: request.name_any(),
                requester: requester.username.clone(),
                target: story::target(request),
                now,
                changed,
            });
        }
    }

    async fn judged_by(
        &self,
        policies: &Policies,
        request: &AccessRequest,
        requester: &Identity,
        target: &ResolvedTarget,
        (role, surroundings): (&Read<RoleRules>, &Surroundings),
        at: DateTime<Utc>,
    ) -> Outcome {
        let banned_roles = self.reader.banned_roles(policies, requester, target).await;
        let ground = Ground {
            policies: policies.clone(),
            role: role.clone(),
            banned_roles,
            surroundings: surroundings.clone(),
            settings: self.settings.clone(),
        };
        judge(request, requester, target, &ground, at).into()
    }

    fn tell(&self, format: Option<Format>) -> Result<(), Fault> {
        let Self { differences, judged, unknown, .. } = self;
        match format {
            Some(format) => whole(differences, format)?,
            None if differences.is_empty() => {}
            None => {
                let mut table = Table::new(&[
                    "NAMESPACE",
                    "REQUEST",
                    "REQUESTER",
                    "TARGET",
                    "NOW",
                    "CHANGED",
                    "WHY",
                ]);
                for Difference { namespace, request, requester, target, now, changed } in
                    differences
                {
                    let why = plain(&changed.why);
                    let (namespace, request) = (namespace.clone(), request.clone());
                    let (requester, target) = (plain(requester), target.clone());
                    table.row([
                        namespace,
                        request,
                        requester,
                        target,
                        now.brief(),
                        changed.brief(),
                        why,
                    ]);
                }
                table.print()?;
            }
        }
        eprintln!("{} of {judged} requests would be decided differently.", differences.len());
        if *unknown > 0 {
            return Err(Fault::Other(format!(
                "{unknown} of {judged} requests could not be judged: their roles, namespaces or endpoints cannot be read"
            )));
        }
        Ok(())
    }
}

fn target_of(request: &AccessRequest) -> Option<ResolvedTarget> {
    ResolvedTarget::resolve(&request.spec.target, &request.namespace().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::testing::{Asked, page, refusal, request, session};

    fn edit() -> Value {
        json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}})
    }

    fn cluster_role() -> Value {
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
        json!({"metadata": {"name": "edit"}, "rules": rules})
    }

    /// All requests of an API server, judged twice by a policy that offers what they ask for.
    async fn replayed(
        seconds: u64,
        answer: impl Fn(&Asked) -> Option<Value> + Send + 'static,
    ) -> Replay {
        let role = json!({"kind": "ClusterRole", "name": "edit"});
        let policy: JitPolicy = serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "shop"},
            "spec": {
                "requesters": [{"kind": "Group", "name": "developers"}],
                "targets": [{"kubernetes": {"roles": [role], "namespaces": {"names": ["shop"]}}}],
            },
        }))
        .unwrap();
        let session = session(seconds, answer);
        let settings = assumed::settings(std::slice::from_ref(&policy)).unwrap();
        let policies: Policies = [PolicyState::of(&policy, &settings)].into_iter().collect();
        let mut replay = Replay::new(&session, settings, policies.clone(), policies);
        replay.all(&session, false, DateTime::UNIX_EPOCH).await.unwrap();
        replay
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_read_again_for_the_next_page() {
        let reads = AtomicUsize::new(0);
        let replay = replayed(30, move |asked| {
            Some(match (asked.last(), asked.parameter("continue")) {
                ("accessrequests", None) => page(&[request("one", &edit())], "two"),
                ("accessrequests", Some(more)) if more == "two" => {
                    page(&[request("two", &edit())], "three")
                }
                ("accessrequests", Some(_)) => page(&[request("three", &edit())], ""),
                ("edit", _) if reads.fetch_add(1, Ordering::Relaxed) == 0 => {
                    refusal(500, "InternalError", "the store does not answer")
                }
                ("edit", _) if reads.load(Ordering::Relaxed) == 2 => cluster_role(),
                ("shop", _) => json!({"metadata": {"name": "shop", "labels": {}}}),
                (other, _) => panic!("{other} is known, and is read again"),
            })
        });
        let replay = replay.await;
        assert_eq!((replay.judged, replay.unknown), (3, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_looked_up_is_waited_for_as_long_as_people_say() {
        let began = Instant::now();
        let requests = |asked: &Asked| {
            (asked.last() == "accessrequests").then(|| page(&[request("one", &edit())], ""))
        };
        let replay = replayed(45, requests).await;
        assert_eq!((replay.judged, replay.unknown), (1, 1));
        assert_eq!(began.elapsed(), Duration::from_secs(45));
    }
}
