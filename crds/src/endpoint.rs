//! `Endpoint`: a host outside the cluster, on which rights are given for a time by an agent.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Condition, Drift, Subject, Timestamp, schema};

/// A host on which an agent grants access for a time. Policies select it by its labels. Deleting it ends all access on
/// it.
#[expect(
    clippy::duplicated_attributes,
    reason = "the columns that kubectl shows have types in common"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lapse.dev",
    version = "v1alpha1",
    kind = "Endpoint",
    plural = "endpoints",
    shortname = "jep",
    category = "lapse",
    status = "EndpointStatus",
    derive = "PartialEq",
    doc = "A host on which an agent grants access for a time. Policies select it by its labels. Deleting it ends all access on it.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Platform", type_ = "string", json_path = ".spec.platform"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.report.version"),
    printcolumn(name = "Last-Contact", type_ = "date", json_path = ".status.lastContact"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.owners) || self.owners.all(owner, owner.kind != 'EndpointUser')")
        .message("owners act with credentials of the cluster: name kind User, Group or ServiceAccount")
)]
pub struct EndpointSpec {
    /// The operating system of the host.
    pub platform: Platform,
    /// Its owners: they, and holders of the RBAC verb `own` on it, may change this object. Empty: only the latter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub owners: Vec<Subject>,
    /// Which local user belongs to which subject; each belongs to one. Empty: nobody has one, unless a policy says
    /// `localUsers: SameName`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 512),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["localUser"])
    )]
    pub users: Vec<LocalUser>,
    /// The one token with which its agent may enrol. Absent: no agent may enrol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<Enrolment>,
}

/// The operating system of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Platform {
    /// Linux, with systemd.
    Linux,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A local user of a host, and the subject in the cluster to which it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.subject.kind in ['User', 'ServiceAccount']")
        .message("a local user is one user's or one service account's: name kind User or ServiceAccount"),
    validation = Rule::new("self.localUser != 'root'")
        .message("root belongs to nobody: to act as root, people request admin or commands; name the local user that is theirs")
)]
pub struct LocalUser {
    /// Who it is in the cluster: a user or a service account.
    pub subject: Subject,
    /// The name of the local user. Not root: root needs nothing.
    #[schemars(schema_with = "schema::local_name")]
    pub local_user: String,
    /// The public keys with which one can log in as this local user while Lapse has provisioned it, each one line as in
    /// OpenSSH's `authorized_keys`, without options. What is granted has the keys of that moment. For accounts that
    /// exist anyway they mean nothing. Absent: none; such an account has neither password nor key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::authorized_keys")]
    pub authorized_keys: Vec<String>,
}

/// A token that is valid for one enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enrolment {
    /// The SHA-256 of the token, as `sha256:` and 64 hexadecimal digits. A token has at least 32 random bytes; create
    /// it with `openssl rand -hex 32`, and its hash with `printf %s "$token" | sha256sum`.
    #[schemars(schema_with = "schema::sha256")]
    pub token_hash: String,
    /// When the token expires, in RFC 3339, such as `2026-11-21T22:00:00Z`.
    pub expires_at: Timestamp,
}

/// What is known of an endpoint and its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// The generation of the spec that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The agent that enrolled. Written by an enrolment only, after the token was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<EnrolledAgent>,
    /// What the gateway requests on behalf of its agent: a first certificate, with a token, or the next one. Answered,
    /// and removed again, at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<SigningRequest>,
    /// What its agent last reported about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<AgentReport>,
    /// When there was last contact with the agent: when it connected, when its connection ended, and each hour in
    /// between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact: Option<Timestamp>,
    /// The last connection of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<AgentConnection>,
    /// What its agent reported about each order that the host or the cluster has not finished yet, signed with the
    /// agent's key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["grant"])
    )]
    pub orders: Vec<OrderStatus>,
    /// The last commands that were called with `sudo` by Grants, the oldest first, from the record that the agent keeps.
    /// What they started is in the exported record alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub activity: Vec<Activity>,
    /// `Ready` (an agent is connected and can carry out orders; if not, with the reason `NotEnrolled`, `TokenExpired`,
    /// `NotConnected`, `AgentProblem`, `Disconnected`, `CertificateExpired`, `GatewayLost` or `NoGateway`), `Outdated`
    /// (its agent is older than this release), `Duplicate` (two machines have the same identity), `Drifted` (people with
    /// access as root changed something that would outlast it, and nobody has accepted that on the host yet; reason
    /// `LeftBehind`, or `Reverted` if all of it was undone).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// A connection of an agent to a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentConnection {
    /// A random name that the agent chose. An agent that reconnects without knowing it is another one with the same
    /// identity.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The process of the gateway to which the agent is connected, by a random name. Once that process shows no sign of
    /// life, no agent is connected.
    #[schemars(length(min = 1, max = 64))]
    pub gateway: String,
}

