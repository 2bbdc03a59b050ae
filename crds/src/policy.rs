//! `JitPolicy`: who may ask, for what, for how long, and who approves.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Approval, Condition, Emergency, GrantDuration, PolicyTarget, Schedule, Session, Subject,
    Workstations, schema,
};

/// Who may request which access, for how long, and who approves. Whatever no policy allows is denied.
#[expect(
    clippy::duplicated_attributes,
    reason = "the columns that kubectl shows have types in common"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lapse.dev",
    version = "v1alpha1",
    kind = "JitPolicy",
    plural = "jitpolicies",
    shortname = "jp",
    category = "lapse",
    status = "JitPolicyStatus",
    derive = "PartialEq",
    doc = "Who may request which access, for how long, and who approves. Whatever no policy allows is denied.",
    annotation("helm.sh/resource-policy", "keep"),
    selectable = ".spec.effect",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(
        name = "Active",
        type_ = "integer",
        json_path = ".status.activeGrants",
        description = "Active grants under this policy"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.effect) || self.effect == 'Allow' || !(has(self.workstations) || has(self.duration) || has(self.reason) || has(self.ticket) || has(self.limits) || has(self.separationOfDuties) || has(self.conditions) || has(self.onRoleWidened) || has(self.approval) || has(self.emergency) || has(self.session) || has(self.retention))")
        .message("a policy with effect Deny has requesters, targets and a schedule alone; remove workstations, duration, reason, ticket, limits, separationOfDuties, conditions, onRoleWidened, approval, emergency, session and retention"),
    validation = Rule::new("(has(self.effect) && self.effect == 'Deny') || self.targets.all(target, !has(target.all) || !target.all)")
        .message("targets: all is allowed with effect Deny alone; an Allow policy spells out what it offers"),
    validation = Rule::new("!has(self.session) || !has(self.session.onEnd) || !has(self.session.onEnd.localSessions) || self.targets.exists(target, has(target.endpoint))")
        .message("session.onEnd.localSessions is for hosts, and no target is an endpoint; leave it out"),
    validation = Rule::new("!(has(self.effect) && self.effect == 'Deny') || self.targets.all(target, !has(target.endpoint) || !has(target.endpoint.agent))")
        .message("endpoint.agent is for what a policy grants; one with effect Deny denies whatever the agent is: leave agent out"),
    validation = Rule::new("!has(self.session) || !has(self.session.record) || self.targets.exists(target, has(target.endpoint))")
        .message("session.record is for hosts, and no target is an endpoint; leave it out"),
    validation = Rule::new("!has(self.session) || !has(self.session.onEnd) || !has(self.session.onEnd.changes) || self.targets.exists(target, has(target.endpoint))")
        .message("session.onEnd.changes is for hosts, and no target is an endpoint; leave it out")
)]
pub struct JitPolicySpec {
    /// What the policy is for, for people. A Deny policy shows it to those whom it denies. Up to 4096 bytes, without
    /// control characters other than line feeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::prose")]
    pub description: Option<String>,

    /// Whether the policy is in force. `Audit`: it is evaluated and recorded, but grants nothing and denies nothing.
    /// `Disabled`: it has no effect. In both modes a request that names the policy is denied, and changing from
    /// `Enforce` to either ends the policy's active grants. Absent: Enforce.
    #[serde(default)]
    pub mode: PolicyMode,

    /// Whether the policy allows requests, or denies them. A Deny policy has only requesters, targets and a schedule;
    /// it wins over every Allow policy. Absent: Allow.
    #[serde(default)]
    pub effect: PolicyEffect,

    /// Which policy decides when a request names none: the matching policy with the lowest number, and of several with
    /// the same number the one whose name comes first. Absent: 100.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub priority: i32,

    /// Who may request access. Who requests with `lapse request` on a host is an `EndpointUser`, and no User, whosever
    /// local user they are: with effect Allow, name `workstations`, or the `endpoint` of each. Empty: nobody.
    #[schemars(length(max = 64))]
    pub requesters: Vec<Subject>,

    /// What may be requested. A request must lie wholly within one entry. Empty: nothing.
    #[schemars(length(max = 32))]
    pub targets: Vec<PolicyTarget>,

    /// The hosts on which requests must be made, for hosts and for Kubernetes alike: privileged workstations. A request
    /// is proven to come from one by the signature of its agent (`spec.origin`), in an emergency, too. Access that is
    /// held does not end when a host is no longer among them. Not with effect Deny. Absent: requests may be made
    /// anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workstations: Option<Workstations>,

    /// How long access may last, within the bounds of the installation (the chart's value `duration`). Absent: these
    /// bounds, and no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<DurationBounds>,

    /// The rules for the reason of a request. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonRule>,

    /// The rules for the ticket of a request. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRule>,

