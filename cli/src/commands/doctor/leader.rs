//! Who gives rights, and whether the clocks agree.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use lapse_cluster::LEASE;
use lapse_cluster::clock::TOLERANCE;
use lapse_crds::from_micro_time;

use super::finding::{Check, Examined, Finding};
use super::installation::Installation;
use super::trust::now;
use crate::countdown::span;
use crate::session::Session;

/// Whether somebody leads.
pub(super) async fn examine(session: &Session, installation: &Installation) -> Examined {
    let check = Check::Leader;
    let namespace = &installation.namespace;
    let api: Api<Lease> = Api::namespaced(session.client.clone(), namespace);
    let what = format!("read Lease {LEASE} in namespace {namespace}");
    let right = format!("get on leases in namespace {namespace}");
    let call = session.call("reading the lease", api.get_opt(LEASE));
    let lease = check.look(&what, &right, call).await?;
    Ok(vec![leads(lease.as_ref(), now(session))])
}

fn leads(lease: Option<&Lease>, now: DateTime<Utc>) -> Finding {
    let check = Check::Leader;
    let action = "see the pods of the controller and their log; what was granted still ends";
    let spec = lease.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let (Some(holder), Some(renewed)) = (holder, spec.renew_time.as_ref()) else {
        return check.problem("no controller leads: nothing is granted", action);
    };
    let age = now - from_micro_time(renewed);
    let lasts = TimeDelta::seconds(spec.lease_duration_seconds.unwrap_or_default().into());
    if age > lasts + TOLERANCE {
        let since = span(age);
        let message = format!(
            "controller {holder} led, and has not been heard of for {since}: nothing is granted"
        );
        check.problem(message, action)
    } else if age < -TOLERANCE {
        let ahead = span(-age);
        let message = format!(
            "the clock of controller {holder} is {ahead} ahead of the API server's: nothing is granted"
        );
        check.problem(message, "set the clocks of the nodes by NTP")
    } else {
        check.ok(format!("controller {holder} leads"))
    }
}

/// Whether this machine's clock agrees with the API server's, by all that it has answered.
pub(super) fn clock(session: &Session) -> Finding {
    agrees(session.clock.skew())
}

fn agrees(skew: TimeDelta) -> Finding {
    let check = Check::Clock;
    if skew.abs() <= TOLERANCE {
        return check.ok("this machine's clock agrees with the API server's");
    }
    let (by, how) = if skew > TimeDelta::zero() { (skew, "behind") } else { (-skew, "ahead of") };
    check.warning(
        format!("this machine's clock is {} {how} the API server's", span(by)),
        "times that kubectl jit shows are off by that; set the clock by NTP",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::finding::shown;
    use super::*;

    fn told(spec: &Value) -> Finding {
        let lease: Lease = serde_json::from_value(json!({"spec": spec})).unwrap();
        leads(Some(&lease), "2026-01-01T00:01:00Z".parse().unwrap())
    }

    fn renewed(at: &str) -> Value {
        json!({"holderIdentity": "c-0", "leaseDurationSeconds": 8, "renewTime": at})
    }

    #[test]
    fn who_leads_has_just_said_so() {
        let found = [
            told(&renewed("2026-01-01T00:00:59.000000Z")),
            told(&renewed("2026-01-01T00:00:30.000000Z")),
            told(&renewed("2026-01-01T00:02:00.000000Z")),
            told(&json!({"holderIdentity": "", "renewTime": "2026-01-01T00:00:59.000000Z"})),
            told(&json!({})),
        ];
        insta::assert_snapshot!(shown(&found));
    }

    #[test]
    fn a_clock_that_is_off_is_told() {
        let found = [0, 60, -60].map(|seconds| agrees(TimeDelta::seconds(seconds)));
        insta::assert_snapshot!(shown(&found));
    }
}
