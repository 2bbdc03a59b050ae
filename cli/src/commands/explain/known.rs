//! What is known without a cluster: what manifests say, and what is assumed beside them, which is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::ResourceExt as _;
use lapse_crds::{Endpoint, Identity, JitPolicy, RoleKind, RoleRef};
use lapse_engine::endpoint::EndpointFacts;
use lapse_engine::policy::{BannedRoles, Policies};
use lapse_engine::role::RoleRules;
use lapse_engine::surroundings::Surroundings;
use lapse_engine::target::{Namespace as Labelled, Privilege, ResolvedTarget};
use lapse_engine::{Read, Settings};

use crate::assumed;
use crate::fault::Fault;
use crate::installation::{ALLOWED, SETTINGS, allowed};
use crate::manifests::{self, Manifest};
use crate::trial::Ground;

/// The name that every namespace has as a label.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Without a namespace a `ClusterRole`.
type RoleKey = (Option<String>, String);

/// What manifests say.
#[derive(Default)]
pub(super) struct Known {
    roles: BTreeMap<RoleKey, Vec<PolicyRule>>,
    namespaces: BTreeMap<String, Labelled>,
    endpoints: BTreeMap<String, EndpointFacts>,
    settings: Option<Settings>,
    assumed: BTreeSet<String>,
}

impl Known {
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Fault> {
        let mut known = Self::default();
        for file in files {
            for manifest in manifests::read(file)? {
                known.note(&manifest)?;
            }
        }
        Ok(known)
    }

    fn note(&mut self, manifest: &Manifest) -> Result<(), Fault> {
        if manifest.is::<ClusterRole>() {
            let role: ClusterRole = manifest.object()?;
            let rules = role.rules.clone().unwrap_or_default();
            if role.aggregation_rule.is_some() && rules.is_empty() {
                return Err(manifest.wrong(&format!(
                    "the rules of ClusterRole {0} are filled in by the cluster; take it from there: kubectl get clusterrole {0} -o yaml",
                    role.name_any()
                )));
            }
            self.roles.insert((None, role.name_any()), rules);
        } else if manifest.is::<Role>() {
            let role: Role = manifest.object()?;
            let namespace = role.namespace().ok_or_else(|| {
                manifest.wrong("a Role without metadata.namespace; write in which namespace it is")
            })?;
            let key = (Some(namespace), role.name_any());
            self.roles.insert(key, role.rules.unwrap_or_default());
        } else if manifest.is::<Namespace>() {
            let namespace: Namespace = manifest.object()?;
            let name = namespace.name_any();
            let mut labels = namespace.metadata.labels.unwrap_or_default();
            labels.insert(NAME_LABEL.to_owned(), name.clone());
            self.namespaces.insert(name, Labelled { labels, is_going: false });
        } else if manifest.is::<Endpoint>() {
            let endpoint: Endpoint = manifest.object()?;
            self.endpoints.insert(endpoint.name_any(), EndpointFacts::of(&endpoint));
        } else if manifest.is::<ConfigMap>() {
            let map: ConfigMap = manifest.object()?;
            let has_settings = map.data.as_ref().is_some_and(|data| data.contains_key(ALLOWED));
            if map.name_any() != SETTINGS || !has_settings {
                return Err(manifest.wrong(&format!(
                    "the only ConfigMap that affects requests is {SETTINGS}, by its {ALLOWED}"
                )));
            }
            let settings =
                allowed(&map).map_err(|why| manifest.wrong(&format!("{ALLOWED}: {why}")))?;
            self.settings = Some(settings);
        } else {
            return Err(manifest.wrong(&format!(
                "it is {}; what affects requests are ClusterRoles, Roles, Namespaces, Endpoints and ConfigMap \
                 {SETTINGS}",
                manifest.kind()
            )));
        }
        Ok(())
    }

    pub(super) fn assume(&mut self, text: impl Into<String>) {
        self.assumed.insert(text.into());
    }

    pub(super) fn assumed(self) -> Vec<String> {
        self.assumed.into_iter().collect()
    }

    /// What the installation allows: what its settings say, or what the policies offer.
    pub(super) fn settings(&mut self, policies: &[JitPolicy]) -> Result<Settings, Fault> {
        if let Some(settings) = &self.settings {
            return Ok(settings.clone());
        }
        self.assume(
            "the installation allows what the policies offer, for 5m to 24h, and protects kube-*; give its settings \
             with --with: kubectl -n lapse-system get configmap lapse-settings -o yaml",
        );
        assumed::settings(policies)
    }

