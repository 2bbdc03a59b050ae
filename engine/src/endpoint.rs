//! What is known of an endpoint: its users, its agent, and what that said.

mod gateways;

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ObjectMeta;
use lapse_crds::{
    AccountAction, Capability, ConditionStatus, Conditions as _, Drift, Endpoint, EndpointStatus,
    EndpointUser, EnrolledAgent, GRANT_FINALIZER, Identity, LocalUser, LocalUsers, OrderStatus,
    Subject, SubjectKind, Timestamp,
};

use sha2::{Digest as _, Sha256};

pub use self::gateways::{
    AGENT_PROBLEM, BEAT, CONNECTED, Gateways, NO_GATEWAY, READY, without_gateway,
};
use crate::identity::subject_of;
use crate::order::{DriftReport, Receipt, verify_drift, verify_receipt};
use crate::role::hex;

/// The condition of an Endpoint whose identity two machines have.
pub const DUPLICATE: &str = "Duplicate";

/// The condition of an Endpoint, and of a Grant, that says whether something on the host was changed that outlasts access.
pub const DRIFTED: &str = "Drifted";

/// What is known of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointFacts {
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// Whose its local users are.
    pub users: Vec<LocalUser>,
    /// The key of the agent that enrolled, in base64; `None` if none has.
    pub agent_key: Option<String>,
    /// Until when the certificate of that agent is valid, which it renews for as long as it is there.
    pub agent_until: Option<Timestamp>,
    /// The release of its agent, as that calls it; `None` if it has said nothing yet.
    pub agent_version: Option<String>,
    /// What its agent said that it can do; `None` if it has said nothing yet.
    pub capabilities: Option<BTreeSet<Capability>>,
    /// What it said that keeps it from carrying out orders.
    pub problem: Option<String>,
    /// Whether it warns holders before their rights end.
    pub warns: bool,
    /// Whether two machines have its identity: nobody knows on which of them an order is carried out.
    pub is_twice: bool,
    /// What it said of orders, as it is stored: not verified.
    pub orders: Vec<OrderStatus>,
    /// What it found that would outlast access, as it is stored: not verified. `None` if it does not look for that.
    pub drift: Option<Drift>,
}

impl EndpointFacts {
    /// What an Endpoint says.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Self {
        let EndpointStatus { agent, report, orders, conditions, .. } =
            endpoint.status.clone().unwrap_or_default();
        let report = report.as_ref();
        Self {
            uid: endpoint.metadata.uid.clone().unwrap_or_default(),
            labels: endpoint.metadata.labels.clone().unwrap_or_default(),
            is_going: endpoint.metadata.deletion_timestamp.is_some(),
            users: endpoint.spec.users.clone(),
            agent_until: agent.as_ref().map(|agent| agent.certificate_expires_at),
            agent_key: agent.map(|EnrolledAgent { public_key, .. }| public_key),
            agent_version: report.map(|report| report.version.clone()),
            capabilities: report.map(|report| report.capabilities.iter().copied().collect()),
            problem: report.and_then(|report| report.problem.clone()),
            warns: report.is_some_and(|report| report.warns),
            is_twice: conditions
                .condition(DUPLICATE)
                .is_some_and(|twice| twice.status == ConditionStatus::True),
            orders,
            drift: report.and_then(|report| report.drift.clone()),
        }
    }

    /// What its agent found that would outlast access, if it looks for that, and signed it.
    #[must_use]
    pub fn drift(&self) -> Option<DriftReport> {
        verify_drift(self.agent_key.as_deref()?, &self.uid, self.drift.as_ref()?).ok()
    }

    /// What its agent said of an order, if it did, and signed it.
    #[must_use]
    pub fn receipt(&self, grant: &str, request_uid: &str) -> Option<Receipt> {
        let key = self.agent_key.as_deref()?;
        let said = self.orders.iter().filter(|order| order.grant == grant);
        said.filter_map(|order| verify_receipt(key, &self.uid, order).ok())
            .find(|receipt| receipt.request_uid == request_uid)
    }

    /// The public keys with which one can log in as a local user while this is done with their account. One that exists
    /// anyway keeps its own.
    #[must_use]
    pub fn keys_of(&self, local_user: &str, action: AccountAction) -> Vec<String> {
        let mut users = self.users.iter().filter(|_| action == AccountAction::Provision);
        let user = users.find(|user| user.local_user == local_user);
        user.map(|user| user.authorized_keys.clone()).unwrap_or_default()
    }

    /// Whether its agent records what is done with sudo.
    #[must_use]
    pub fn records(&self) -> bool {
        let capabilities = self.capabilities.as_ref();
        capabilities.is_some_and(|all| all.contains(&Capability::SessionRecord))
    }

    /// Whose a local user is, as its owners say. root is nobody's.
    #[must_use]
    pub fn owner_of(&self, local_user: &str) -> Option<&Subject> {
        let mut of = self.users.iter().filter(|user| user.local_user == local_user);
        of.next().map(|user| &user.subject).filter(|_| local_user != ROOT)
    }

    /// The local user that somebody is, of those that they may name.
    ///
    /// # Errors
    /// In words: they have none, have several and name none, or name another's.
    pub fn local_user(
        &self,
        who: &Identity,
        named: Option<&str>,
        by: LocalUsers,
    ) -> Result<String, String> {
        let subject = subject_of(who);
        if let Some(EndpointUser { local_user, .. }) = &who.endpoint_user {
            return self.asked_as(local_user, subject.as_ref(), named);
        }
        let of = |user: &&LocalUser| subject.as_ref() == Some(&user.subject);
        let mut own: Vec<&str> =
            self.users.iter().filter(of).map(|user| user.local_user.as_str()).collect();
        own.sort_unstable();
        own.dedup();
        // A name that the Endpoint gives to somebody else is theirs, whoever is called the same in the cluster.
        let is_others = |name: &str| self.users.iter().any(|user| user.local_user == name);
        let same = who.username.as_str();
        if own.is_empty()
            && by == LocalUsers::SameName
            && is_local_name(same)
            && same != ROOT
            && !is_others(same)
        {
            own.push(same);
        }
        own.retain(|name| *name != ROOT);
        match (own.as_slice(), named) {
            ([], _) => Err(format!(
                "{} has no local user there; ask an owner of the Endpoint to add them to spec.users",
                who.username
            )),
            ([only], None) => Ok((*only).to_owned()),
            (several, None) => Err(format!(
                "{} has more than one local user there; set localUser to one of {}",
                who.username,
                several.join(", ")
            )),
            (own, Some(named)) if own.contains(&named) => Ok(named.to_owned()),
            (own, Some(named)) => Err(format!(
                "{named} is not a local user of {}; set localUser to one of {}, or leave it out",
                who.username,
                own.join(", ")
            )),
        }
    }
}