    /// When access may be held: it starts within a window, and ends with it at the latest. Emergencies are exempt. With
    /// effect Deny: when the policy denies. Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// How much one person may request and hold at once under this policy. Absent: one open request and three active
    /// grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// Separation of duties: nobody may hold, or approve, access under both policies at one time. It is enough that one
    /// of the two names the other. It applies in every mode but `Disabled`. Grants that are active when it is added go
    /// on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["policy"])
    )]
    pub separation_of_duties: Vec<Separation>,

    /// Conditions in CEL. All must be true; an error means no.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<ConditionRule>,

    /// What happens to an active grant whose role gains rules after the approval. An approval whose access has not
    /// started is void in either case. Absent: End.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_role_widened: Option<OnRoleWidened>,

    /// Who approves. Absent, or without stages: self-service, no approval is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,

    /// Break-glass: access at once, without approval, reviewed afterwards. Absent: not offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,

    /// What happens while access is held, and when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,

    /// How long finished requests that this policy decided are kept, with their decisions and grants. Counted from the
    /// end of access, or from when the request became final; for an emergency at the earliest from its review. A
    /// duration such as `720h`. Absent, or once the policy is deleted: 720h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<GrantDuration>,
}

fn default_priority() -> i32 {
    100
}

/// What a policy does with the requests that it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyEffect {
    /// What it offers may be requested. It must contain the whole target of a request.
    #[default]
    Allow,
    /// What it names is denied, whatever other policies say: it wins over every Allow policy, matches a request whose
    /// target overlaps its own, and ends the active grants that it matches.
    Deny,
}

/// Whether a policy is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    /// Requests are evaluated, and what is allowed and approved is granted.
    #[default]
    Enforce,
    /// For a staged roll-out: the policy grants nothing and denies nothing. A request that names it is evaluated and
    /// denied with what would have happened; for other requests the result is recorded in `status.candidates`.
    Audit,
    /// Every request that names the policy is denied; for other requests it is skipped.
    Disabled,
}

/// What happens to an active grant whose role gains rules after the approval. `End`: it ends. `Keep`: it goes on, with
/// the added rules. An approval whose access has not started is void in either case. Absent: End.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRoleWidened {
    /// It ends: nobody approved what the role allows now.
    #[default]
    End,
    /// It goes on, with what the role allows now.
    Keep,
}

/// How long access may last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.min) || !has(self.max) || duration(self.min) <= duration(self.max)")
        .message("min must not be longer than max"),
    validation = Rule::new("!has(self.default) || !has(self.max) || duration(self.default) <= duration(self.max)")
        .message("default must not be longer than max"),
    validation = Rule::new("!has(self.default) || !has(self.min) || duration(self.default) >= duration(self.min)")
        .message("default must not be shorter than min")
)]
pub struct DurationBounds {
    /// The shortest duration that may be requested, such as `5m`. Absent: the installation's minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<GrantDuration>,
    /// The duration of a request that names none, such as `30m`. Absent: a request must name a duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<GrantDuration>,
    /// The longest duration that may be requested, such as `8h`. Absent: the installation's maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<GrantDuration>,
}

/// The rules for the reason of a request. Absent: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReasonRule {
    /// Whether a request must give a reason. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The minimum length of a reason, in characters, without leading and trailing white space. It also applies if a
    /// reason is given without being required. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4096))]
    pub min_length: Option<u32>,
}

/// The rules for the ticket of a request. Absent: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketRule {
    /// Whether a request must name a ticket. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The format of a ticket: a regular expression (syntax of RE2 and of Rust's `regex`) that must match the whole
    /// ticket, such as `(INC|CHG)[0-9]+`. It also applies if a ticket is named without being required. Absent: any
    /// format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub pattern: Option<String>,
}

/// How much one person may request and hold at once under one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How many requests of one person may be open at once: waiting for approval, or for their start. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub open_requests_per_user: Option<u32>,
    /// How many grants of one person may be active at once. Absent: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub active_grants_per_user: Option<u32>,
    /// The total time for which one person may hold access within 24 hours, such as `8h`; the remaining time of active
    /// grants counts. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_time_per_day: Option<GrantDuration>,
}

/// A policy that excludes the one that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Separation {
    /// The name of the other policy.
    #[schemars(schema_with = "schema::object_name")]
    pub policy: String,
}

/// A condition in CEL, the Common Expression Language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionRule {
    /// An expression over `requester`, `request`, `target`, `policy` and `now` that must be true for the request, such
    /// as `request.durationSeconds <= 3600`.
    #[schemars(length(min = 1, max = 2048))]
    pub expression: String,
    /// The message to the requester if it is not true.
    #[schemars(length(min = 1, max = 1024))]
    pub message: String,
}

/// What the controller observed of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JitPolicyStatus {
    /// The generation of the spec that the status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The number of active grants under this policy.
    #[serde(default)]
    pub active_grants: i64,
    /// `Ready`: whether the policy is valid, and works as its spec says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}