/// An agent that enrolled, and the key that identifies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrolledAgent {
    /// Its public key (Ed25519), in base64. With its private key it proves its connections and signs its receipts.
    #[schemars(length(min = 44, max = 44))]
    pub public_key: String,
    /// The machine on which it enrolled: a hash of the machine ID (`/etc/machine-id`) and of the identifier of the
    /// hardware (usually the UUID of SMBIOS), if it has one.
    #[schemars(schema_with = "schema::sha256")]
    pub machine: String,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// The hash of the token that it used, which is no longer valid.
    #[schemars(schema_with = "schema::sha256")]
    pub token_hash: String,
    /// Its current certificate, in PEM.
    #[schemars(length(min = 1, max = 4096))]
    pub certificate: String,
    /// When that certificate expires.
    pub certificate_expires_at: Timestamp,
}

/// A certificate that is requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningRequest {
    /// The PKCS #10 request, in PEM, signed with the agent's key.
    #[schemars(length(min = 1, max = 4096))]
    pub csr: String,
    /// The token, at an enrolment. Never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub token: Option<String>,
    /// The machine, at an enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sha256")]
    pub machine: Option<String>,
}

/// What an agent reports about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// The release of the agent.
    #[schemars(length(min = 1, max = 64))]
    pub version: String,
    /// What the host can do, as the agent found by trying.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub capabilities: Vec<Capability>,
    /// The operating system of the host as the host names it, such as `Debian GNU/Linux 12 (bookworm)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub system: Option<String>,
    /// What prevents the agent from carrying out orders, in its words. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub problem: Option<String>,
    /// What was changed on the host by people with access as root, and would outlast their access. Absent: the agent does
    /// not look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Whether it warns holders on the host before their access ends. Agents of earlier releases do not, and carry out no
    /// order with a list of warnings.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warns: bool,
}

/// Those that this release knows: a newer agent may be able to do more, and what it says of the rest still counts.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Capability>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(all.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
}

/// Something that an agent can do on its host.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Capability {
    /// `sudo` for everything.
    Admin,
    /// `sudo` for exact commands.
    Commands,
    /// `sudo` for commands that match regular expressions.
    CommandPatterns,
    /// Membership of a local group.
    Group,
    /// The rule of `sudo` contains its own end, so that `sudo` denies on time even if nothing else runs.
    RuleCarriesEnd,
    /// One program as root, in a unit of its own.
    Application,
    /// Local accounts that are enabled, created, or in more groups for a time.
    Account,
    /// What is done with `sudo` by a Grant is recorded: each command, what it starts, and how it ended.
    SessionRecord,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A command that somebody ran by a Grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// When it was called, by the clock of the host.
    pub at: Timestamp,
    /// The name of the Grant. Absent: the agent cannot tell by which one it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub grant: Option<String>,
    /// The local user who called it.
    #[schemars(length(min = 1, max = 64))]
    pub user: String,
    /// The program; with its arguments where the Grant names the commands. Of a Grant of `admin` the arguments, which may
    /// be secret, are in the exported record alone.
    #[schemars(length(min = 1, max = 256))]
    pub command: String,
    /// What the record calls it on its host: what it started, and its end, have the same there.
    #[schemars(length(min = 1, max = 64))]
    pub session: String,
    /// How it ended: its exit code, or 128 and the number of the signal that ended it. Absent: it runs, or nobody was left
    /// who could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
}

/// The state of an order on its host.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum OrderState {
    /// The agent has stored it, and has not acted on it yet.
    Received,
    /// Access is granted.
    Active,
    /// Access is being revoked; something of it is still there.
    Ending,
    /// The agent has verified that the access is gone, and everything that was started with it.
    Ended,
    /// Access could not be granted, and nothing of it is left.
    Failed,
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What an agent reported about an order, with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatus {
    /// The name of the Grant.
    #[schemars(schema_with = "schema::object_name")]
    pub grant: String,
    /// The UID of the request for which it was granted.
    #[schemars(schema_with = "schema::uid")]
    pub request_uid: String,
    /// The state of the order. `Received`: stored, not acted on yet. `Active`: access is granted. `Ending`: access is
    /// being revoked. `Ended`: access is verified to be gone. `Failed`: access could not be granted, and nothing of it
    /// is left.
    pub state: OrderState,
    /// Since when it is in this state, by the clock of the host.
    pub since: Timestamp,
    /// Why, for `Failed` and `Ending`, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub message: Option<String>,
    /// A number that increases with each receipt for this order: milliseconds since 1970, or more.
    pub sequence: i64,
    /// The agent's signature over all of this but the next field, and the UID of the Endpoint, in base64.
    #[schemars(length(min = 88, max = 88))]
    pub signature: String,
    /// That the holder ended the access on the host: the agent's signature over that statement and all of the receipt,
    /// in base64. Apart from the other signature, so that releases that do not know this field verify the rest. Absent:
    /// the holder did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 88, max = 88))]
    pub ended_by_holder: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_agent_can_do_hides_nothing() {
        let report = r#"{"version": "9.0.0", "capabilities": ["Group", "Levitation", "Account"]}"#;
        let report: AgentReport = serde_json::from_str(report).unwrap();
        assert_eq!(report.capabilities, [Capability::Group, Capability::Account]);
    }
}