impl EndpointFacts {
    /// The local user who has asked on this host: they are nobody else there, whatever a policy says of names.
    fn asked_as(
        &self,
        local_user: &str,
        subject: Option<&Subject>,
        named: Option<&str>,
    ) -> Result<String, String> {
        let is_theirs = match self.owner_of(local_user) {
            Some(owner) => subject == Some(owner),
            None => subject.is_some_and(|subject| subject.kind == SubjectKind::EndpointUser),
        };
        if !is_theirs {
            return Err(format!(
                "{local_user}, who requested there, belongs to somebody else by spec.users now; request again there"
            ));
        }
        match named {
            Some(named) if named != local_user => Err(format!(
                "{local_user}, who requested there, can be granted access as {local_user} alone, and not as {named}"
            )),
            _ => Ok(local_user.to_owned()),
        }
    }
}

/// What is to be done about the finalizer by which an Endpoint stays while there are rights on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing.
    AsItIs,
    /// It is put on.
    Take,
    /// It is taken off.
    LetGo,
}

/// Whether an Endpoint is held: one that is not being deleted always is, so that its agent can be told of all that ends
/// with it; one that is for as long as there are rights on its host.
#[must_use]
pub fn hold(metadata: &ObjectMeta, has_rights: bool) -> Hold {
    let is_held = metadata.finalizers.iter().flatten().any(|it| it == GRANT_FINALIZER);
    match (metadata.deletion_timestamp.is_some(), is_held) {
        (false, false) => Hold::Take,
        (true, true) if !has_rights => Hold::LetGo,
        // Nobody can add a finalizer to what is being deleted.
        (false, true) | (true, _) => Hold::AsItIs,
    }
}

/// The hash of a token of an enrolment, as an Endpoint keeps it.
#[must_use]
pub fn hash_of_token(token: &str) -> String {
    hash(token)
}

/// The hash of which machine a host is, as an Endpoint keeps it: what the host calls itself (`/etc/machine-id`), and the number
/// of its hardware, if it has one.
#[must_use]
pub fn hash_of_machine(id: &str, hardware: &str) -> String {
    hash(&format!("{id}\n{hardware}"))
}

fn hash(text: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(text.as_bytes())))
}

/// What whoever enrols with a wrong token is told: the same as who names no Endpoint that there is, so that nobody finds out
/// which there are.
#[must_use]
pub fn wrong_token(name: &str) -> String {
    format!(
        "this token cannot enrol Endpoint {name}: there is no such Endpoint, or it expects another token; correct the \
         name, or ask an owner of it to set spec.enrolment to the hash of a new token"
    )
}

/// Who needs nothing.
pub(crate) const ROOT: &str = "root";

