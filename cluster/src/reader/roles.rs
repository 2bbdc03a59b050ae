//! The roles that a policy names.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::ListParams;
use kube::core::{Selector, SelectorExt as _};
use lapse_crds::{JitPolicySpec, RoleKind, RoleRef};
use lapse_engine::Read;
use lapse_engine::policy::{NamedRole, named_roles};

use super::Reader;

/// How many are read at once: a policy may name thousands.
const AT_ONCE: usize = 8;

impl Reader {
    /// Each role that a policy names, a `Role` in every namespace that is offered by name.
    pub async fn named_roles(&self, spec: &JitPolicySpec) -> Vec<NamedRole> {
        let looks = named_roles(spec).into_iter().flat_map(|(role, namespaces)| match role.kind {
            RoleKind::ClusterRole => vec![(role, None)],
            RoleKind::Role => {
                namespaces.into_iter().map(|namespace| (role.clone(), Some(namespace))).collect()
            }
        });
        let looks = looks.map(|(role, namespace)| self.named_role(role, namespace));
        stream::iter(looks).buffered(AT_ONCE).collect().await
    }

    async fn named_role(&self, role: RoleRef, namespace: Option<String>) -> NamedRole {
        let rules = self.rules(namespace.as_deref(), &role.name).await;
        NamedRole { role, namespace, rules }
    }

    /// The rules of a `Role`, or, without a namespace, of a ClusterRole.
    pub(crate) async fn rules(&self, namespace: Option<&str>, name: &str) -> Read<Vec<PolicyRule>> {
        let key = format!("{}/{name}", namespace.unwrap_or_default());
        self.rules.get(&key, || self.read_rules(namespace, name)).await
    }

    /// The ClusterRole that takes over the rules of one with these labels, if any does (`aggregationRule`).
    pub async fn aggregating(&self, labels: &BTreeMap<String, String>) -> Read<String> {
        let api: Api<ClusterRole> = Api::all(self.client.clone());
        let all = ListParams::default();
        let roles = match self.list(api, all, "listing the ClusterRoles".to_owned()).await {
            Ok(roles) => roles,
            Err(why) => return Read::Failed(why),
        };
        let selects = |selector: LabelSelector| {
            Selector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
        };
        let takes_over = |role: &ClusterRole| {
            let rule = role.aggregation_rule.clone();
            let selectors = rule.and_then(|rule| rule.cluster_role_selectors);
            selectors.unwrap_or_default().into_iter().any(selects)
        };
        let found = roles.into_iter().find(takes_over);
        found.and_then(|role| role.metadata.name).map_or(Read::Missing, Read::Found)
    }

    fn read_rules(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> BoxFuture<'static, Read<Vec<PolicyRule>>> {
        let (reader, name) = (self.clone(), name.to_owned());
        let namespace = namespace.map(ToOwned::to_owned);
        async move {
            let rules = if let Some(namespace) = namespace {
                let api = reader.namespaced::<Role>(&namespace);
                reader.get(api, &name).await.map(|role| role.rules)
            } else {
                let api: Api<ClusterRole> = Api::all(reader.client.clone());
                reader.get(api, &name).await.map(|role| role.rules)
            };
            rules.map(Option::unwrap_or_default)
        }
        .boxed()
    }
}
