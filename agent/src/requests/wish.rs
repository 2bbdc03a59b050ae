//! What somebody on this host asks for, and what the agent signs of it. Pure.

use chrono::{DateTime, Utc};
use lapse_crds::{
    AccessDecision, AccessDecisionSpec, AccessRequest, AccessRequestSpec, AccountAction,
    AccountTarget, Admin, Command, EndpointTarget, GrantDuration, RequestTarget, Target, Verdict,
};
use lapse_engine::order::Host;
use lapse_engine::origin::{StatementError, digest_of, digest_of_end};
use serde::{Deserialize, Serialize};

use crate::identity::HostKey;
use crate::origin::{ProveError, prove};
use crate::text::plain;

/// The command on the socket by which somebody asks for something.
pub const COMMAND: &str = "request";
/// The longest request, in bytes of JSON: a gateway hears of no longer one.
const LONGEST: usize = 24 * 1024;
/// How much of the names of a host and of a user the name of a request has, in characters.
const OF_HOST: usize = 100;
const OF_USER: usize = 32;

/// What somebody asks for on this host: exactly one of `admin`, `commands`, `groups` alone, `application` and `account`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wish {
    /// `sudo` for everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// `sudo` for these commands: an absolute path and exact arguments each, separated by spaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Membership of this local group; with `account`, of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The application of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// What is to be done with their own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountAction>,
    /// How long. Absent: as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GrantDuration>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The policy. Absent: the first one that offers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// Whose a request is, and which.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// This host.
    pub host: &'a Host,
    /// The local user, as the kernel says.
    pub user: &'a str,
    /// The namespace to which the gateway carries it.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Why something is not asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// It is nothing, or several things at once.
    #[error(
        "a request is for exactly one of --admin, --command, --group, --application and --account"
    )]
    Elevation,
    /// It is several groups.
    #[error("a request is for one group; request each by itself, or all with --account raise")]
    Groups,
    /// A command is none.
    #[error(
        "--command {0:?} does not begin with an absolute path; write it as '/usr/bin/systemctl restart nginx'"
    )]
    Command(String),
    /// It is too long.
    #[error(
        "the request is too long ({0} bytes, and {LONGEST} at most): shorten its reason, or name fewer commands"
    )]
    Long(usize),
    /// Nothing is said for them.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// It cannot be written.
    #[error("the request cannot be written: {0}")]
    Statement(#[from] StatementError),
}

impl From<serde_json::Error> for WishError {
    fn from(error: serde_json::Error) -> Self {
        Self::Statement(error.into())
    }
}

impl Wish {
    fn target(&self, host: &Host, user: &str) -> Result<EndpointTarget, WishError> {
        let is_account = self.account.is_some();
        let asked = [
            self.admin,
            !self.commands.is_empty(),
            !self.groups.is_empty() && !is_account,
            self.application.is_some(),
            is_account,
        ];
        if asked.into_iter().filter(|is_asked| *is_asked).count() != 1 {
            return Err(WishError::Elevation);
        }
        let (account, group) = match (self.account, self.groups.as_slice()) {
            (Some(action), groups) => {
                let groups = groups.to_vec();
                (Some(AccountTarget { action, groups, authorized_keys: Vec::new() }), None)
            }
            (None, []) => (None, None),
            (None, [group]) => (None, Some(group.clone())),
            (None, _) => return Err(WishError::Groups),
        };
        Ok(EndpointTarget {
            name: host.name.clone(),
            local_user: Some(user.to_owned()),
            admin: self.admin.then_some(Admin {}),
            commands: self.commands.iter().map(|line| command(line)).collect::<Result<_, _>>()?,
            group,
            application: self.application.clone(),
            account,
            ..EndpointTarget::default()
        })
    }

    /// What it is, in words that can be shown.
    #[must_use]
    pub fn words(&self) -> String {
        let groups = || self.groups.join(", ");
        let words = match (self.account, &self.application, self.commands.as_slice()) {
            (Some(action), _, _) if self.groups.is_empty() => format!("account {action}"),
            (Some(action), _, _) => format!("account {action} with {}", groups()),
            (None, Some(name), _) => format!("application {name}"),
            (None, None, [command]) => format!("sudo {command}"),
            (None, None, []) if self.groups.is_empty() => "sudo".to_owned(),
            (None, None, []) => format!("group {}", groups()),
            (None, None, several) => format!("sudo for {} commands", several.len()),
        };
        plain(&words, 128)
    }
}

/// A command with exact arguments, separated by spaces: no shell reads it.
fn command(line: &str) -> Result<Command, WishError> {
    let mut words = line.split_whitespace().map(ToOwned::to_owned);
    match words.next() {
        Some(path) if path.starts_with('/') => {
            Ok(Command { path, args: words.collect(), args_pattern: None })
        }
        _ => Err(WishError::Command(plain(line, 128))),
    }
}

