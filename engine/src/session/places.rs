//! What a Grant says of its session, by where its right is held.

use lapse_crds::{GrantSession, Guard, LocalSessions};

/// What a Grant in the cluster says.
pub(crate) fn of_cluster(policy: &GrantSession) -> GrantSession {
    GrantSession { local_sessions: None, ..policy.clone() }
}

/// What a Grant on a host says, if it says anything: nothing that is held there is used in the cluster.
pub(crate) fn of_host(policy: &GrantSession) -> Option<GrantSession> {
    let local_sessions = policy.local_sessions.filter(|said| *said == LocalSessions::LogOff)?;
    Some(GrantSession {
        guard: Guard::Off,
        started_workloads: None,
        open_streams: None,
        local_sessions: Some(local_sessions),
        max_grace_period: None,
        impersonates: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use lapse_crds::{OpenStreams, StartedWorkloads};

    use super::*;

    #[test]
    fn each_place_is_told_what_is_for_it() {
        let policy = GrantSession {
            guard: Guard::Enforce,
            started_workloads: Some(StartedWorkloads::Delete),
            open_streams: Some(OpenStreams::DeletePods),
            local_sessions: Some(LocalSessions::LogOff),
            max_grace_period: None,
            impersonates: Vec::new(),
        };
        let cluster = of_cluster(&policy);
        assert_eq!((cluster.guard, cluster.local_sessions), (Guard::Enforce, None));
        let host = of_host(&policy).unwrap();
        assert_eq!(
            (host.guard, host.started_workloads, host.open_streams),
            (Guard::Off, None, None)
        );
        assert_eq!(host.local_sessions, Some(LocalSessions::LogOff));
        let keeps = GrantSession { local_sessions: Some(LocalSessions::Keep), ..policy };
        assert_eq!(of_host(&keeps), None);
    }
}
