//! What the check of limits says of emergencies that await their review.

use super::Context;
use crate::peers::{Debt, Peers};
use crate::policy::describe_reviewers;

/// How many of them a message names.
const NAMED: usize = 5;

/// Why somebody may have no other emergency, if so: one whose review is overdue, by whatever policy, or
/// as many that await theirs as the policy lets one person have.
pub(super) fn refusal(
    context: &Context<'_>,
    peers: &Peers,
    who: &lapse_crds::Subject,
) -> Option<String> {
    let rules = context.policy.emergency().filter(|_| context.spec.emergency)?;
    let debts = peers.debts(who, context.uid);
    let overdue: Vec<Debt<'_>> =
        debts.iter().filter(|debt| debt.due_by.time() <= context.now).copied().collect();
    let (count, most, name) = (debts.len(), rules.max_unreviewed, context.policy.name());
    let (what, debts) = if !overdue.is_empty() {
        (format!("You have {} whose review is overdue", emergencies(overdue.len())), overdue)
    } else if count >= most {
        let what = format!(
            "You have {} whose review is awaited, and JitPolicy {name} allows {most} at once",
            emergencies(count)
        );
        (what, debts)
    } else {
        return None;
    };
    Some(format!(
        "{what}: {}. Ask for the review first, or request without spec.emergency.",
        list(context, &debts)
    ))
}

fn emergencies(count: usize) -> String {
    if count == 1 { "1 emergency".to_owned() } else { format!("{count} emergencies") }
}

fn list(context: &Context<'_>, debts: &[Debt<'_>]) -> String {
    let named = debts.iter().take(NAMED).map(|Debt { due_by, grant }| {
        let request = &grant.request;
        let reviewers = describe_reviewers(context.policies, &grant.policy);
        format!("{} in {}, due {due_by}, by {reviewers}", request.name, request.namespace)
    });
    let rest = debts.len().saturating_sub(NAMED);
    let rest = (rest > 0).then(|| format!("and {rest} more"));
    named.chain(rest).collect::<Vec<_>>().join("; ")
}
