//! The hosts: whether each can be told something, and whether what was to end there has ended.

use chrono::{DateTime, TimeDelta, Utc};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_crds::{Condition, ConditionStatus, Conditions as _, Endpoint, OrderState};
use lapse_engine::endpoint::{DRIFTED, DUPLICATE};

use super::finding::{Check, Examined, Finding, Many};
use super::installation::Installation;
use super::trust::now;
use crate::countdown::span;
use crate::pages::Pages;
use crate::session::Session;

/// After this long an end is slow, as for the alert `LapseRevocationUnheard`.
pub(super) const SLOW: TimeDelta = TimeDelta::minutes(2);
/// What to do where an end is slow.
pub(super) const SEE_HOST: &str =
    "see `lapse-agent status` on the host, and docs/runbooks.md (LapseRevocationUnheard)";

pub(super) async fn examine(session: &Session, installation: &Installation) -> Examined {
    let check = Check::Endpoints;
    let (mut all, mut found) = (0, Many::default());
    let moment = now(session);
    let api: Api<Endpoint> = Api::all(session.client.clone());
    let pages = Pages::of(session, "listing endpoints", api, ListParams::default());
    let listing = pages.each(|endpoint| {
        all += 1;
        found.extend(stands(&endpoint, moment));
    });
    check.look("list Endpoints", "ClusterRole lapse:auditor", listing).await?;
    let lacks_gateway = installation.settings.as_ref().is_some_and(|of| !of.has_gateway);
    Ok(summed(found, all, lacks_gateway))
}

/// All that is told, of so many Endpoints.
fn summed(found: Many, all: usize, lacks_gateway: bool) -> Vec<Finding> {
    let check = Check::Endpoints;
    let more = |more| (format!("{more} more findings about Endpoints"), "see `kubectl get jep`");
    let mut found = found.named(check, more);
    if all > 0 && lacks_gateway {
        let message = format!("there are {all} Endpoints, and no gateway that tells them anything");
        found.push(check.warning(message, "set gateway.enabled, and run helm upgrade"));
    }
    if found.is_empty() {
        found.push(check.ok(match all {
            0 => "there is no Endpoint".to_owned(),
            _ => format!("all {all} Endpoints are ready"),
        }));
    }
    found
}

/// What is wrong with one. What the gateway says of it says what to do, too.
fn stands(endpoint: &Endpoint, now: DateTime<Utc>) -> Vec<Finding> {
    let (check, name) = (Check::Endpoints, endpoint.name_any());
    let status = endpoint.status.clone().unwrap_or_default();
    let said = |of: &Condition| match of.message.as_str() {
        "" => "see docs/endpoints.md".to_owned(),
        message => message.to_owned(),
    };
    let is =
        |of: &str| status.conditions.condition(of).filter(|of| of.status == ConditionStatus::True);
    let mut found = Vec::new();
    match status.conditions.condition("Ready") {
        None => found.push(check.warning(
            format!("no gateway has looked at Endpoint {name} yet"),
            "see the checks Deployments and Gateway",
        )),
        Some(ready) if ready.status != ConditionStatus::True => {
            let message = format!("Endpoint {name} is not ready ({})", ready.reason);
            found.push(check.warning(message, said(ready)));
        }
        Some(_) => {}
    }
    if let Some(outdated) = is("Outdated") {
        found.push(
            check.warning(format!("the agent of Endpoint {name} is outdated"), said(outdated)),
        );
    }
    if let Some(twice) = is(DUPLICATE) {
        let message = format!("two machines have the identity of Endpoint {name}");
        found.push(check.problem(message, said(twice)));
    }
    if let Some(drifted) = is(DRIFTED) {
        let message = format!("something was changed on Endpoint {name} that outlasts access");
        found.push(check.warning(message, said(drifted)));
    }
    for order in &status.orders {
        let age = now - order.since.time();
        if order.state == OrderState::Ending && age > SLOW {
            let why = order.message.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let message = format!(
                "on Endpoint {name} the access of Grant {} has been ending for {}{why}",
                order.grant,
                span(age)
            );
            found.push(check.problem(message, SEE_HOST));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use std::iter::repeat_n;

    use super::super::finding::{NAMED, shown};
    use super::*;

    fn condition(of: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({
            "type": of, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    }

    fn order(state: &str, since: &str) -> Value {
        json!({
            "grant": "shop-fix-0a", "requestUid": "u", "state": state, "since": since, "sequence": 1,
            "message": "a process does not end", "signature": "s",
        })
    }

    fn told(conditions: &[Value], orders: &[Value]) -> String {
        let endpoint: Endpoint = serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": "web-1"},
            "spec": {"platform": "Linux"}, "status": {"conditions": conditions, "orders": orders},
        }))
        .unwrap();
        let found = stands(&endpoint, "2026-01-01T00:10:00Z".parse().unwrap());
        shown(&found)
    }

    #[test]
    fn all_of_them_are_summed_up() {
        let mut many = Many::default();
        let (old, copied) = (
            Check::Endpoints.warning("it is out of date", "update it"),
            Check::Endpoints.problem("it is a copy", "enrol it anew"),
        );
        many.extend(repeat_n(old, NAMED + 1).chain(repeat_n(copied, NAMED + 4)));
        let all = [
            summed(Many::default(), 0, true),
            summed(Many::default(), 3, false),
            summed(many, 30, true),
        ];
        let told = all.map(|mut found| {
            found.dedup();
            shown(&found)
        });
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_is_wrong_with_a_host_is_told_with_what_to_do() {
        let ready = condition("Ready", "True", "Connected", "");
        assert_eq!(told(std::slice::from_ref(&ready), &[]), "");
        let started = "its agent has enrolled, and never connected: run `systemctl start lapse-agent` on the host";
        let all = [
            told(&[], &[]),
            told(&[condition("Ready", "False", "NotConnected", started)], &[]),
            told(&[condition("Ready", "Unknown", "GatewayLost", "")], &[]),
            told(
                &[
                    ready.clone(),
                    condition("Outdated", "True", "AgentOlder", "upgrade lapse-agent on the host"),
                ],
                &[],
            ),
            told(
                &[
                    ready.clone(),
                    condition("Duplicate", "True", "TwoMachines", "one is a copy of the other"),
                ],
                &[],
            ),
            told(
                &[ready.clone(), condition("Drifted", "True", "LeftBehind", "look at the host")],
                &[],
            ),
            told(&[ready.clone(), condition("Drifted", "False", "Accepted", "")], &[]),
            told(
                &[ready],
                &[
                    order("Active", "2026-01-01T00:00:00.000000Z"),
                    order("Ending", "2026-01-01T00:09:00.000000Z"),
                    order("Ending", "2026-01-01T00:00:00.000000Z"),
                ],
            ),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
