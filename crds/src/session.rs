//! What happens while a right is held, and to what its holder started.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GrantDuration;

/// What happens while access is held, and when it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// How long before the end of access its holder is warned, by an event on the request: durations such as
    /// `[15m, 2m]`. Read when a warning is due, so a change applies to access that is held. On a host its agent warns,
    /// too, on the user's terminals and desktop, by the list as it was when access was granted. A warning that is as
    /// long as the grant, or longer, is left out. Empty: no warnings. Absent (an exception: elsewhere absent means nothing):
    /// by the length of the grant, 30m, 5m and 1m before the end if it is longer than an hour; 10m, 5m and 1m from 30
    /// minutes to an hour; 2m and 1m from 5 minutes to less than 30; 20s and 5s if it is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub warnings: Option<Vec<GrantDuration>>,

    /// Whether the holder is prevented from making the access permanent: from writing roles and bindings, tokens of
    /// service accounts, certificate signing requests, admission configurations, `CustomResourceDefinitions`, API
    /// services, and most objects of Lapse. It applies to everything that the person does while the access is held,
    /// whatever else permits it. `Enforce`: such a write is denied. `Audit`: it is allowed, and recorded in the API
    /// server's audit log. `Off`: it is allowed. For access as root on a host (`admin`, `commands`, an application, a
    /// group that is equivalent to root, or an account with one): changes of sudoers, PAM, polkit, keys, groups of
    /// administrators, accounts with the user ID 0, cron and the agent, whoever makes them meanwhile, are undone at once
    /// and reported (`Enforce`), reported (`Audit`), or looked at when the access ends (`Off`). Applies to access that
    /// starts from then on. Absent: Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// What is recorded of what a holder of `admin` or `commands` does on a host with `sudo`. `Commands`: each call, and
    /// how it ended. `Children`: in addition each program that it starts, for which sudo follows them as a debugger does:
    /// what outlives its sudo can then start no program. Only if a target is an endpoint. Applies to access that starts
    /// from then on. Absent: Commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Recording>,
    /// What happens, when access ends, to what was started, opened or left open with it. Applies to access that starts
    /// from then on. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_end: Option<OnEnd>,
}

/// What is recorded of what a holder of `admin` or `commands` does on a host with `sudo`. `Commands`: each call, and how
/// it ended. `Children`: in addition each program that it starts, for which sudo follows them as a debugger does: what
/// outlives its sudo can then start no program. Absent: Commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Recording {
    /// Each call of `sudo`, and how it ended.
    Commands,
    /// In addition each program that it starts.
    Children,
}

/// What happens, when access ends, to what was started, opened or left open with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.maxGracePeriod) || has(self.startedWorkloads) && self.startedWorkloads == 'Delete' || has(self.openStreams) && self.openStreams == 'DeletePods'")
        .message("maxGracePeriod is how long a pod has to stop, and nothing is stopped here; set startedWorkloads: Delete or openStreams: DeletePods beside it, or leave it out")
)]
#[serde(rename_all = "camelCase")]
pub struct OnEnd {
    /// What happens, when access ends, to the workloads that the holder created (pods, jobs, cron jobs, deployments,
    /// stateful sets, daemon sets, replica sets, replication controllers), and to the pods into which they put an
    /// ephemeral container: in the namespaces of the access that have the label `lapse.dev/track-workloads: "true"`,
    /// where each is marked with its Grant. What the holder changed and did not create is not included. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_workloads: Option<StartedWorkloads>,
    /// What happens, when access ends, to what the holder opened to pods and is still open (`kubectl exec`, `attach`,
    /// `port-forward`), which Kubernetes does not close. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_streams: Option<OpenStreams>,
    /// What happens, when access ends, to what the local user has open on the host. Only if a target is an endpoint.
    /// Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_sessions: Option<LocalSessions>,
    /// What happens, when access as root on a host ends (`admin`, `commands`, an application, a group that is
    /// equivalent to root, or an account with one), to what was changed there meanwhile and would outlast it. Only if a
    /// target is an endpoint. Absent: Report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<LastingChanges>,
    /// The longest time that a pod has to stop when it is deleted at the end of access, such as `30s`. A pod with a
    /// shorter grace period gets that. Only with `startedWorkloads: Delete` or `openStreams: DeletePods`. Absent: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_grace_period: Option<GrantDuration>,
}

