//! Whether any gateway lives that could speak for hosts, and what is said of them while none does.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lapse_crds::{Condition, ConditionStatus, Conditions as _, Endpoint};

/// The condition of an Endpoint that says whether its agent is connected, and can carry out orders.
pub const READY: &str = "Ready";
/// It is: the reason.
pub const CONNECTED: &str = "Connected";
/// It is connected, and cannot.
pub const AGENT_PROBLEM: &str = "AgentProblem";
/// Nobody knows, as no gateway lives.
pub const NO_GATEWAY: &str = "NoGateway";

/// How often each process of the gateway shows that it lives, by writing something else under its name.
pub const BEAT: Duration = Duration::from_secs(10);

/// For how many looks in a row, a beat apart, nothing may be seen of any process until all of them are taken for dead. One
/// more than they count among themselves: where one lives, that says first what there is to say.
const SILENT: u32 = 6;

/// What is seen of the processes of the gateway, by whoever looks once in a [`BEAT`].
#[derive(Clone, Debug, Default)]
pub struct Gateways {
    seen: Option<BTreeMap<String, String>>,
    silent_for: u32,
}

impl Gateways {
    /// What they have written was read. Whether none of them lives.
    pub fn look(&mut self, beats: &BTreeMap<String, String>) -> bool {
        // That an entry is gone is no sign of life.
        let is_known = |seen: &BTreeMap<String, String>| {
            beats.iter().all(|(name, beat)| seen.get(name) == Some(beat))
        };
        let is_silent = self.seen.as_ref().is_some_and(is_known);
        self.silent_for = if is_silent { self.silent_for.saturating_add(1) } else { 0 };
        self.seen = Some(beats.clone());
        self.silent_for >= SILENT
    }

    /// Nobody looked for a while.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// What is said of an Endpoint while no gateway lives: if it says that its agent is connected, which nobody knows any more, or
/// if nobody has said anything of it yet. What else it says was so when the last gateway went, and has not become better.
#[must_use]
pub fn without_gateway(endpoint: &Endpoint, now: DateTime<Utc>) -> Option<Condition> {
    let conditions = endpoint.status.as_ref().map(|status| &status.conditions);
    let ready = conditions.and_then(|conditions| conditions.condition(READY));
    let is_claimed =
        ready.is_none_or(|ready| [CONNECTED, AGENT_PROBLEM].contains(&ready.reason.as_str()));
    is_claimed.then(|| Condition {
        r#type: READY.to_owned(),
        status: ConditionStatus::Unknown,
        reason: NO_GATEWAY.to_owned(),
        message: "no gateway runs, so nobody knows whether its agent is there: access ends on the host by itself, but \
                  new access begins only when a gateway runs and the agent is connected. Look at the Deployment \
                  lapse-gateway"
            .to_owned(),
        last_transition_time: now.into(),
        observed_generation: endpoint.metadata.generation,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::testing::life::time;

    fn beats(all: &[(&str, u32)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, beat)| ((*name).to_owned(), beat.to_string())).collect()
    }

    #[test]
    fn none_lives_when_nothing_new_is_seen_of_any_for_a_minute() {
        let mut gateways = Gateways::default();
        let of_both = |beat| beats(&[("a", beat), ("b", 7)]);
        assert!((0..20).all(|beat| !gateways.look(&of_both(beat))), "one of them lives");
        let silent = |gateways: &mut Gateways, all: &[(&str, u32)]| {
            (0..8).map(|_| gateways.look(&beats(all))).collect::<Vec<_>>()
        };
        let after = [false, false, false, false, false, true, true, true];
        // One goes in order, and takes away what it wrote; that is no sign of life.
        assert_eq!(silent(&mut gateways, &[("b", 7)]), after);
        assert!(!gateways.look(&beats(&[("b", 7), ("c", 1)])), "another has come");
        assert_eq!(silent(&mut gateways, &[("b", 7), ("c", 1)]), after);
        gateways.forget();
        assert!(!gateways.look(&beats(&[])), "who has just begun to look knows nothing");
        assert_eq!(silent(&mut gateways, &[]), after);
    }

    #[rstest]
    #[case::is_there(Some(CONNECTED), true)]
    #[case::has_a_problem(Some(AGENT_PROBLEM), true)]
    #[case::nobody_looked(None, true)]
    #[case::has_gone(Some("Disconnected"), false)]
    #[case::has_not_enrolled(Some("NotEnrolled"), false)]
    #[case::it_says_so(Some(NO_GATEWAY), false)]
    fn what_claims_to_be_connected_is_not_known_to_be(
        #[case] reason: Option<&str>,
        #[case] expected: bool,
    ) {
        let conditions = reason.map(|reason| {
            json!([{"type": "Ready", "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        });
        let endpoint: Endpoint = serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": "web-1"},
            "spec": {"platform": "Linux"}, "status": {"conditions": conditions.unwrap_or(json!([]))},
        }))
        .unwrap();
        let said = without_gateway(&endpoint, time(0));
        assert_eq!(said.is_some(), expected);
        if let Some(Condition { status, reason, message, .. }) = said {
            let told = format!("{status:?} {reason}: {message}");
            let expected = "Unknown NoGateway: no gateway runs, so nobody knows whether its agent is there: access ends on the host by itself, \
                            but new access begins only when a gateway runs and the agent is connected. Look at the Deployment lapse-gateway";
            assert_eq!(told, expected);
        }
    }
}