/// Whether a name can be that of a local user: the same rule as in the schema.
fn is_local_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    (1..=32).contains(&name.len())
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::{local, person};

    #[rstest]
    #[case::new(false, false, false, Hold::Take)]
    #[case::held(false, true, false, Hold::AsItIs)]
    #[case::going_with_rights(true, true, true, Hold::AsItIs)]
    #[case::going(true, true, false, Hold::LetGo)]
    #[case::let_go(true, false, false, Hold::AsItIs)]
    fn an_endpoint_stays_for_as_long_as_there_are_rights(
        #[case] is_deleted: bool,
        #[case] is_held: bool,
        #[case] has_rights: bool,
        #[case] expected: Hold,
    ) {
        let metadata = ObjectMeta {
            deletion_timestamp: is_deleted.then(crate::testing::life::deleted_at),
            finalizers: is_held.then(|| vec![GRANT_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        };
        assert_eq!(hold(&metadata, has_rights), expected);
    }

    fn facts(users: &[(&str, &str)]) -> EndpointFacts {
        let user = |(name, local): &(&str, &str)| LocalUser {
            subject: Subject {
                kind: SubjectKind::User,
                name: (*name).to_owned(),
                namespace: None,
                endpoint: None,
            },
            local_user: (*local).to_owned(),
            authorized_keys: vec![],
        };
        EndpointFacts { users: users.iter().map(user).collect(), ..EndpointFacts::default() }
    }

    #[test]
    fn keys_are_for_the_accounts_that_lapse_makes() {
        let mut facts = facts(&[("alice", "al"), ("bob", "bob")]);
        facts.users[0].authorized_keys = vec!["key".into()];
        assert_eq!(facts.keys_of("al", AccountAction::Provision), ["key"]);
        assert_eq!(facts.keys_of("al", AccountAction::Enable), [""; 0]);
        assert_eq!(facts.keys_of("al", AccountAction::Raise), [""; 0]);
        assert_eq!(facts.keys_of("bob", AccountAction::Provision), [""; 0]);
        assert_eq!(facts.keys_of("carol", AccountAction::Provision), [""; 0]);
    }

    #[rstest]
    #[case::mapped(&[("alice", "al")], "alice", None, LocalUsers::Mapped, Ok("al"))]
    #[case::nobody(&[], "alice", None, LocalUsers::Mapped, Err("alice has no local user there; ask an owner of the Endpoint to add them to spec.users"))]
    #[case::another(&[("bob", "bob")], "alice", Some("bob"), LocalUsers::Mapped, Err("alice has no local user there; ask an owner of the Endpoint to add them to spec.users"))]
    #[case::two(&[("alice", "al"), ("alice", "deploy")], "alice", None, LocalUsers::Mapped, Err("alice has more than one local user there; set localUser to one of al, deploy"))]
    #[case::one_of_two(&[("alice", "al"), ("alice", "deploy")], "alice", Some("deploy"), LocalUsers::Mapped, Ok("deploy"))]
    #[case::not_own(&[("alice", "al"), ("bob", "bob")], "alice", Some("bob"), LocalUsers::Mapped, Err("bob is not a local user of alice; set localUser to one of al, or leave it out"))]
    #[case::same(&[], "alice", None, LocalUsers::SameName, Ok("alice"))]
    #[case::same_but_mapped(&[("alice", "al")], "alice", None, LocalUsers::SameName, Ok("al"))]
    #[case::same_but_given_away(&[("bob", "alice")], "alice", None, LocalUsers::SameName, Err("alice has no local user there; ask an owner of the Endpoint to add them to spec.users"))]
    #[case::no_name_of_a_host(&[], "ALL", None, LocalUsers::SameName, Err("ALL has no local user there; ask an owner of the Endpoint to add them to spec.users"))]
    #[case::root(&[], "root", None, LocalUsers::SameName, Err("root has no local user there; ask an owner of the Endpoint to add them to spec.users"))]
    #[case::mapped_to_root(&[("alice", "root")], "alice", None, LocalUsers::Mapped, Err("alice has no local user there; ask an owner of the Endpoint to add them to spec.users"))]
    fn who_is_which_local_user(
        #[case] users: &[(&str, &str)],
        #[case] who: &str,
        #[case] named: Option<&str>,
        #[case] by: LocalUsers,
        #[case] expected: Result<&str, &str>,
    ) {
        let found = facts(users).local_user(&person(who, &[]), named, by);
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    /// Who asked on the host is who they were there, also where a policy gives everybody the user of their own name.
    #[rstest]
    #[case::mapped("al", "alice", None, Ok("al"))]
    #[case::of_nobody("bo", "lapse:endpoint:ws-1:bo", Some("bo"), Ok("bo"))]
    #[case::another(
        "al",
        "alice",
        Some("deploy"),
        Err("al, who requested there, can be granted access as al alone, and not as deploy")
    )]
    #[case::given_away(
        "al",
        "bob",
        None,
        Err(
            "al, who requested there, belongs to somebody else by spec.users now; request again there"
        )
    )]
    #[case::given_to_somebody(
        "al",
        "lapse:endpoint:ws-1:al",
        None,
        Err(
            "al, who requested there, belongs to somebody else by spec.users now; request again there"
        )
    )]
    #[case::taken_away(
        "bo",
        "alice",
        None,
        Err(
            "bo, who requested there, belongs to somebody else by spec.users now; request again there"
        )
    )]
    fn who_asked_there_is_nobody_else(
        #[case] asked_as: &str,
        #[case] username: &str,
        #[case] named: Option<&str>,
        #[case] expected: Result<&str, &str>,
    ) {
        let facts = facts(&[("alice", "al"), ("alice", "deploy")]);
        let who = local("ws-1", asked_as, username);
        let found = facts.local_user(&who, named, LocalUsers::SameName);
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }
}
