//! The cluster: its objects, and what people do to them.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ObjectMeta;
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy, Verdict};

use crate::attest::Attested;
use crate::grant::{LiveObject, ObjectSpec};
use crate::policy::Policies;
use crate::role::RoleRules;
use crate::testing::life::{asked, bob, decision, deleted_at, live, role, state};
use crate::testing::{person, policy};

pub(super) const NAMESPACES: [&str; 2] = ["shop", "shop-staging"];
/// The objects of the grant: a binding in each namespace, and the marker in that of Lapse.
pub(super) const OBJECTS: usize = NAMESPACES.len() + 1;

/// What people do, and time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Approve,
    Deny,
    End,
    Wait(i64),
    DeleteGrant,
    DeleteRequest,
    DeleteBinding,
    ChangeBinding,
    EditPolicy,
    BreakPolicy,
    DeletePolicy,
    ChangeRole,
}

/// The objects as the API server holds them. The version of an object grows with each write.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// Seconds since alice asked.
    pub(super) now: i64,
    pub(super) request: Option<AccessRequest>,
    pub(super) decisions: Vec<Attested<AccessDecision>>,
    pub(super) policy: Option<JitPolicy>,
    pub(super) role: RoleRules,
    pub(super) grant: Option<Grant>,
    /// By the namespace where they stand.
    pub(super) bindings: BTreeMap<String, (ObjectSpec, LiveObject)>,
    /// The Grants that ever had a binding while they were live.
    pub(super) given: BTreeSet<String>,
    counter: u32,
}

impl Default for World {
    fn default() -> Self {
        let mut request = asked().request.object;
        let target = request.spec.target.kubernetes.as_mut().unwrap();
        target.namespaces = NAMESPACES.iter().map(ToString::to_string).collect();
        Self {
            now: 0,
            request: Some(request),
            decisions: vec![],
            policy: Some(policy("shop-debug")),
            role: role("get"),
            grant: None,
            bindings: BTreeMap::new(),
            given: BTreeSet::new(),
            counter: 0,
        }
    }
}

impl World {
    /// The policy as the controllers see it. To compile it takes most of the time of a look.
    pub(super) fn policies(&self) -> Policies {
        self.policy.iter().map(state).collect()
    }

    /// Everything of it that can change, in words.
    pub(super) fn describe(&self) -> String {
        let Self { now, request, decisions, policy, role, grant, bindings, given, counter: _ } =
            self;
        let said: Vec<_> = decisions
            .iter()
            .map(|said| (said.object.spec.verdict, &said.object.metadata.name))
            .collect();
        let policy =
            policy.as_ref().map(|policy| (policy.metadata.generation, &policy.spec.duration));
        let request = request.as_ref().map(describe_request);
        let grant = grant.as_ref().map(describe_grant);
        let live: Vec<_> = bindings.values().map(|(_, live)| live).collect();
        format!(
            "{now} {request:?} {said:?} {policy:?} {} {grant:?} {live:?} {given:?}",
            role.hash()
        )
    }

    pub(super) fn happens(&mut self, event: Event) {
        match event {
            Event::Wait(seconds) => self.now += seconds,
            Event::Approve => self.says(Verdict::Approve, bob()),
            Event::Deny => self.says(Verdict::Deny, bob()),
            Event::End => self.says(Verdict::End, person("alice", &[])),
            Event::DeleteRequest => self.request = None,
            Event::DeleteBinding => drop(self.bindings.pop_first()),
            Event::ChangeBinding => {
                if let Some(mut entry) = self.bindings.first_entry() {
                    entry.get_mut().1.subjects()[0].2 = "mallory".into();
                }
            }
            Event::EditPolicy => {
                if let Some(policy) = &mut self.policy {
                    *policy.metadata.generation.as_mut().unwrap() += 1;
                }
            }
            Event::BreakPolicy => {
                if let Some(policy) = &mut self.policy {
                    *policy.metadata.generation.as_mut().unwrap() += 1;
                    policy.spec.duration.as_mut().unwrap().max = "48h".parse().ok();
                }
            }
            Event::DeletePolicy => self.policy = None,
            Event::ChangeRole => self.role = role("get list"),
            Event::DeleteGrant => {
                if let Some(grant) = &mut self.grant {
                    grant.metadata.deletion_timestamp = Some(deleted_at());
                    self.touch_grant();
                }
            }
        }
    }

