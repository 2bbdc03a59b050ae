//! The service accounts within reach of a role.
//!
//! Whoever may create pods or tokens in a namespace, or impersonate its service accounts, may do
//! what they may do. So what they hold counts as if the role held it.
//!
//! Not seen are: rights that another authorizer than RBAC gives (those of a cloud, say); tokens
//! that lie in Secrets, unless the holder may create those; groups that a request for impersonation
//! adds, which the catalogue refuses; and what an account can reach in turn, by running workloads
//! in a namespace where it holds `edit`. Somebody who creates a binding afterwards is not seen
//! before the next check.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{PolicyRule, Subject};
use lapse_crds::{EVERY_ACCOUNT, RoleRef};

use super::assess::held_of;
use super::catalogue::IMPERSONATING_ACCOUNTS;
use super::entry::ActsAs;
use super::words::{fit, short};
use super::{Finding, Reach, Risk, assess};
use crate::identity::{SERVICE_ACCOUNTS, accounts_of, named_account};

/// How many service accounts are named; the others are counted.
const NAMED: usize = 10;
/// How many service accounts a Grant names.
const MOST_NAMED: usize = 16;

/// A service account in a namespace of the target, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The roles that are bound to it, directly or through a group (see [`is_bound`]), wherever
    /// they are bound.
    pub roles: Vec<Arc<BoundRole>>,
}

/// A role that somebody holds; shared, because many accounts hold it through a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundRole {
    role: RoleRef,
    /// The worst of what it holds, if it lets its holder climb.
    climbs_by: Option<Finding>,
}

impl BoundRole {
    /// A role with its rules, aggregation resolved by Kubernetes, and where it is bound: the namespace of a
    /// RoleBinding, or the whole cluster.
    #[must_use]
    pub fn new(role: RoleRef, rules: &[PolicyRule], reach: &Reach) -> Self {
        let risk = assess([("", rules)], reach);
        Self { role, climbs_by: risk.refusals.into_iter().next() }
    }

    fn climbs(&self) -> Option<(RoleRef, Finding)> {
        Some((self.role.clone(), self.climbs_by.clone()?))
    }
}

/// A service account within reach that lets its user climb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Climber {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The role by which it can climb.
    pub role: RoleRef,
    /// The worst of what that role holds.
    pub finding: Finding,
}

/// The service accounts as which the holder of a role can act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithinReach {
    /// Their namespaces and names.
    pub accounts: BTreeSet<(String, String)>,
    /// Those of them that hold an escalating role: why the request is refused, unless the policy
    /// says `allowEscalation`. One for each account, in their order.
    pub climbers: Vec<Climber>,
}

/// Whether a binding holds for a service account, as RBAC has it: it may be named as a service
/// account, as the user that it is, or by one of the groups that every service account is in
/// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-subjects>).
///
/// `binding_namespace` is the namespace of a RoleBinding, which stands for that of a subject that names
/// none, and `None` for a ClusterRoleBinding.
#[must_use]
pub fn is_bound(
    subject: &Subject,
    binding_namespace: Option<&str>,
    (namespace, name): (&str, &str),
) -> bool {
    match subject.kind.as_str() {
        "ServiceAccount" => {
            let named = subject.namespace.as_deref().filter(|named| !named.is_empty());
            named.or(binding_namespace) == Some(namespace) && subject.name == name
        }
        "User" => named_account(&subject.name) == Some((namespace, name)),
        "Group" => [SERVICE_ACCOUNTS, &accounts_of(namespace), "system:authenticated"]
            .contains(&subject.name.as_str()),
        _ => false,
    }
}

/// Whether a binding for this subject [`is_bound`] to any service account, whichever that may be.
#[must_use]
pub fn may_be_bound(subject: &Subject) -> bool {
    match subject.kind.as_str() {
        "ServiceAccount" => true,
        "User" => named_account(&subject.name).is_some(),
        "Group" => {
            subject.name == "system:authenticated" || subject.name.starts_with(SERVICE_ACCOUNTS)
        }
        _ => false,
    }
}