/// The request of somebody, with the statement that it is theirs, as JSON.
///
/// # Errors
/// If it is none, or nothing is stated for them.
pub fn request(
    whose: Whose,
    wish: &Wish,
    now: DateTime<Utc>,
    key: &HostKey,
) -> Result<String, WishError> {
    let Whose { host, user, namespace, name } = whose;
    let Wish { duration, reason, ticket, policy, .. } = wish.clone();
    let mut spec = AccessRequestSpec {
        policy,
        target: Target { kubernetes: None, endpoint: Some(wish.target(host, user)?) },
        duration,
        start_time: None,
        ticket,
        reason,
        emergency: false,
        extends: None,
        origin: None,
        requester: None,
    };
    let digest = digest_of(namespace, name, &spec)?;
    spec.origin = Some(prove(host, user, &digest, now, key)?);
    let mut request = AccessRequest::new(name, spec);
    request.metadata.namespace = Some(namespace.to_owned());
    let json = serde_json::to_string(&request)?;
    if json.len() > LONGEST { Err(WishError::Long(json.len())) } else { Ok(json) }
}

/// That somebody ends their request, with the statement that they do, as JSON.
///
/// # Errors
/// If nothing is stated for them.
pub fn end(whose: Whose, now: DateTime<Utc>, key: &HostKey) -> Result<String, WishError> {
    let Whose { host, user, namespace, name } = whose;
    let mut spec = AccessDecisionSpec {
        request: RequestTarget { name: name.to_owned(), uid: None },
        verdict: Verdict::End,
        duration: None,
        outcome: None,
        comment: None,
        origin: None,
        decider: None,
        policy: None,
        rules_hash: None,
        rules: Vec::new(),
    };
    let digest = digest_of_end(namespace, &spec)?;
    spec.origin = Some(prove(host, user, &digest, now, key)?);
    let mut decision = AccessDecision::new(name, spec);
    decision.metadata.namespace = Some(namespace.to_owned());
    Ok(serde_json::to_string(&decision)?)
}

/// The name of a request, which no other has by chance: it is signed, so that it is made once.
#[must_use]
pub fn name_of(host: &Host, user: &str, chance: u64) -> String {
    let is_end = |character| matches!(character, '-' | '.');
    let host: String = host.name.chars().take(OF_HOST).collect();
    let user: String = user.chars().take(OF_USER).map(in_name).collect();
    let user = match user.trim_matches(is_end) {
        "" => "user",
        user => user,
    };
    format!("{}-{user}-{chance:016x}", host.trim_end_matches(is_end))
}

