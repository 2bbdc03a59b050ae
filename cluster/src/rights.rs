//! What the programs may do in a cluster, and why: the one list that the chart's roles are held to.
//!
//! Tests render the chart and compare its roles with this list, in both directions, and read in the audit log
//! of a control plane that what the programs did is on it and that what is on it was done. A right is
//! therefore added here first, with its reason, and then in the chart. The table in the chart's README is
//! generated from it.

mod list;

use std::fmt;

use lapse_crds::RoleKind;
use lapse_engine::Settings;

/// A program with a service account of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Gives and takes rights. The sweep acts with its rights, too.
    Controller,
    /// Says who asks and who decides.
    Webhook,
    /// Carries orders to hosts, and what they answer.
    Gateway,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Controller, Self::Webhook, Self::Gateway];

    /// The name of its service account in the installation's namespace, and of its roles.
    #[must_use]
    pub fn account(self) -> &'static str {
        match self {
            Self::Controller => "lapse-controller",
            Self::Webhook => "lapse-webhook",
            Self::Gateway => "lapse-gateway",
        }
    }
}

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In every namespace, and for what is in none.
    Cluster,
    /// In the installation's own namespace.
    OwnNamespace,
    /// In the namespace of the requests that people make on hosts.
    HostRequests,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "the cluster",
            Self::OwnNamespace => "its own namespace",
            Self::HostRequests => "the namespace `gateway.requests.namespace`",
        })
    }
}

/// Which objects a right is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// All of them.
    All,
    /// Those of these names.
    Named(&'static [&'static str]),
    /// The roles of this kind among the settings' `bindableRoles`. If there are none, there is no right.
    Bindable(RoleKind),
}

/// With which settings a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With all.
    Always,
    /// With `allowClusterWide`.
    ClusterWide,
    /// With `grantableRules`.
    Rules,
    /// With both.
    ClusterWideRules,
    /// With `endsWorkloads`.
    Workloads,
    /// With `hasGateway`.
    Gateway,
    /// With `hostRequests`.
    HostRequests,
}

/// A right that a program needs: each of the verbs on each of the resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its API group; the core group is the empty string.
    pub group: &'static str,
    /// Its resources, in the plural, such as `grants` or `grants/status`.
    pub resources: &'static [&'static str],
    /// What it does with them.
    pub verbs: &'static [&'static str],
    /// Which of them.
    pub names: Names,
    /// Where.
    pub place: Place,
    /// With which settings.
    pub when: When,
    /// What for.
    pub why: &'static str,
}

/// What a program does to one kind of object, as RBAC is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// The namespace that it is confined to; absent: everywhere.
    pub namespace: Option<String>,
    /// The API group.
    pub group: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// The verb.
    pub verb: String,
    /// The name that it is confined to; absent: all.
    pub name: Option<String>,
}

impl Access {
    /// Whether this allows the other, as RBAC does: what is confined to nothing allows everything.
    #[must_use]
    pub fn allows(&self, other: &Self) -> bool {
        let within = |bound: &Option<String>, of: &Option<String>| bound.is_none() || bound == of;
        (&self.group, &self.resource, &self.verb) == (&other.group, &other.resource, &other.verb)
            && within(&self.namespace, &other.namespace)
            && within(&self.name, &other.name)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " named {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => f.write_str(" everywhere"),
        }
    }
}

/// What a program needs, whatever the settings.
#[must_use]
pub fn needs(of: Component) -> &'static [Need] {
    match of {
        Component::Controller => list::CONTROLLER,
        Component::Webhook => list::WEBHOOK,
        Component::Gateway => list::GATEWAY,
    }
}

/// What a program needs with these settings, one by one. What it may hand out by `grantableRules` it holds
/// besides: these are the settings' own words.
#[must_use]
pub fn accesses(of: Component, settings: &Settings) -> Vec<(Access, &'static Need)> {
    let mut all = Vec::new();
    for need in needs(of).iter().filter(|need| need.when.holds(settings)) {
        let namespace = match need.place {
            Place::Cluster => None,
            Place::OwnNamespace => Some(settings.namespace.clone()),
            // Without one there is no right at all: see `When`.
            Place::HostRequests => Some(settings.host_requests.clone().unwrap_or_default()),
        };
        for name in need.names.listed(settings) {
            for resource in need.resources {
                for verb in need.verbs {
                    let access = Access {
                        namespace: namespace.clone(),
                        group: need.group.to_owned(),
                        resource: (*resource).to_owned(),
                        verb: (*verb).to_owned(),
                        name: name.clone(),
                    };
                    all.push((access, need));
                }
            }
        }
    }
    all
}

impl Names {
    fn listed(self, settings: &Settings) -> Vec<Option<String>> {
        match self {
            Self::All => vec![None],
            Self::Named(names) => names.iter().map(|name| Some((*name).to_owned())).collect(),
            Self::Bindable(kind) => {
                let roles = settings.bindable_roles.iter().filter(|role| role.kind == kind);
                roles.map(|role| Some(role.name.clone())).collect()
            }
        }
    }
}

impl When {
    fn holds(self, settings: &Settings) -> bool {
        let (wide, rules) = (settings.allow_cluster_wide, !settings.grantable_rules.is_empty());
        match self {
            Self::Always => true,
            Self::ClusterWide => wide,
            Self::Rules => rules,
            Self::ClusterWideRules => wide && rules,
            Self::Workloads => settings.controller.ends_workloads,
            Self::Gateway => settings.has_gateway,
            Self::HostRequests => settings.has_gateway && settings.host_requests.is_some(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Always => "",
            Self::ClusterWide => ", with `controller.allowClusterWide`",
            Self::Rules => ", with `controller.grantableRules`",
            Self::ClusterWideRules => {
                ", with `controller.allowClusterWide` and `controller.grantableRules`"
            }
            Self::Workloads => ", with `controller.endWorkloads`",
            Self::Gateway => ", with `gateway.enabled`",
            Self::HostRequests => ", with `gateway.requests.enabled`",
        }
    }
}

impl Need {
    /// A row of a table: what, where, what for.
    #[must_use]
    pub fn row(&self) -> String {
        let code = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        };
        let names = match self.names {
            Names::All => String::new(),
            Names::Named(names) => format!(" named {}", code(names)),
            Names::Bindable(kind) => format!(" ({kind}s of `controller.bindableRoles`)"),
        };
        let group =
            if self.group.is_empty() { String::new() } else { format!(" of `{}`", self.group) };
        let what = format!("{} on {}{group}{names}", self.verbs.join(", "), code(self.resources));
        format!("| {what} | {}{} | {} |", self.place, self.when.words(), self.why)
    }
}

#[cfg(test)]
mod tests;
