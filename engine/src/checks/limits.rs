//! The requester does not ask for or hold more than the policy allows.

use chrono::TimeDelta;
use lapse_crds::GrantDuration;

use super::{CheckResult, Context, debts};
use crate::policy::Limits;
use crate::policy::requested_duration;
use crate::{Read, identity};

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Context { policy, requester, uid, now, .. } = context;
    let peers = match context.peers {
        Read::Found(peers) => peers,
        Read::Failed(why) => {
            return CheckResult::Pending(format!("What else you hold cannot be read: {why}."));
        }
        Read::Missing => {
            return CheckResult::Pending("What else you hold is not known.".to_owned());
        }
    };
    let Some(who) = identity::subject_of(requester) else {
        return CheckResult::NotApplicable("The requester is not known.".to_owned());
    };
    let Limits { open_requests, active_grants, time_per_day } = policy.limits();
    let name = policy.name();
    if let Some(why) = debts::refusal(context, peers, &who) {
        return CheckResult::Fail(why);
    }
    let open = peers.open_before(name, &requester.username, context.in_line());
    if open >= open_requests {
        return CheckResult::Fail(format!(
            "You have {open} open {} under JitPolicy {name}, and it allows {open_requests} at once; wait for the \
             answer, or end one with a decision with verdict End.",
            plural(open, "request")
        ));
    }
    // An extension has the place of what it extends.
    let extended = context.extended().ok().flatten().map(|extended| extended.grant);
    let extended = extended.map(|grant| &*grant.request.uid);
    let live = peers.live(name, &who, [Some(*uid), extended]);
    if live >= active_grants {
        return CheckResult::Fail(format!(
            "You hold {live} {} under JitPolicy {name}, and it allows {active_grants} at once; end one that you no \
             longer need.",
            plural(live, "grant")
        ));
    }
    if let Some((limit, asked)) = time_per_day.zip(requested_duration(context.spec, policy)) {
        let held = peers.held(name, &who, uid, *now);
        if held + asked.delta() > limit.delta() {
            let left = in_words(limit.delta() - held);
            return CheckResult::Fail(format!(
                "{asked} was requested, but JitPolicy {name} allows {limit} within 24 hours, of which {} are already \
                 held or reserved; {left}.",
                GrantDuration::from_seconds(seconds(held))
                    .map_or_else(|| "none".to_owned(), |held| held.to_string())
            ));
        }
    }
    CheckResult::Pass(format!(
        "{open} other requests are open, and {live} other grants are active."
    ))
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { what.to_owned() } else { format!("{what}s") }
}

fn seconds(span: TimeDelta) -> u32 {
    u32::try_from(span.num_seconds().max(0)).unwrap_or(u32::MAX)
}

fn in_words(left: TimeDelta) -> String {
    match GrantDuration::from_seconds(seconds(left)) {
        Some(left) => format!("request at most {left}, or request later"),
        None => "request again later".to_owned(),
    }
}

#[cfg(test)]
mod tests;
