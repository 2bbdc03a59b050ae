//! A control plane with Lapse and a gateway, and its Endpoints.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_agent::identity::HostKey;
use lapse_cluster::ENDPOINT_TRUST;
use lapse_crds::{AccessRequest, Endpoint, JitPolicy, SigningRequest};
use lapse_engine::endpoint::hash_of_token;
use lapse_engine::order::{PublishedTrust, TrustStore};
use serde_json::json;

use super::super::setting::Setting;
use super::super::town::{AT_ONCE, NAMESPACE, PEOPLE, POLICY, names, person};
use super::agent::{Agent, Enrolled};
use crate::plane::install::NAMESPACE as SYSTEM;
use crate::plane::{InstallOptions, Lapse, PlaneOptions, Progress, SOON, User, eventually};

/// The token of all of them: each Endpoint knows by itself whether it was used.
const TOKEN: &str = "a-token-that-is-good-for-one-enrolment-of-each-host";

/// What the gateway is measured in.
pub(super) struct Hosts {
    pub(super) lapse: Lapse,
    pub(super) admin: User,
    people: Vec<User>,
    names: Vec<String>,
    enrolled: Vec<Arc<Enrolled>>,
    authorities: String,
    took: f64,
}

impl Hosts {
    /// With so many Endpoints, each of which an agent has enrolled for.
    pub(super) async fn found(setting: &Setting, count: usize) -> Result<Self> {
        let plane = PlaneOptions { folder: setting.folder.clone(), ..PlaneOptions::default() };
        let programs = setting.programs.clone();
        let install = InstallOptions { gateways: 1, programs, ..InstallOptions::default() };
        let lapse = Lapse::start(plane, install).await?;
        let admin = lapse.plane().admin().await?;
        let mut people = Vec::new();
        for index in 0..PEOPLE {
            people.push(lapse.plane().user(&person(index), &["askers"]).await?);
        }
        settle(&admin).await?;
        let authorities = authorities(&admin).await?;

        Progress::Steps.step(&format!("making {count} Endpoints, and enrolling their agents"));
        let (names, begun) = (names("host", count), Instant::now());
        let gateway = lapse.plane().service_account(SYSTEM, "lapse-gateway").await?;
        let (as_admin, as_gateway) =
            (Api::all(admin.client.clone()), Api::all(gateway.client.clone()));
        let enrolling = names.iter().enumerate().map(|(index, name)| {
            let (as_admin, as_gateway) = (&as_admin, &as_gateway);
            async move {
                let enrolled = enrol(as_admin, as_gateway, index, name).await;
                enrolled.with_context(|| format!("enrolling {name}"))
            }
        });
        let enrolled =
            stream::iter(enrolling).buffered(AT_ONCE).map_ok(Arc::new).try_collect().await?;
        let took = begun.elapsed().as_secs_f64();
        Ok(Self { lapse, admin, people, names, enrolled, authorities, took })
    }

    /// How the agents were enrolled.
    pub(super) fn enrolled_words(&self) -> String {
        format!(
            "Endpoints made and enrolled in {:.0} s with the gateway's own token, past its limit of 20 a second",
            self.took
        )
    }

    /// Their agents.
    pub(super) fn agents(&self) -> Result<Vec<Agent>> {
        let gateway = self.lapse.gateways.first().and_then(|gateway| gateway.served);
        let address = format!("https://{}", gateway.context("there is no gateway")?);
        let agent = |(number, enrolled): (usize, &Arc<Enrolled>)| {
            Agent::new(number, Arc::clone(enrolled), address.clone(), &self.authorities)
        };
        self.enrolled.iter().enumerate().map(agent).collect()
    }

