//! Requests that are judged again, apart from the cluster's own judgement: by the same engine, from what is passed in.
//!
//! What else somebody asks for and holds is left out, and so is as whom the holder of a role could act: both change from
//! one moment to the next.

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequest, Candidate, CheckStatus, Identity, JitPolicy};
use lapse_engine::attest::{AttestationError, Attested};
use lapse_engine::peers::Peers;
use lapse_engine::policy::{BannedRoles, Policies, PolicyState};
use lapse_engine::request::{Foreseen, Observed, evaluate, foreseen};
use lapse_engine::role::RoleRules;
use lapse_engine::surroundings::Surroundings;
use lapse_engine::target::ResolvedTarget;
use lapse_engine::{Read, Settings};
use serde::Serialize;

use crate::fault::Fault;

/// What bears on a request.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) policies: Policies,
    pub(crate) role: Read<RoleRules>,
    pub(crate) banned_roles: BannedRoles,
    pub(crate) surroundings: Surroundings,
    pub(crate) settings: Settings,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// In words.
    pub(crate) why: String,
    /// The policy that decides, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    pub(crate) checks: Vec<CheckStatus>,
    pub(crate) candidates: Vec<Candidate>,
}

/// The same in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Verdict {
    /// It is given at once.
    Granted,
    /// It waits for people.
    Pending,
    /// It gets nothing.
    Denied,
    /// Something is not known on which it depends.
    Unknown,
}

/// A policy of a file, compiled. What would not be stored decides nothing.
pub(crate) fn state_of(policy: &JitPolicy, settings: &Settings) -> Result<PolicyState, Fault> {
    let state = PolicyState::of(policy, settings);
    match &state.defect {
        Some(defect) => {
            Err(Fault::Other(format!("this policy would be refused: {}", defect.message)))
        }
        None => Ok(state),
    }
}

/// Judges a request, as if it were made at this moment.
pub(crate) fn judge(
    request: &AccessRequest,
    requester: &Identity,
    target: &ResolvedTarget,
    ground: &Ground,
    now: DateTime<Utc>,
) -> Judgement {
    let Ground { policies, role, banned_roles, surroundings, settings } = ground.clone();
    let mut object = request.clone();
    object.spec.requester = Some(requester.clone());
    // What became of it before bears on nothing.
    object.status = None;
    let observed = Observed {
        request: Attested { object, attestation: Err(AttestationError::Absent) },
        policies: Read::Found(policies),
        decisions: Read::Found(Vec::new()),
        role,
        accounts: Read::Found(Vec::new()),
        banned_roles,
        surroundings,
        peers: Read::Found(Peers::default()),
        engaging: Read::Found(Vec::new()),
        grant: Read::Missing,
        settings,
        obstacle: None,
    };
    let evaluation = match evaluate(&observed, now, requester, target, now) {
        Ok(evaluation) => evaluation,
        Err(why) => return Judgement::unknown(why),
    };
    let (verdict, why) = match foreseen(&observed, now) {
        Some(Foreseen::Denied { why }) => (Verdict::Denied, why),
        Some(Foreseen::Waiting { whom, .. }) => (Verdict::Pending, format!("it waits for {whom}")),
        Some(Foreseen::Given { why, .. }) => (Verdict::Granted, why.to_owned()),
        None => (Verdict::Unknown, evaluation.report.unknown().unwrap_or_default()),
    };
    let denies = evaluation.denied_by.map(|policy| policy.name);
    Judgement {
        verdict,
        why,
        policy: evaluation.policy.map(|chosen| chosen.policy.name).or(denies),
        checks: evaluation.report.into_status(),
        candidates: evaluation.candidates,
    }
}

impl Judgement {
    fn unknown(why: String) -> Self {
        let (checks, candidates) = (Vec::new(), Vec::new());
        Self { verdict: Verdict::Unknown, why, policy: None, checks, candidates }
    }
}
