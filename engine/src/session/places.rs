//! What a Grant says of its session, by where its right is held.

use lapse_crds::{GrantSession, Guard, LastingChanges, LocalSessions, Recording};

use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::target::Privilege;

/// What a Grant in the cluster says. Its holder is warned by the policy as it is when a warning is due.
pub(crate) fn of_cluster(policy: &GrantSession) -> GrantSession {
    GrantSession {
        local_sessions: None,
        changes: None,
        record: None,
        warnings: None,
        ..policy.clone()
    }
}

/// What a Grant on a host says, if it says anything. What was changed matters where its holder may act as root; and nothing
/// that is held there is used in the cluster. An agent that warns nobody knows no list of warnings, and would refuse the order.
pub(crate) fn of_host(
    policy: &GrantSession,
    privilege: &Privilege,
    endpoint: Option<&Read<EndpointFacts>>,
) -> Option<GrantSession> {
    let gives_root = match privilege {
        Privilege::Elevation(elevation) => elevation.gives_root(),
        Privilege::Role(_) | Privilege::Rules(_) => false,
    };
    let local_sessions = policy.local_sessions.filter(|said| *said == LocalSessions::LogOff);
    let guard = if gives_root { policy.guard } else { Guard::Off };
    let changes = policy.changes.filter(|said| gives_root && *said == LastingChanges::Revert);
    let warns = endpoint.and_then(Read::found).is_some_and(|facts| facts.warns);
    let warnings = policy.warnings.clone().filter(|_| warns);
    // Nor does one that records nothing know what to record.
    let records = endpoint.and_then(Read::found).is_some_and(EndpointFacts::records);
    let record =
        policy.record.filter(|said| records && is_sudo(privilege) && *said == Recording::Children);
    let says_something = gives_root || local_sessions.is_some() || warnings.is_some();
    says_something.then_some(GrantSession {
        guard,
        started_workloads: None,
        open_streams: None,
        local_sessions,
        changes,
        record,
        warnings,
        max_grace_period: None,
        impersonates: Vec::new(),
    })
}

fn is_sudo(privilege: &Privilege) -> bool {
    matches!(privilege, Privilege::Elevation(elevation) if elevation.is_sudo())
}

#[cfg(test)]
mod tests {
    use lapse_crds::{Capability, GrantDuration, OpenStreams, StartedWorkloads};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::elevation::Elevation;

    fn policy() -> GrantSession {
        GrantSession {
            guard: Guard::Enforce,
            started_workloads: Some(StartedWorkloads::Delete),
            open_streams: Some(OpenStreams::DeletePods),
            local_sessions: Some(LocalSessions::LogOff),
            changes: Some(LastingChanges::Revert),
            record: Some(Recording::Children),
            warnings: None,
            max_grace_period: None,
            impersonates: Vec::new(),
        }
    }

    #[test]
    fn each_place_is_told_what_is_for_it() {
        let cluster = of_cluster(&GrantSession { warnings: Some(vec![]), ..policy() });
        assert_eq!(cluster.warnings, None);
        assert_eq!(
            (cluster.guard, cluster.local_sessions, cluster.changes),
            (Guard::Enforce, None, None)
        );
        let admin = Privilege::Elevation(Elevation::Admin);
        let host = of_host(&policy(), &admin, None).unwrap();
        assert_eq!((host.started_workloads, host.open_streams), (None, None));
        assert_eq!(
            (host.guard, host.local_sessions, host.changes),
            (Guard::Enforce, Some(LocalSessions::LogOff), Some(LastingChanges::Revert))
        );
        // What is so where nothing is said is left out, but for the guard, which older Grants do not name.
        let plain = GrantSession {
            local_sessions: Some(LocalSessions::Keep),
            changes: Some(LastingChanges::Report),
            ..policy()
        };
        let host = of_host(&plain, &admin, None).unwrap();
        assert_eq!((host.guard, host.local_sessions, host.changes), (Guard::Enforce, None, None));
    }

    #[rstest]
    #[case::a_group(json!({"group": "docker"}))]
    #[case::raised(json!({"account": {"action": "Raise", "groups": ["adm", "disk"]}}))]
    #[case::provisioned(json!({"account": {"action": "Provision", "groups": ["lxd"]}}))]
    fn who_is_root_by_a_group_is_watched(#[case] what: Value) {
        let mut target = json!({"name": "web-1"});
        target.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        let elevation = Elevation::of(&serde_json::from_value(target).unwrap()).unwrap();
        let host = of_host(&policy(), &Privilege::Elevation(elevation), None).unwrap();
        assert_eq!((host.guard, host.changes), (Guard::Enforce, Some(LastingChanges::Revert)));
        assert_eq!(host.record, None);
    }

    #[test]
    fn who_is_not_root_is_not_watched() {
        let group = Privilege::Elevation(Elevation::Group("ops".into()));
        let host = of_host(&policy(), &group, None).unwrap();
        assert_eq!((host.guard, host.changes), (Guard::Off, None));
        assert_eq!(host.local_sessions, Some(LocalSessions::LogOff));
        let keeps = GrantSession { local_sessions: Some(LocalSessions::Keep), ..policy() };
        assert_eq!(of_host(&keeps, &group, None), None);
    }

    #[rstest]
    #[case::by_sudo(Elevation::Admin, true, Some(Recording::Children))]
    #[case::an_agent_that_records_nothing(Elevation::Admin, false, None)]
    #[case::a_group(Elevation::Group("ops".into()), true, None)]
    fn what_is_started_is_recorded_where_it_can_be(
        #[case] elevation: Elevation,
        #[case] records: bool,
        #[case] expected: Option<Recording>,
    ) {
        let records = records.then_some(Capability::SessionRecord).into_iter().collect();
        let facts = EndpointFacts { capabilities: Some(records), ..EndpointFacts::default() };
        let privilege = Privilege::Elevation(elevation);
        let host = of_host(&policy(), &privilege, Some(&Read::Found(facts))).unwrap();
        assert_eq!(host.record, expected);
    }

    #[rstest]
    #[case::of_the_policy(Some(&["15m", "2m"][..]), true, Some(&["15m", "2m"][..]))]
    #[case::none(Some(&[][..]), true, Some(&[][..]))]
    #[case::by_the_length(None, true, None)]
    #[case::an_earlier_agent(Some(&["15m"][..]), false, None)]
    fn an_agent_is_told_the_warnings_that_it_gives(
        #[case] own: Option<&[&str]>,
        #[case] warns: bool,
        #[case] expected: Option<&[&str]>,
    ) {
        let list = |list: &[&str]| -> Vec<GrantDuration> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        let policy = GrantSession { warnings: own.map(list), ..policy() };
        let endpoint = Read::Found(EndpointFacts { warns, ..EndpointFacts::default() });
        let group = Privilege::Elevation(Elevation::Group("ops".into()));
        let host = of_host(&policy, &group, Some(&endpoint));
        assert_eq!(host.and_then(|host| host.warnings), expected.map(list));
    }
}