    /// A decision as admission stamps it: upon what there is at this moment.
    fn says(&mut self, verdict: Verdict, who: lapse_crds::Identity) {
        let Some(policy) = &self.policy else { return };
        let mut said = decision(verdict, who, self.now);
        let upon = said.object.spec.policy.as_mut().unwrap();
        upon.generation = policy.metadata.generation.unwrap();
        said.object.spec.rules_hash = Some(self.role.hash());
        said.object.spec.rules = self.role.to_keep();
        if let Ok(attestation) = &mut said.attestation {
            attestation.nonce = self.next("nonce");
        }
        self.decisions.push(said);
    }

    fn next(&mut self, what: &str) -> String {
        self.counter += 1;
        format!("{what}-{}", self.counter)
    }

    fn touch_grant(&mut self) {
        let version = self.next("version");
        if let Some(grant) = &mut self.grant {
            grant.metadata.resource_version = Some(version);
        }
    }

    /// POST of a Grant. Fails if the name is taken.
    pub(super) fn create_grant(&mut self, mut grant: Grant) -> Result<(), ()> {
        if self.grant.is_some() {
            return Err(());
        }
        grant.metadata.uid = Some(self.next("grant"));
        grant.metadata.generation = Some(1);
        self.grant = Some(grant);
        self.touch_grant();
        Ok(())
    }

    /// Replaces the Grant, its status or its finalizers. Fails if somebody wrote in between.
    pub(super) fn replace_grant(&mut self, grant: Grant) -> Result<(), ()> {
        let version = |grant: &Grant| grant.metadata.resource_version.clone();
        if self.grant.as_ref().map(version) != Some(version(&grant)) {
            return Err(());
        }
        let is_gone =
            grant.metadata.deletion_timestamp.is_some() && grant.metadata.finalizers.is_none();
        self.grant = Some(grant).filter(|_| !is_gone);
        self.touch_grant();
        Ok(())
    }

    /// Replaces the status of the request. Fails if somebody wrote in between.
    pub(super) fn replace_request(&mut self, mut request: AccessRequest) -> Result<(), ()> {
        let version = |request: &AccessRequest| request.metadata.resource_version.clone();
        if self.request.as_ref().map(version) != Some(version(&request)) {
            return Err(());
        }
        request.metadata.resource_version = Some(self.next("version"));
        self.request = Some(request);
        Ok(())
    }

    /// POST of a binding. Fails if the name is taken.
    pub(super) fn create_binding(&mut self, spec: ObjectSpec, grant_uid: &str) -> Result<(), ()> {
        let namespace = spec.place.namespace.clone().unwrap();
        if self.bindings.contains_key(&namespace) {
            return Err(());
        }
        let live = live(&spec, &self.next("binding"), grant_uid);
        self.bindings.insert(namespace, (spec, live));
        // A binding that comes after the end of its Grant gives nothing new: it is swept away.
        let ended = |grant: &Grant| {
            grant.status.as_ref().is_some_and(|s| s.phase == lapse_crds::GrantPhase::Ended)
        };
        let stands = self.grant.as_ref().filter(|grant| !ended(grant));
        if stands.is_some_and(|grant| grant.metadata.uid.as_deref() == Some(grant_uid)) {
            self.given.insert(grant_uid.to_owned());
        }
        Ok(())
    }

    /// DELETE of a binding with its UID as a precondition.
    pub(super) fn delete_binding(&mut self, uid: &str) {
        self.bindings.retain(|_, (_, live)| live.uid != uid);
    }
}

/// A request without what never changes.
pub(super) fn describe_request(request: &AccessRequest) -> String {
    let AccessRequest { metadata, status, .. } = request;
    format!("{:?} {}", metadata.resource_version, serde_json::to_string(status).unwrap())
}

/// A Grant without what never changes, and what follows from its request.
pub(super) fn describe_grant(grant: &Grant) -> String {
    let Grant { metadata, spec, status } = grant;
    let ObjectMeta { uid, resource_version, deletion_timestamp, finalizers, .. } = metadata;
    let status = serde_json::to_string(status).unwrap();
    let ends = (&spec.starts_at, &spec.expires_at, &spec.rules_hash);
    format!("{uid:?} {resource_version:?} {deletion_timestamp:?} {finalizers:?} {ends:?} {status}")
}
