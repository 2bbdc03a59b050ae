//! What a policy says about the session of a right.

use lapse_crds::{GrantSession, Session, StartedWorkloads};

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
    if started_workloads == Some(StartedWorkloads::Delete) && !settings.controller.ends_workloads {
        return Err(PolicyError::new(
            PolicyErrorReason::NotPermitted,
            "spec.session.onEnd.startedWorkloads is Delete, but the controller may not delete \
             workloads; leave it out, or set the chart's value controller.endWorkloads"
                .to_owned(),
        ));
    }
    let max_grace_period = on_end.and_then(|on_end| on_end.max_grace_period);
    let guard = session.and_then(|session| session.guard).unwrap_or_default();
    Ok(GrantSession { guard, started_workloads, max_grace_period, impersonates: Vec::new() })
}

#[cfg(test)]
mod tests {
    use lapse_crds::{Guard, OnEnd};

    use super::*;
    use crate::testing::settings;

    fn session(guard: Option<Guard>, started: Option<StartedWorkloads>) -> Session {
        let on_end =
            started.map(|started| OnEnd { started_workloads: Some(started), ..OnEnd::default() });
        Session { guard, on_end, warnings: None }
    }

    #[test]
    fn the_guard_is_on_unless_the_policy_says_otherwise() {
        let guard =
            |session: Option<&Session>| compile_session(session, &settings()).unwrap().guard;
        assert_eq!(guard(None), Guard::Enforce);
        assert_eq!(guard(Some(&session(None, None))), Guard::Enforce);
        assert_eq!(guard(Some(&session(Some(Guard::Off), None))), Guard::Off);
    }

    #[test]
    fn what_was_started_is_deleted_only_where_the_controller_may() {
        let mut settings = settings();
        let delete = session(None, Some(StartedWorkloads::Delete));
        let compiled = compile_session(Some(&delete), &settings).unwrap();
        assert_eq!(compiled.started_workloads, Some(StartedWorkloads::Delete));
        settings.controller.ends_workloads = false;
        let error = compile_session(Some(&delete), &settings).unwrap_err();
        assert_eq!(error.reason, PolicyErrorReason::NotPermitted);
        let keep = session(None, Some(StartedWorkloads::Keep));
        assert!(compile_session(Some(&keep), &settings).is_ok());
    }
}
