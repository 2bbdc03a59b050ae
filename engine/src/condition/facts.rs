//! What conditions speak about: the variables, their types and how large they can be.

use std::collections::HashMap;

use cel::Value;
use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{AccountAction, GrantDuration, Identity};

use super::functions::{Shape, Type};

/// What a condition may know of a request. What the request leaves out is an empty text, so that every
/// variable always has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who asks, as the API server authenticated it: `requester`.
    pub requester: Identity,
    /// What was asked: `request`.
    pub request: RequestFacts,
    /// For what: `target`.
    pub target: TargetFacts,
    /// The name of the policy: `policy.name`.
    pub policy: String,
    /// The moment of the decision: `now`.
    pub now: DateTime<Utc>,
}

/// What was asked, in the variable `request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The name of the request: `request.name`.
    pub name: String,
    /// Its namespace: `request.namespace`.
    pub namespace: String,
    /// How long the grant is to last: `request.durationSeconds`.
    pub duration: GrantDuration,
    /// The reason: `request.reason`.
    pub reason: Option<String>,
    /// The ticket: `request.ticket`.
    pub ticket: Option<String>,
    /// Whether it is an emergency: `request.emergency`.
    pub emergency: bool,
    /// When the right is to start: `request.startTime`. Absent: at once, so the condition sees `now`.
    pub start_time: Option<DateTime<Utc>>,
}

/// For what, in the variable `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFacts {
    /// What kind of right is asked for: `target.kind`.
    pub kind: TargetKind,
    /// The name of the role: `target.role`. Rules have none.
    pub role: Option<String>,
    /// The namespaces: `target.namespaces`; none when it is the whole cluster.
    pub namespaces: Vec<String>,
    /// Whether it is the whole cluster: `target.clusterWide`.
    pub cluster_wide: bool,
    /// The name of the Endpoint: `target.endpoint`.
    pub endpoint: Option<String>,
    /// The programs of the commands or of the application, by their paths: `target.programs`.
    pub programs: Vec<String>,
    /// The local group: `target.group`.
    pub group: Option<String>,
    /// The local groups that the holder joins, by a group or by an account: `target.groups`.
    pub groups: Vec<String>,
    /// The name of the application: `target.application`.
    pub application: Option<String>,
    /// What is done with the account: `target.account`.
    pub account: Option<AccountAction>,
}

/// The kinds of right that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A role of the whole cluster.
    ClusterRole,
    /// A role of one namespace.
    Role,
    /// Rules that the request spells out.
    Rules,
    /// `sudo` for everything on a host.
    Admin,
    /// `sudo` for commands on a host.
    Commands,
    /// Membership of a group of a host.
    Group,
    /// One program of a host, run by its agent.
    Application,
    /// A local account of a host.
    Account,
}

/// The variables with fields, each field with its shape. The bounds are those of the schema of the API.
const FIELDS: [(&str, &[(&str, Shape)]); 4] = [
    (
        "requester",
        &[
            ("username", Shape::text(1024)),
            ("uid", Shape::text(256)),
            ("groups", Shape::texts(2048, 1024)),
            ("credentialID", Shape::text(1024)),
        ],
    ),
    (
        "request",
        &[
            ("name", Shape::text(253)),
            ("namespace", Shape::text(63)),
            ("durationSeconds", Shape::of(Type::Int)),
            ("reason", Shape::text(4096)),
            ("ticket", Shape::text(4096)),
            ("emergency", Shape::of(Type::Bool)),
            ("startTime", Shape::of(Type::Timestamp)),
        ],
    ),
    (
        "target",
        &[
            ("kind", Shape::text(16)),
            ("role", Shape::text(253)),
            ("namespaces", Shape::texts(64, 63)),
            ("clusterWide", Shape::of(Type::Bool)),
            ("endpoint", Shape::text(253)),
            ("programs", Shape::texts(32, 255)),
            ("group", Shape::text(32)),
            ("groups", Shape::texts(64, 32)),
            ("application", Shape::text(63)),
            ("account", Shape::text(16)),
        ],
    ),
    ("policy", &[("name", Shape::text(253))]),
];

/// The one variable without fields.
pub(super) const NOW: &str = "now";

/// The fields of a variable.
pub(super) fn fields(variable: &str) -> Option<&'static [(&'static str, Shape)]> {
    FIELDS.iter().find(|(name, _)| *name == variable).map(|(_, fields)| *fields)
}

