//! Who approves the requests of a policy, in which order, and what happens when nobody does.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GrantDuration, Subject, schema};

/// Who approves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.escalation) || !has(self.timeout) || duration(self.escalation.after) < duration(self.timeout)")
        .message("escalation.after must be shorter than timeout: nobody answers a request that has timed out"),
    validation = Rule::new("!has(self.autoApprove) || (has(self.stages) && size(self.stages) > 0)")
        .message("autoApprove needs stages: without them every request is approved by itself"),
    validation = Rule::new("!has(self.escalation) || (has(self.stages) && size(self.stages) > 0)")
        .message("escalation needs stages: without them nobody is asked")
)]
pub struct Approval {
    /// The stages, all of which must be complete. A person counts once per request, in one stage, assigned so that the
    /// most stages are complete. Absent: none, no approval is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub stages: Vec<Stage>,
    /// Whether all stages are open at once (`Parallel`), or each opens when the one before is complete (`Sequential`).
    /// Absent: Parallel.
    #[serde(default)]
    pub order: ApprovalOrder,
    /// Which requests are approved automatically, although there are stages. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_approve: Option<AutoApprove>,
    /// How long a request waits for its approval before it times out, such as `4h`. Absent: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GrantDuration>,
    /// Additional approvers if the request is not approved in time. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
    /// Whether a requester who is an approver may approve their own request. Absent: Forbid.
    #[serde(default)]
    pub self_approval: Permission,
    /// Whether an approval may be given by impersonation (`kubectl --as`). `Forbid` refuses approvals without a
    /// credential ID; impersonated callers have none. Best effort: callers whose authenticator issues no credential IDs
    /// are refused, too. Absent: Allow.
    #[serde(default = "allow")]
    pub impersonation: Permission,
    /// Whether an approval must name the UID of the request in `spec.request.uid`, so that the approver approves the
    /// request that they read. Absent: no.
    #[serde(default, rename = "requireUID", skip_serializing_if = "std::ops::Not::not")]
    pub require_uid: bool,
}

impl Default for Approval {
    fn default() -> Self {
        Self {
            stages: Vec::new(),
            order: ApprovalOrder::default(),
            auto_approve: None,
            timeout: None,
            escalation: None,
            self_approval: Permission::Forbid,
            impersonation: Permission::Allow,
            require_uid: false,
        }
    }
}

/// When the stages of an approval are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalOrder {
    /// All stages are open at once.
    #[default]
    Parallel,
    /// A stage opens when the one before it is complete.
    Sequential,
}

/// Which requests are approved automatically.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoApprove {
    /// The longest duration that is approved automatically, such as `15m`. Never for a role that allows privilege
    /// escalation, and never for an extension (`spec.extends`).
    pub max_duration: GrantDuration,
}

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Permission {
    /// It is refused.
    #[default]
    Forbid,
    /// It is allowed.
    Allow,
}

fn allow() -> Permission {
    Permission::Allow
}

/// Additional approvers if a request is not approved in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Escalation {
    /// How long after the request they are added, if it is not approved by then, such as `30m`. Shorter than `timeout`.
    pub after: GrantDuration,
    /// Who may approve in every stage from then on. They may deny from the beginning.
    #[schemars(length(min = 1, max = 64))]
    pub approvers: Vec<Subject>,
}

/// One stage of an approval: a list of approvers, and how many of them must approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Stage {
    /// The name of the stage, such as `manager`.
    #[schemars(schema_with = "schema::stage_name")]
    pub name: String,
    /// How many of the approvers must approve. Absent: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub required: u32,
    /// Who may approve in this stage. They also need the RBAC verb `approve` on the policy (ClusterRole
    /// `lapse:approver`).
    #[schemars(length(min = 1, max = 64))]
    pub approvers: Vec<Subject>,
}

fn one() -> u32 {
    1
}
