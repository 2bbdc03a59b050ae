//! What happens while a right is held, and to what its holder started.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GrantDuration;

/// What happens while a right is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// How long before its end the holder of a right is warned, by an event on the request, such as
    /// `[15m, 2m]`. Read when a warning is due, so a change bears on the rights that are held. A warning
    /// that is as long as the grant, or longer, is left out. Empty: no warnings. Absent (an exception:
    /// absent elsewhere means nothing) it goes by the length of the grant: more than an hour, 30m, 5m and
    /// 1m before; from 30 minutes to an hour, 10m, 5m and 1m; from 5 minutes up to 30, 2m and 1m; less, 20s
    /// and 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub warnings: Option<Vec<GrantDuration>>,

    /// Whether the holder of a right is kept from making it last: from writing roles and bindings, tokens of
    /// service accounts, certificates, admission, definitions of kinds, and what is Lapse's. It holds for
    /// all that the person does while the right is held, whatever else allows it. Bears on the rights that
    /// are given from then on. Absent: Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// What happens at the end of a right to what was done under it. Absent: nothing. Bears on the rights
    /// that are given from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_end: Option<OnEnd>,
}

/// What happens at the end of a right to what was done under it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.maxGracePeriod) || has(self.startedWorkloads) && self.startedWorkloads == 'Delete' || has(self.openStreams) && self.openStreams == 'DeletePods'")
        .message("maxGracePeriod is how long a pod has to stop, and nothing is stopped here; set startedWorkloads: Delete or openStreams: DeletePods beside it, or leave it out")
)]
#[serde(rename_all = "camelCase")]
pub struct OnEnd {
    /// What becomes of the workloads that the holder of the right created (pods, jobs, cron jobs, deployments,
    /// stateful sets, daemon sets, replica sets, replication controllers), and of the pods that they put an
    /// ephemeral container into: in the namespaces of the right that carry the label
    /// `lapse.dev/track-workloads: "true"`, where each is marked with its Grant. What they changed and did not
    /// create is not among them. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_workloads: Option<StartedWorkloads>,
    /// What becomes of what the holder of the right opened to pods and is still open (`kubectl exec`, `attach`,
    /// `port-forward`), which Kubernetes lets go on. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_streams: Option<OpenStreams>,
    /// What becomes of what the local user of a host has open there when the right ends. Only where a target is an
    /// endpoint. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_sessions: Option<LocalSessions>,
    /// The longest time that a pod has to stop when it is deleted at the end of the right. A pod that asks for
    /// less has less. Only with `startedWorkloads: Delete` or `openStreams: DeletePods`. Absent: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_grace_period: Option<GrantDuration>,
}

/// What becomes of the workloads that the holder of a right started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartedWorkloads {
    /// They go on, marked with the Grant.
    Keep,
    /// They are deleted. Pods and jobs also end by themselves at the right's `expiresAt`, whether or not
    /// anything of Lapse runs.
    Delete,
}

/// What becomes of what the holder of a right opened to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OpenStreams {
    /// It goes on until somebody closes it.
    Keep,
    /// The pods that the holder went into are deleted, in the namespaces of the right that carry the label
    /// `lapse.dev/track-workloads: "true"`: whatever owns them makes new ones.
    DeletePods,
}

/// What becomes of what a local user has open on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocalSessions {
    /// It goes on, without the right.
    Keep,
    /// The user is logged off, once the right is gone: all of their sessions are killed with what runs in them, and
    /// so are their jobs of cron and at. Services of the host that run as the user go on, and they may log in again.
    LogOff,
}

/// Whether the holder of a right is kept from making it last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Guard {
    /// It is refused.
    #[default]
    Enforce,
    /// It is let through, and recorded in the audit log of the API server.
    Audit,
    /// It is let through.
    Off,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Stands for all service accounts in [`GrantSession::impersonates`].
pub const EVERY_ACCOUNT: &str = "*";

/// What a policy said about the session of a right when it was given, and whom its holder may impersonate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantSession {
    /// Whether its holder is kept from making it last.
    pub guard: Guard,
    /// What becomes of the workloads that its holder started. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_workloads: Option<StartedWorkloads>,
    /// What becomes of what its holder opened to pods. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_streams: Option<OpenStreams>,
    /// What becomes of what its local user has open on the host. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_sessions: Option<LocalSessions>,
    /// The longest time that a pod has to stop at its end. Absent: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_grace_period: Option<GrantDuration>,
    /// The service accounts of its namespaces that its holder may impersonate: their names, or `*` for all. Who
    /// comes as one of them without a credential id is taken for the holder. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub impersonates: Vec<String>,
}