    /// Somebody asks for a right on a host of this number, which nobody needs to approve.
    pub(super) async fn ask(&self, index: usize) -> Result<()> {
        let person = self.people.get(index % PEOPLE).context("there are no people")?;
        let host = self.names.get(index).context("there is no such host")?;
        let requests: Api<AccessRequest> = Api::namespaced(person.client.clone(), NAMESPACE);
        let request = serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": format!("order-{index:05}"), "namespace": NAMESPACE},
            "spec": {
                "policy": POLICY,
                "target": {"endpoint": {"name": host, "admin": {}}},
                "duration": "4h",
                "reason": "How long does it take?",
            },
        }))?;
        let created = requests.create(&PostParams::default(), &request).await;
        created.with_context(|| format!("asking for a right on {host}"))?;
        Ok(())
    }
}

/// Makes an Endpoint, and enrols an agent for it with the same write that the gateway makes.
async fn enrol(
    as_admin: &Api<Endpoint>,
    as_gateway: &Api<Endpoint>,
    index: usize,
    name: &str,
) -> Result<Enrolled> {
    let user = json!({"kind": "User", "name": person(index % PEOPLE)});
    let endpoint = serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint",
        "metadata": {"name": name, "labels": {"role": "bench"}},
        "spec": {
            "platform": "Linux",
            "users": [{"subject": user, "localUser": "al"}],
            "enrolment": {"tokenHash": hash_of_token(TOKEN), "expiresAt": "2099-01-01T00:00:00Z"},
        },
    }))?;
    let made = as_admin.create(&PostParams::default(), &endpoint).await?;
    let (key, machine) = (HostKey::generate()?, format!("sha256:{index:064x}"));
    let asked = SigningRequest {
        csr: key.certificate_request()?,
        token: Some(TOKEN.to_owned()),
        machine: Some(machine.clone()),
    };
    let uid = made.uid().context("it has no UID")?;
    let patch = json!({"metadata": {"uid": uid}, "status": {"signing": asked}});
    let params = PatchParams::default();
    let signed = as_gateway.patch_status(name, &params, &Patch::Merge(&patch)).await?;
    let agent = signed.status.and_then(|status| status.agent).context("nobody has answered")?;
    Ok(Enrolled { uid, machine, key, certificate: agent.certificate })
}

/// Who signs the certificate of the gateway, as agents are told.
async fn authorities(admin: &User) -> Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(admin.client.clone(), SYSTEM);
    let said = maps.get(ENDPOINT_TRUST).await?.data.unwrap_or_default();
    let of = |key: &str| said.get(key).with_context(|| format!("{ENDPOINT_TRUST} has no {key}"));
    let published: PublishedTrust = serde_json::from_str(of("trust.json")?)?;
    Ok(TrustStore::pinned(&published, of("pin")?)?.authorities().to_owned())
}

/// The namespace in which people ask, and what they may have.
async fn settle(admin: &User) -> Result<()> {
    let post = PostParams::default();
    let namespaces: Api<Namespace> = Api::all(admin.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    namespaces.create(&post, &namespace).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(admin.client.clone(), NAMESPACE);
    let group = "rbac.authorization.k8s.io";
    let ask = serde_json::from_value(json!({
        "metadata": {"name": "ask", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "lapse:requester"},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "askers"}],
    }))?;
    bindings.create(&post, &ask).await?;
    let policies: Api<JitPolicy> = Api::all(admin.client.clone());
    let policy = serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": POLICY},
        "spec": {
            "requesters": [{"kind": "Group", "name": "askers"}],
            "targets": [{"endpoint": {"selector": {"matchLabels": {"role": "bench"}}, "admin": {}}}],
            "duration": {"default": "5m", "max": "8h"},
            "limits": {"openRequestsPerUser": 1000, "activeGrantsPerUser": 1000},
        },
    }))?;
    policies.create(&post, &policy).await?;
    eventually("the policy to be reported on", SOON, async || {
        let policy = policies.get(POLICY).await?;
        let observed = policy.status.and_then(|status| status.observed_generation);
        Ok((observed == policy.metadata.generation).then_some(()))
    })
    .await
}