    /// What bears on a request.
    pub(super) fn ground(
        &mut self,
        given: &[JitPolicy],
        policies: Policies,
        settings: Settings,
        requester: &Identity,
        target: &ResolvedTarget,
    ) -> Ground {
        let role = self.role_of(target);
        let banned: BannedRoles = policies
            .banned_roles(requester, target)
            .into_iter()
            .map(|role| (role.clone(), self.banned(role, target)))
            .collect();
        let selects = |policy: &JitPolicy| {
            let targets =
                policy.spec.targets.iter().filter_map(|target| target.kubernetes.as_ref());
            targets
                .filter_map(|target| target.namespaces.as_ref())
                .any(|set| set.selector.is_some())
        };
        let by_labels = given.iter().any(selects);
        let names: Vec<String> = target.namespaces().map(ToOwned::to_owned).collect();
        let namespaces = names
            .into_iter()
            .map(|name| (name.clone(), self.namespace(&name, by_labels)))
            .collect();
        let endpoint = target.scope.endpoint().map(|place| match self.endpoints.get(&place.name) {
            Some(facts) => Read::Found(facts.clone()),
            None => Read::Failed(lacks(&format!("endpoint {}", place.name))),
        });
        // Whether an agent has signed it in time is for admission to say.
        let surroundings = Surroundings { namespaces, endpoint, origin: None };
        Ground { policies, role, banned_roles: banned, surroundings, settings }
    }

    fn namespace(&mut self, name: &str, by_labels: bool) -> Read<Labelled> {
        match self.namespaces.get(name) {
            Some(known) => Read::Found(known.clone()),
            None if by_labels => Read::Failed(format!(
                "a policy selects by labels; {}",
                lacks(&format!("namespace {name}"))
            )),
            None => {
                self.assume(format!("namespace {name} exists"));
                let labels = BTreeMap::from([(NAME_LABEL.to_owned(), name.to_owned())]);
                Read::Found(Labelled { labels, is_going: false })
            }
        }
    }

    /// The rules of the role that is asked for.
    fn role_of(&mut self, target: &ResolvedTarget) -> Read<RoleRules> {
        let role = match &target.privilege {
            Privilege::Role(role) => role,
            Privilege::Rules(_) => {
                return RoleRules::spelled_out(target).map_or(Read::Missing, Read::Found);
            }
            // What is held on a host allows nothing in the cluster.
            Privilege::Elevation(_) => return Read::Found(RoleRules::default()),
        };
        self.assume("no service account within reach of the role may do more than the role itself");
        let places: Vec<Option<String>> = match role.kind {
            RoleKind::ClusterRole => vec![None],
            RoleKind::Role => target.namespaces().map(|name| Some(name.to_owned())).collect(),
        };
        self.rules(role, places)
    }

    /// The rules of a role that a Deny policy names, where the request would hold.
    fn banned(&self, role: &RoleRef, target: &ResolvedTarget) -> Read<RoleRules> {
        let mut known = RoleRules::default();
        for place in target.each_with(role) {
            let places = match role.kind {
                RoleKind::ClusterRole => vec![None],
                RoleKind::Role => place.namespaces().map(|name| Some(name.to_owned())).collect(),
            };
            match self.rules(role, places) {
                Read::Found(rules) => known.join(rules),
                other => return other,
            }
        }
        Read::Found(known)
    }

    fn rules(&self, role: &RoleRef, places: Vec<Option<String>>) -> Read<RoleRules> {
        let mut all = Vec::new();
        for namespace in places {
            match self.roles.get(&(namespace.clone(), role.name.clone())) {
                Some(rules) => all.push((namespace.unwrap_or_default(), rules.clone())),
                None => return Read::Failed(lacks_role(role, namespace.as_deref())),
            }
        }
        Read::Found(RoleRules::of_roles(all))
    }
}

fn lacks_role(role: &RoleRef, namespace: Option<&str>) -> String {
    let place = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    lacks(&format!("{} {}{place}", role.kind.to_string().to_lowercase(), role.name))
}

/// How to have what is not known.
fn lacks(what: &str) -> String {
    format!("give its manifest with --with: kubectl get {what} -o yaml")
}