/// What happens, when access ends, to the workloads that the holder created (pods, jobs, cron jobs, deployments,
/// stateful sets, daemon sets, replica sets, replication controllers), and to the pods into which they put an ephemeral
/// container: in the namespaces of the access that have the label `lapse.dev/track-workloads: "true"`, where each is
/// marked with its Grant. What the holder changed and did not create is not included. `Keep`: they go on. `Delete`:
/// they are deleted; pods and jobs also end by themselves when access ends, whether or not Lapse runs. Absent: Keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartedWorkloads {
    /// They go on, marked with the Grant.
    Keep,
    /// They are deleted. Pods and jobs also end by themselves at the Grant's `expiresAt`, whether or not Lapse runs.
    Delete,
}

/// What happens, when access ends, to what the holder opened to pods and is still open (`kubectl exec`, `attach`,
/// `port-forward`), which Kubernetes does not close. `Keep`: it goes on until somebody closes it. `DeletePods`: the
/// pods that the holder entered are deleted, in the namespaces of the access that have the label
/// `lapse.dev/track-workloads: "true"`; their controllers create new ones. Absent: Keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OpenStreams {
    /// It goes on until somebody closes it.
    Keep,
    /// The pods that the holder entered are deleted, in the namespaces of the access that have the label
    /// `lapse.dev/track-workloads: "true"`: their controllers create new ones.
    DeletePods,
}

/// What happens, when access ends, to what the local user has open on the host. `Keep`: it goes on, without the access.
/// `LogOff`: all sessions of the user are killed with what runs in them, and so are their jobs of cron and at. Services
/// of the host that run as the user go on, and the user may log in again. Absent: Keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocalSessions {
    /// It goes on, without the access.
    Keep,
    /// The user is logged off once the access is gone: all of their sessions are killed with what runs in them, and so
    /// are their jobs of cron and at. Services of the host that run as the user go on, and the user may log in again.
    LogOff,
}

/// What happens, when access as root on a host ends (`admin`, `commands`, an application, a group that is equivalent to
/// root, or an account with one), to what was changed there meanwhile and would outlast it: setuid programs and
/// capabilities, sudoers, PAM, polkit, accounts, groups, keys, units, cron and the like. `Report`: the Grant and the
/// Endpoint say what it is (condition `Drifted`). `Revert`: it is undone, too: files are restored or removed, setuid bits
/// and capabilities are taken off, new accounts are locked, new members of groups are taken out. Absent: Report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LastingChanges {
    /// The Grant and the Endpoint say what it is.
    Report,
    /// It is undone, too.
    Revert,
}

/// Whether the holder is prevented from making the access permanent: from writing roles and bindings, tokens of service
/// accounts, certificate signing requests, admission configurations, `CustomResourceDefinitions`, API services, and
/// most objects of Lapse. It applies to everything that the person does while the access is held, whatever else permits
/// it. `Enforce`: such a write is denied. `Audit`: it is allowed, and recorded in the API server's audit log. `Off`: it
/// is allowed. For access as root on a host (`admin`, `commands`, an application, a group that is equivalent to root, or
/// an account with one): changes of sudoers, PAM, polkit, keys, groups of administrators, accounts with the user ID 0,
/// cron and the agent, whoever makes them meanwhile, are undone at once and reported (`Enforce`), reported (`Audit`), or
/// looked at when the access ends (`Off`). A policy's setting applies to access that starts from then on. Absent:
/// Enforce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Guard {
    /// It is denied.
    #[default]
    Enforce,
    /// It is allowed, and recorded in the audit log of the API server.
    Audit,
    /// It is allowed.
    Off,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Stands for all service accounts in [`GrantSession::impersonates`].
pub const EVERY_ACCOUNT: &str = "*";

/// The session settings of the policy when access was granted, and the service accounts that the holder may
/// impersonate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantSession {
    /// Whether the holder is prevented from making the access permanent: `Enforce`, `Audit` or `Off`.
    pub guard: Guard,
    /// What happens to the workloads that the holder started. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_workloads: Option<StartedWorkloads>,
    /// What happens to what the holder opened to pods. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_streams: Option<OpenStreams>,
    /// What happens to what the local user has open on the host. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_sessions: Option<LocalSessions>,
    /// What happens to what was changed on the host and would outlast the access. Absent: Report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<LastingChanges>,
    /// What is recorded of what the holder does with `sudo` on the host. Absent: Commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Recording>,
    /// How long before the end of access the agent of a host warns its holder there. Empty: no warnings. Absent: by the
    /// length of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub warnings: Option<Vec<GrantDuration>>,
    /// The longest time that a pod has to stop at the end of access. Absent: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_grace_period: Option<GrantDuration>,
    /// The service accounts of its namespaces that the holder may impersonate: their names, or `*` for all. Whoever
    /// comes as one of them without a credential ID counts as the holder. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub impersonates: Vec<String>,
}
