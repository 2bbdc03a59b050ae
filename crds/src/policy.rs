//! `JitPolicy`: who may ask, for what, for how long, and who approves.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Approval, Condition, Emergency, GrantDuration, PolicyTarget, Schedule, Session, Subject, schema,
};

/// Who may ask for which rights, for how long, and who approves. Everything that no policy allows is
/// refused.
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
    doc = "Who may ask for which rights, for how long, and who approves. Everything that no policy allows is refused.",
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
        description = "Live grants by this policy"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.effect) || self.effect == 'Allow' || !(has(self.duration) || has(self.reason) || has(self.ticket) || has(self.limits) || has(self.separationOfDuties) || has(self.conditions) || has(self.onRoleWidened) || has(self.approval) || has(self.emergency) || has(self.session) || has(self.retention))")
        .message("a policy with effect Deny has requesters, targets and a schedule alone; remove duration, reason, ticket, limits, separationOfDuties, conditions, onRoleWidened, approval, emergency, session and retention"),
    validation = Rule::new("(has(self.effect) && self.effect == 'Deny') || self.targets.all(target, !has(target.all) || !target.all)")
        .message("targets: all is allowed with effect Deny alone; an Allow policy spells out what it offers"),
    validation = Rule::new("!has(self.session) || !has(self.session.onEnd) || !has(self.session.onEnd.localSessions) || self.targets.exists(target, has(target.endpoint))")
        .message("session.onEnd.localSessions is for hosts, and no target is an endpoint; leave it out")
)]
pub struct JitPolicySpec {
    /// What the policy is for, in words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::prose")]
    pub description: Option<String>,

    /// Whether the policy gives rights. A disabled policy declines every request that names it, and
    /// switching a policy off ends the grants that it gave.
    #[serde(default)]
    pub mode: PolicyMode,

    /// Whether the policy lets people ask, or refuses what they ask for.
    #[serde(default)]
    pub effect: PolicyEffect,

    /// When a request names no policy, the matching policy with the lowest number decides; ties go by
    /// name.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub priority: i32,

    /// Who may ask. Empty: nobody.
    #[schemars(length(max = 64))]
    pub requesters: Vec<Subject>,

    /// What may be asked for. A request must lie wholly within one of the entries. Empty: nothing.
    #[schemars(length(max = 32))]
    pub targets: Vec<PolicyTarget>,

    /// How long a grant may last, within the bounds of the installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<DurationBounds>,

    /// What a request must say about its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonRule>,

    /// What a request must say about its ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRule>,

    /// The hours in which rights may be held: a right starts within them, and ends when they do. With
    /// effect Deny: the hours in which it denies. Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// How much one person may ask for and hold at once by this policy. Absent: one open request and
    /// three live grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// The policies that are kept apart from this one: nobody may hold, or approve, rights by both at one
    /// time. It is enough that one of the two names the other. It holds in every mode but `Disabled`. A
    /// right that is held when a policy begins to be kept apart goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["policy"])
    )]
    pub separation_of_duties: Vec<Separation>,

    /// The policy's own rules in CEL; all must hold, and an error means no.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<ConditionRule>,

    /// What happens to a live grant whose role gains rules after the approval. An approval whose right has
    /// not started is void in either case. Absent: End.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_role_widened: Option<OnRoleWidened>,

    /// Who approves. Absent, or without stages: self-service, nobody needs to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,

    /// Break-glass: what requesters may have at once, to be reviewed afterwards. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,

    /// What happens while a right is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,

    /// How long finished requests that this policy decided are kept, with their decisions and grants; then
    /// they are deleted. Counted from the end of the right, or from the moment when the request became
    /// final. Absent, or once the policy is gone: 720h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<GrantDuration>,
}

fn default_priority() -> i32 {
    100
}

/// What a policy does with the requests that it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyEffect {
    /// What it offers may be asked for. It must contain the whole target of a request.
    #[default]
    Allow,
    /// What it names may not be had, whatever other policies say: it wins over every Allow, matches a
    /// request whose target overlaps with its own, and ends the live grants that it matches.
    Deny,
}

/// Whether a policy gives rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    /// Requests are evaluated, and what is allowed and approved is granted.
    #[default]
    Enforce,
    /// For a staged roll-out: the policy gives nothing and refuses nothing. A request that names it is
    /// evaluated and declined with what would have happened; for others it is recorded among
    /// `status.candidates`.
    Audit,
    /// Every request that names the policy is declined; it never decides over others.
    Disabled,
}

/// What happens to a live grant whose role gains rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRoleWidened {
    /// It ends: nobody approved what the role allows now.
    #[default]
    End,
    /// It goes on, with what the role allows now.
    Keep,
}

/// How long a grant may last.
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
    /// The shortest that may be asked for. Absent: the installation's minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<GrantDuration>,
    /// What a request without a duration gets. Absent: a request must say how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<GrantDuration>,
    /// The longest that may be asked for. Absent: the installation's maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<GrantDuration>,
}

/// What a request must say about its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReasonRule {
    /// Whether a request must give a reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The least number of characters of a reason that is given; white space around it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4096))]
    pub min_length: Option<u32>,
}

/// What a request must say about its ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketRule {
    /// Whether a request must name a ticket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What a ticket that is named must look like: a regular expression (syntax of RE2 and of Rust's
    /// `regex`) that matches the whole of it, such as `(INC|CHG)[0-9]+`. Absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub pattern: Option<String>,
}

/// How much one person may ask for and hold at once by one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How many requests may wait at once for their approval or their start. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub open_requests_per_user: Option<u32>,
    /// How many grants may be live at once. Absent: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub active_grants_per_user: Option<u32>,
    /// How long rights may be held within 24 hours, all together; the time that live grants have left
    /// counts. Absent: as long as the durations allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_time_per_day: Option<GrantDuration>,
}

/// A policy that is kept apart from the one that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Separation {
    /// The name of the other policy.
    #[schemars(schema_with = "schema::object_name")]
    pub policy: String,
}

/// A rule in CEL, the Common Expression Language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionRule {
    /// An expression over `requester`, `request`, `target`, `policy` and `now` that says whether the
    /// request may pass, such as `request.durationSeconds <= 3600`.
    #[schemars(length(min = 1, max = 2048))]
    pub expression: String,
    /// What to tell the requester when it may not.
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
    /// How many grants by this policy are live.
    #[serde(default)]
    pub active_grants: i64,
    /// `Ready`: whether requests can be granted by this policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}
