//! What a policy says about the session of a right.

use lapse_crds::{GrantSession, OpenStreams, Session, StartedWorkloads};

use super::{PolicyError, PolicyErrorReason};
use crate::Settings;

/// What a Grant by the policy says about its session. What was started can be ended only where the controller
/// may delete it.
pub(super) fn compile_session(
    session: Option<&Session>,
    settings: &Settings,
) -> Result<GrantSession, PolicyError> {
    let on_end = session.and_then(|session| session.on_end.as_ref());
    let started_workloads = on_end.and_then(|on_end| on_end.started_workloads);
    let open_streams = on_end.and_then(|on_end| on_end.open_streams);
    let deletes = [
        ("startedWorkloads is Delete", started_workloads == Some(StartedWorkloads::Delete)),
        ("openStreams is DeletePods", open_streams == Some(OpenStreams::DeletePods)),
    ];
    let refused = deletes.into_iter().find(|(_, is_said)| *is_said);
    if let Some((said, _)) = refused.filter(|_| !settings.controller.ends_workloads) {
        return Err(PolicyError::new(
            PolicyErrorReason::NotPermitted,
            format!(
                "spec.session.onEnd.{said}, but the controller may not delete \
                 workloads; leave it out, or set the chart's value controller.endWorkloads"
            ),
        ));
    }
    let local_sessions = on_end.and_then(|on_end| on_end.local_sessions);
    let changes = on_end.and_then(|on_end| on_end.changes);
    let max_grace_period = on_end.and_then(|on_end| on_end.max_grace_period);
    let guard = session.and_then(|session| session.guard).unwrap_or_default();
    let record = session.and_then(|session| session.record);
    let warnings = session.and_then(|session| session.warnings.clone());
    Ok(GrantSession {
        guard,
        started_workloads,
        open_streams,
        local_sessions,
        changes,
        record,
        warnings,
        max_grace_period,
        impersonates: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use lapse_crds::{Guard, OnEnd};
    use rstest::rstest;

    use super::*;
    use crate::testing::settings;

    fn session(guard: Option<Guard>, started: Option<StartedWorkloads>) -> Session {
        let on_end =
            started.map(|started| OnEnd { started_workloads: Some(started), ..OnEnd::default() });
        Session { guard, on_end, ..Session::default() }
    }

    #[test]
    fn the_guard_is_on_unless_the_policy_says_otherwise() {
        let guard =
            |session: Option<&Session>| compile_session(session, &settings()).unwrap().guard;
        assert_eq!(guard(None), Guard::Enforce);
        assert_eq!(guard(Some(&session(None, None))), Guard::Enforce);
        assert_eq!(guard(Some(&session(Some(Guard::Off), None))), Guard::Off);
    }

    #[rstest]
    #[case::what_was_started(Some(StartedWorkloads::Delete), None, false)]
    #[case::what_was_entered(None, Some(OpenStreams::DeletePods), false)]
    #[case::nothing(Some(StartedWorkloads::Keep), Some(OpenStreams::Keep), true)]
    fn pods_are_deleted_only_where_the_controller_may(
        #[case] started_workloads: Option<StartedWorkloads>,
        #[case] open_streams: Option<OpenStreams>,
        #[case] everywhere: bool,
    ) {
        let mut settings = settings();
        let on_end = OnEnd { started_workloads, open_streams, ..OnEnd::default() };
        let session = Session { on_end: Some(on_end), ..Session::default() };
        let compiled = compile_session(Some(&session), &settings).unwrap();
        assert_eq!(
            (compiled.started_workloads, compiled.open_streams),
            (started_workloads, open_streams)
        );
        settings.controller.ends_workloads = false;
        let compiled = compile_session(Some(&session), &settings);
        let reason = compiled.map(|_| ()).map_err(|error| error.reason);
        let expected = if everywhere { Ok(()) } else { Err(PolicyErrorReason::NotPermitted) };
        assert_eq!(reason, expected);
    }
}