/// The names of all variables, in words.
pub(super) fn names() -> String {
    let with_fields: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    format!("{} and {NOW}", with_fields.join(", "))
}

impl Facts {
    /// The variables with their values. An error if one of them is larger than the schema allows: the
    /// bound on the steps would not hold.
    pub(super) fn variables(&self) -> Result<Vec<(&'static str, Value)>, String> {
        let mut variables = vec![(NOW, Value::Timestamp(self.now.fixed_offset()))];
        for (variable, fields) in FIELDS {
            let mut values: HashMap<String, Value> = HashMap::new();
            for (field, shape) in fields {
                let value = self.value(variable, field);
                if !shape.holds(&value) {
                    return Err(format!("{variable}.{field} is larger than conditions may read"));
                }
                values.insert((*field).to_owned(), value);
            }
            variables.push((variable, values.into()));
        }
        Ok(variables)
    }

    fn value(&self, variable: &str, field: &str) -> Value {
        let Self { requester, request, target, policy, now } = self;
        let optional = |text: &Option<String>| text.clone().unwrap_or_default().into();
        match (variable, field) {
            ("requester", "username") => requester.username.clone().into(),
            ("requester", "uid") => optional(&requester.uid),
            ("requester", "groups") => requester.groups.clone().into(),
            ("requester", "credentialID") => optional(&requester.credential_id),
            ("request", "name") => request.name.clone().into(),
            ("request", "namespace") => request.namespace.clone().into(),
            ("request", "durationSeconds") => i64::from(request.duration.seconds()).into(),
            ("request", "reason") => optional(&request.reason),
            ("request", "ticket") => optional(&request.ticket),
            ("request", "emergency") => request.emergency.into(),
            ("request", "startTime") => {
                Value::Timestamp(request.start_time.unwrap_or(*now).fixed_offset())
            }
            ("target", "kind") => format!("{:?}", target.kind).into(),
            ("target", "role") => optional(&target.role),
            ("target", "namespaces") => target.namespaces.clone().into(),
            ("target", "clusterWide") => target.cluster_wide.into(),
            ("target", "endpoint") => optional(&target.endpoint),
            ("target", "programs") => target.programs.clone().into(),
            ("target", "group") => optional(&target.group),
            ("target", "groups") => target.groups.clone().into(),
            ("target", "application") => optional(&target.application),
            ("target", "account") => optional(&target.account.map(|action| action.to_string())),
            ("policy", "name") => policy.clone().into(),
            _ => Value::Null,
        }
    }
}

/// Requests on which every condition is tried, each with what it is: one that says everything, and two
/// that say as little as can be.
pub(super) fn samples() -> [(&'static str, Facts); 3] {
    let full = Facts {
        requester: Identity {
            username: "alice".into(),
            uid: Some("5d8f1c2a".into()),
            groups: vec!["shop-developers".into(), "system:authenticated".into()],
            groups_omitted: None,
            not_in_groups: vec![],
            credential_id: Some("X509SHA256=5d8f1c2a".into()),
            endpoint_user: None,
        },
        request: RequestFacts {
            name: "fix-checkout".into(),
            namespace: "shop".into(),
            duration: HOUR,
            reason: Some("Checkout fails for EU cards".into()),
            ticket: Some("INC0012345".into()),
            emergency: false,
            start_time: Some(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)),
        },
        target: TargetFacts {
            kind: TargetKind::ClusterRole,
            role: Some("edit".into()),
            namespaces: vec!["shop".into(), "shop-staging".into()],
            cluster_wide: false,
            endpoint: None,
            programs: vec![],
            group: None,
            groups: vec![],
            application: None,
            account: None,
        },
        policy: "shop-debug".into(),
        now: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
    };
    let mut cluster_wide = full.clone();
    cluster_wide.request.emergency = true;
    cluster_wide.target.namespaces.clear();
    cluster_wide.target.cluster_wide = true;
    let mut bare = full.clone();
    bare.requester = Identity { username: "alice".into(), ..Identity::default() };
    bare.request =
        RequestFacts { reason: None, ticket: None, start_time: None, ..bare.request.clone() };
    bare.target.kind = TargetKind::Rules;
    bare.target.role = None;
    [
        ("a request with everything that a request can say", full),
        ("an emergency in the whole cluster", cluster_wide),
        ("a request without reason and ticket, for rules, by somebody in no group", bare),
    ]
}

const HOUR: GrantDuration = match GrantDuration::from_seconds(3600) {
    Some(hour) => hour,
    None => unreachable!(),
};
