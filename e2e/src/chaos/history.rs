//! What became of each right, by the audit log of the API server and the objects that it showed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lapse_cluster::rights::Component;
use lapse_crds::{GrantSpec, OBJECT_PREFIX};

use super::step::Policy;
use crate::audit::{self, Asked};
use crate::plane::install::NAMESPACE as HOME;

/// Where people ask.
pub(super) const NAMESPACE: &str = "chaos";
/// The policy that denies everything, while there is one.
pub(super) const FORBIDDING: &str = "forbidding";
/// Who switches policies off, and does nothing else: the audit log does not say what was written.
pub(super) const SWITCHES_OFF: &str = "olga";
/// Who switches them on, and does nothing else.
pub(super) const SWITCHES_ON: &str = "oscar";

/// From when a call came until it was answered: it took effect in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// Why a right ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) why: String,
    /// From when on it must not be held.
    pub(super) at: DateTime<Utc>,
    /// When that was taken back, so that what stood all the time may stay.
    pub(super) until: Option<DateTime<Utc>>,
}

/// Somebody's approval of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Approval {
    pub(super) by: String,
    pub(super) called: Span,
}

/// The binding of a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stood {
    pub(super) made: Span,
    pub(super) gone: Option<Span>,
}

/// A right whose binding was ever made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Right {
    pub(super) grant: String,
    pub(super) required: usize,
    pub(super) approvals: Vec<Approval>,
    /// When its policy was changed, which voids approvals.
    pub(super) changes: Vec<Span>,
    pub(super) ends: Vec<End>,
    pub(super) bindings: Vec<Stood>,
}

/// What objects said while they were there.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// What each Grant says, by its name.
    pub(super) grants: BTreeMap<String, GrantSpec>,
    /// By which policy each request was made, by its name.
    pub(super) policies: BTreeMap<String, Policy>,
}

impl Known {
    /// The rights whose bindings were ever made, by what was asked of the API server.
    pub(super) fn rights(&self, asked: &[Asked]) -> Vec<Right> {
        let calls: Vec<Call<'_>> = asked.iter().filter_map(Call::of).collect();
        let switches = Switches::of(&calls);
        let mut bindings: BTreeMap<&str, Vec<Stood>> = BTreeMap::new();
        for call in &calls {
            let Call { made: Made::Binding { grant }, verb, span, .. } = call else { continue };
            let stood = bindings.entry(*grant).or_default();
            match (*verb, stood.last_mut()) {
                ("create", _) => stood.push(Stood { made: *span, gone: None }),
                ("delete", Some(last)) if last.gone.is_none() => last.gone = Some(*span),
                _ => {}
            }
        }
        let right = |(grant, bindings): (&str, Vec<Stood>)| {
            let mut right = self.right(grant, &calls, &switches);
            right.bindings = bindings;
            right
        };
        bindings.into_iter().map(right).collect()
    }

    fn right(&self, grant: &str, calls: &[Call<'_>], switches: &Switches) -> Right {
        // What follows the last dash is the hash of the request's UID.
        let request = grant.strip_prefix(&format!("{NAMESPACE}-")).unwrap_or(grant);
        let request = request.rsplit_once('-').map_or(request, |(request, _)| request);
        let policy = self.policies.get(request).copied();
        let mut right = Right {
            grant: grant.to_owned(),
            required: policy.map_or(1, Policy::required),
            ..Right::default()
        };
        if let Some(spec) = self.grants.get(grant) {
            let (why, at) = ("its time".to_owned(), spec.expires_at.time());
            right.ends.push(End { why, at, until: None });
        }
        for Call { user, verb, made, span } in calls {
            let of_it = match made {
                Made::Decision { request: of, verdict } if *of == request => {
                    if *verdict == "approve" {
                        let by = (*user).to_owned();
                        right.approvals.push(Approval { by, called: *span });
                        continue;
                    }
                    (*verdict).to_owned()
                }
                Made::Request { name } if *name == request && *verb == "delete" => {
                    "the deletion of its request".to_owned()
                }
                Made::Grant { name } if *name == grant && *verb == "delete" => {
                    "the deletion of its Grant".to_owned()
                }
                Made::Binding { grant: of } | Made::Marker { grant: of }
                    if *of == grant && *verb == "delete" && *user == "admin" =>
                {
                    "the deletion of its binding or marker".to_owned()
                }
                _ => continue,
            };
            right.ends.push(End { why: of_it, at: span.to, until: None });
        }
        if let Some(policy) = policy {
            right.ends.extend(switches.offs(policy.name()));
            right.changes.extend(switches.changes(policy.name()));
        }
        right.ends.extend(switches.offs(FORBIDDING));
        right
    }
}

/// What was written that matters.
struct Call<'a> {
    user: &'a str,
    verb: &'a str,
    made: Made<'a>,
    span: Span,
}