fn in_name(character: char) -> char {
    match character.to_ascii_lowercase() {
        character @ ('a'..='z' | '0'..='9') => character,
        _ => '-',
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use lapse_engine::origin::verify;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn wish(said: Value) -> Wish {
        serde_json::from_value(said).unwrap()
    }

    fn host() -> Host {
        Host { name: "web-1".into(), uid: "u-1".into() }
    }

    fn key() -> HostKey {
        HostKey::from_seed(&[5; 32])
    }

    fn asked(user: &str, said: Value) -> Result<AccessRequest, WishError> {
        let whose = Whose { host: &host(), user, namespace: "ops", name: "web-1-al-0" };
        let json = request(whose, &wish(said), DateTime::UNIX_EPOCH, &key())?;
        Ok(serde_json::from_str(&json).unwrap())
    }

    #[rstest]
    #[case::everything(json!({"admin": true}), json!({"admin": {}}), "sudo")]
    #[case::a_command(
        json!({"commands": ["/usr/bin/systemctl  restart nginx"]}),
        json!({"commands": [{"path": "/usr/bin/systemctl", "args": ["restart", "nginx"]}]}),
        "sudo /usr/bin/systemctl  restart nginx"
    )]
    #[case::commands(
        json!({"commands": ["/bin/a", "/bin/b"]}),
        json!({"commands": [{"path": "/bin/a"}, {"path": "/bin/b"}]}),
        "sudo for 2 commands"
    )]
    #[case::a_group(json!({"groups": ["adm"]}), json!({"group": "adm"}), "group adm")]
    #[case::an_application(json!({"application": "dump"}), json!({"application": "dump"}), "application dump")]
    #[case::an_account(json!({"account": "Enable"}), json!({"account": {"action": "Enable"}}), "account Enable")]
    #[case::with_groups(
        json!({"account": "Raise", "groups": ["adm", "ops"]}),
        json!({"account": {"action": "Raise", "groups": ["adm", "ops"]}}),
        "account Raise with adm, ops"
    )]
    fn what_is_asked_for_is_for_this_host_and_who_asks(
        #[case] said: Value,
        #[case] expected: Value,
        #[case] words: &str,
    ) {
        let request = asked("al", said.clone()).unwrap();
        let target = serde_json::to_value(request.spec.target).unwrap();
        let mut endpoint = json!({"name": "web-1", "localUser": "al"});
        endpoint.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
        assert_eq!(target, json!({"endpoint": endpoint}));
        assert_eq!(wish(said).words(), words);
    }

    /// All that is said is signed, with where it goes and what it is called.
    #[test]
    fn what_is_asked_for_is_signed_whole() {
        let said = json!({
            "admin": true, "duration": "30m", "reason": "Checkout fails", "ticket": "INC1", "policy": "hosts",
        });
        let AccessRequest { metadata, spec, .. } = asked("al", said).unwrap();
        assert_eq!(metadata.namespace.as_deref(), Some("ops"));
        let whole = (spec.reason.as_deref(), spec.ticket.as_deref(), spec.policy.as_deref());
        assert_eq!(whole, (Some("Checkout fails"), Some("INC1"), Some("hosts")));
        assert_eq!(spec.duration.unwrap().seconds(), 1800);
        let origin = spec.origin.as_ref().unwrap();
        assert_eq!((&*origin.endpoint, &*origin.uid, &*origin.local_user), ("web-1", "u-1", "al"));
        let public = BASE64.encode(key().public());
        let digest = digest_of("ops", metadata.name.as_deref().unwrap(), &spec).unwrap();
        verify(origin, &public, &digest).unwrap();
        let elsewhere = digest_of("shop", "web-1-al-0", &spec).unwrap();
        assert_eq!(verify(origin, &public, &elsewhere), Err(StatementError::Signature));
    }

    #[test]
    fn an_end_is_signed_too() {
        let whose = Whose { host: &host(), user: "al", namespace: "ops", name: "web-1-al-0" };
        let json = end(whose, DateTime::UNIX_EPOCH, &key()).unwrap();
        let AccessDecision { metadata, spec } = serde_json::from_str(&json).unwrap();
        assert_eq!((spec.request.name.as_str(), spec.verdict), ("web-1-al-0", Verdict::End));
        let digest = digest_of_end(&metadata.namespace.unwrap(), &spec).unwrap();
        verify(&spec.origin.unwrap(), &BASE64.encode(key().public()), &digest).unwrap();
        let root = end(Whose { user: "root", ..whose }, DateTime::UNIX_EPOCH, &key());
        assert_eq!(root, Err(WishError::Prove(ProveError::Root)));
    }

    #[rstest]
    #[case::nothing(
        "al",
        json!({"reason": "x"}),
        "a request is for exactly one of --admin, --command, --group, --application and --account"
    )]
    #[case::several(
        "al",
        json!({"admin": true, "application": "dump"}),
        "a request is for exactly one of --admin, --command, --group, --application and --account"
    )]
    #[case::two_groups(
        "al",
        json!({"groups": ["adm", "ops"]}),
        "a request is for one group; request each by itself, or all with --account raise"
    )]
    #[case::no_path(
        "al",
        json!({"commands": ["systemctl\u{1b}"]}),
        "--command \"systemctl?\" does not begin with an absolute path; write it as '/usr/bin/systemctl restart nginx'"
    )]
    #[case::root(
        "root",
        json!({"admin": true}),
        "root belongs to nobody in the cluster: request as the local user that is yours, without sudo"
    )]
    fn what_nobody_may_ask_is_told(
        #[case] user: &str,
        #[case] said: Value,
        #[case] expected: &str,
    ) {
        assert_eq!(asked(user, said).unwrap_err().to_string(), expected);
    }

    /// A gateway would take it for something that no agent has signed.
    #[test]
    fn what_is_too_long_is_not_sent() {
        let error = asked("al", json!({"admin": true, "reason": "x".repeat(LONGEST)})).unwrap_err();
        assert!(error.to_string().starts_with("the request is too long ("), "{error}");
    }

    #[rstest]
    #[case("web-1", "al", "web-1-al-000000000000002a")]
    #[case("db.shop.example", "Al_B$", "db.shop.example-al-b-000000000000002a")]
    #[case("web-1", "_", "web-1-user-000000000000002a")]
    fn it_has_a_name_that_the_cluster_takes(
        #[case] host: &str,
        #[case] user: &str,
        #[case] expected: &str,
    ) {
        let host = Host { name: host.into(), uid: "u".into() };
        assert_eq!(name_of(&host, user, 42), expected);
    }

    #[test]
    fn the_longest_names_are_cut_where_a_name_may_end() {
        let host = Host { name: format!("{}.b", "a".repeat(OF_HOST - 1)), uid: "u".into() };
        let name = name_of(&host, &"u".repeat(99), 0);
        assert!(name.starts_with(&format!("{}-u", "a".repeat(OF_HOST - 1))), "{name}");
        assert!(name.len() < 200);
    }
}