/// The service accounts among `accounts` as which the holder of a role can act, by the risk of the
/// role. A role that is limited to the tokens of some accounts, or to impersonating some, reaches
/// those alone.
#[must_use]
pub fn within_reach(risk: &Risk, accounts: &[ServiceAccount]) -> WithinReach {
    let mut reached = WithinReach::default();
    for account in accounts {
        let ServiceAccount { namespace, name, roles } = account;
        let findings = || risk.refusals.iter().chain(&risk.warnings);
        let is_new = findings().any(|finding| reaches(finding, account))
            && reached.accounts.insert((namespace.clone(), name.clone()));
        if is_new && let Some((role, finding)) = roles.iter().find_map(|bound| bound.climbs()) {
            reached.climbers.push(Climber {
                namespace: namespace.clone(),
                name: name.clone(),
                role,
                finding,
            });
        }
    }
    reached
        .climbers
        .sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    reached
}

fn reaches(finding: &Finding, account: &ServiceAccount) -> bool {
    finding.place.includes(&account.namespace)
        && match finding.entry.acts_as {
            ActsAs::Nobody => false,
            ActsAs::Named => finding.held.holds_for(&account.name),
            ActsAs::Everybody => true,
        }
}

/// Whether the holder of a role can act as any service account, so that it matters what these hold.
#[must_use]
pub fn acts_as_accounts(risk: &Risk) -> bool {
    let mut findings = risk.refusals.iter().chain(&risk.warnings);
    findings.any(|finding| finding.entry.acts_as != ActsAs::Nobody)
}

/// The service accounts of its namespaces that the holder of a role may impersonate, as a Grant says it: at most
/// [`MOST_NAMED`] names, or [`EVERY_ACCOUNT`].
#[must_use]
pub fn impersonated<'a>(
    lists: impl IntoIterator<Item = (&'a str, &'a [PolicyRule])>,
) -> Vec<String> {
    let mut all = BTreeSet::new();
    for (_, rules) in lists {
        let held = held_of(&IMPERSONATING_ACCOUNTS, rules);
        match held.names() {
            Some(names) => all.extend(names.into_iter().map(ToOwned::to_owned)),
            None => return vec![EVERY_ACCOUNT.to_owned()],
        }
    }
    if all.len() > MOST_NAMED { vec![EVERY_ACCOUNT.to_owned()] } else { all.into_iter().collect() }
}

impl WithinReach {
    /// Why the request is refused, and what to do.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let Climber { namespace, name, role, finding } = self.climbers.first()?;
        let more = match self.climbers.len() {
            1 => String::new(),
            count => format!(" So do {} more within reach.", count - 1),
        };
        let Finding { entry, held, place } = finding;
        Some(format!(
            "With this role, its holder can act as service account {namespace}/{name}, which holds {role} in {}, and \
             so can {} ({held}): {}.{more} Request a role without permission to create workloads, run commands, get \
             tokens or impersonate there, or request under a policy with allowEscalation.",
            short(place),
            entry.title,
            entry.reason
        ))
    }

    /// The service accounts within reach, for an approver.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let mut names = self.names();
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        let list = names.join(", ");
        match more {
            0 if names.is_empty() => None,
            0 => Some(format!("Its holder can act as the service accounts {list}.")),
            more => {
                Some(format!("Its holder can act as the service accounts {list} and {more} more."))
            }
        }
    }

    /// The service accounts within reach in at most 256 characters, for a warning of the API
    /// server; first those that let their user climb.
    #[must_use]
    pub fn brief(&self) -> Option<String> {
        let names = self.names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| fit("It can act as service accounts ", &names))
    }

    /// The accounts, those first that let their user climb.
    fn names(&self) -> Vec<String> {
        let climbs = |(namespace, name): &&(String, String)| {
            self.climbers.iter().any(|one| one.namespace == *namespace && one.name == *name)
        };
        let (first, then): (Vec<_>, Vec<_>) = self.accounts.iter().partition(climbs);
        first.iter().chain(&then).map(|(namespace, name)| format!("{namespace}/{name}")).collect()
    }
}