enum Made<'a> {
    Binding { grant: &'a str },
    Marker { grant: &'a str },
    Grant { name: &'a str },
    Request { name: &'a str },
    Decision { request: &'a str, verdict: &'a str },
    Policy { name: &'a str },
}

impl<'a> Call<'a> {
    fn of(asked: &'a Asked) -> Option<Self> {
        let Asked { user, access, code, received, answered } = asked;
        let verb = access.verb.as_str();
        if !(200..300).contains(code) || !audit::WRITES.contains(&verb) {
            return None;
        }
        let (name, place) = (access.name.as_deref()?, access.namespace.as_deref());
        let made = match (access.resource.as_str(), place) {
            ("rolebindings", Some(place)) => {
                let grant = name.strip_prefix(OBJECT_PREFIX)?;
                match place {
                    HOME => Made::Marker { grant },
                    NAMESPACE => Made::Binding { grant },
                    _ => return None,
                }
            }
            ("grants", _) => Made::Grant { name },
            ("accessrequests", _) => Made::Request { name },
            ("accessdecisions", _) if verb == "create" => {
                let mut parts = name.split('.');
                Made::Decision { request: parts.next()?, verdict: parts.next()? }
            }
            ("jitpolicies", _) => Made::Policy { name },
            _ => return None,
        };
        // Whoever of Lapse's deletes it follows from something else.
        let is_ours = *user == audit::user(Component::Controller);
        if is_ours && verb == "delete" && !matches!(made, Made::Binding { .. }) {
            return None;
        }
        Some(Self { user, verb, made, span: Span { from: *received, to: *answered } })
    }
}

/// When policies were switched.
#[derive(Debug, Default)]
struct Switches(BTreeMap<String, Vec<(bool, Span)>>);

impl Switches {
    fn of(calls: &[Call<'_>]) -> Self {
        let mut switches = Self::default();
        for Call { user, verb, made, span } in calls {
            let Made::Policy { name } = made else { continue };
            let is_off = match (*user, *verb) {
                (SWITCHES_OFF, _) => true,
                (SWITCHES_ON, _) => false,
                (_, "create") if *name == FORBIDDING => true,
                (_, "delete") if *name == FORBIDDING => false,
                _ => continue,
            };
            switches.0.entry((*name).to_owned()).or_default().push((is_off, *span));
        }
        switches
    }

    fn of_policy(&self, policy: &str) -> &[(bool, Span)] {
        self.0.get(policy).map_or(&[], Vec::as_slice)
    }

    /// What is as it was is no change: each policy is on at first.
    fn changes(&self, policy: &str) -> Vec<Span> {
        let mut was_off = false;
        let changes = self.of_policy(policy).iter().filter(|(is_off, _)| {
            let is_change = *is_off != was_off;
            was_off = *is_off;
            is_change
        });
        changes.map(|(_, span)| *span).collect()
    }

    /// From when until when nobody may hold what it gives.
    fn offs(&self, policy: &str) -> Vec<End> {
        let all = self.of_policy(policy);
        let offs = all.iter().enumerate().filter(|(_, (is_off, _))| *is_off);
        let end = |(index, (_, span)): (usize, &(bool, Span))| {
            let on = all.iter().skip(index + 1).find(|(is_off, _)| !is_off);
            let why = format!("policy {policy}");
            End { why, at: span.to, until: on.map(|(_, span)| span.from) }
        };
        offs.map(end).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use lapse_cluster::rights::Access;

    use super::*;

    const GRANT: &str = "chaos-fix-1-abcdef";

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn call(user: &str, verb: &str, resource: &str, name: &str, second: i64) -> Asked {
        let namespace = match resource {
            "grants" | "jitpolicies" => None,
            _ => Some(NAMESPACE.to_owned()),
        };
        let access = Access {
            namespace,
            group: String::new(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
            name: Some(name.to_owned()),
        };
        let answered = at(second) + TimeDelta::milliseconds(5);
        Asked { user: user.to_owned(), access, code: 200, received: at(second), answered }
    }

    fn rights(asked: &[Asked]) -> Vec<Right> {
        let policies = BTreeMap::from([("fix-1".to_owned(), Policy::Two)]);
        Known { policies, ..Known::default() }.rights(asked)
    }

    #[test]
    fn a_right_is_what_the_log_says_of_it() {
        let controller = audit::user(Component::Controller);
        let name = format!("lapse:{GRANT}");
        let asked = [
            call("alice", "create", "accessrequests", "fix-1", 0),
            call("bob", "create", "accessdecisions", "fix-1.approve.1", 1),
            call("ben", "create", "accessdecisions", "fix-1.approve.2", 2),
            call("ben", "create", "accessdecisions", "fix-12.deny.1", 2),
            call(&controller, "create", "rolebindings", &name, 3),
            call("olga", "patch", "jitpolicies", "two", 4),
            call("oscar", "patch", "jitpolicies", "two", 6),
            call("alice", "create", "accessdecisions", "fix-1.end.3", 7),
            call(&controller, "delete", "rolebindings", &name, 8),
        ];
        let rights = rights(&asked);
        let [right] = &rights[..] else { panic!("{rights:#?}") };
        assert_eq!((right.required, right.bindings.len()), (2, 1));
        assert_eq!(right.bindings[0].gone.map(|span| span.from), Some(at(8)));
        assert_eq!(right.approvals.iter().map(|by| &by.by).collect::<Vec<_>>(), ["bob", "ben"]);
        let ends = right.ends.iter().map(|end| (end.why.as_str(), end.until.is_some()));
        assert_eq!(ends.collect::<Vec<_>>(), [("end", false), ("policy two", true)]);
    }

    #[test]
    fn a_policy_is_changed_by_what_changes_it() {
        let switch = |who, second| call(who, "patch", "jitpolicies", "two", second);
        let asked = [switch("oscar", 1), switch("olga", 2), switch("olga", 3), switch("oscar", 4)];
        let calls: Vec<_> = asked.iter().filter_map(Call::of).collect();
        let changes = Switches::of(&calls).changes("two");
        assert_eq!(changes.iter().map(|span| span.from).collect::<Vec<_>>(), [at(2), at(4)]);
    }

    #[test]
    fn what_was_refused_did_not_happen() {
        let name = format!("lapse:{GRANT}");
        let mut refused = call("mallory", "create", "rolebindings", &name, 3);
        refused.code = 403;
        assert_eq!(rights(&[refused]), []);
    }
}
