//! Whether a condition that holds would hold, too, for somebody who is in more groups.
//!
//! Of very many groups some are left out (`crate::groups`). That somebody is in a group is then still certain; that they
//! are in none of a kind is not. So a condition that asks what somebody is *not* in cannot be told for them.

use cel::IdedExpr;
use cel::common::ast::{Expr, operators};

/// Whether it would. What is not understood would not.
pub(super) fn holds_with_more_groups(expression: &IdedExpr) -> bool {
    stays(expression, true)
}

/// Whether an expression of this value has it still when there are more groups.
fn stays(expression: &IdedExpr, value: bool) -> bool {
    if !mentions_groups(expression) {
        return true;
    }
    let Expr::Call(call) = &expression.expr else { return false };
    match (&call.target, call.func_name.as_str(), &call.args[..]) {
        (None, operators::LOGICAL_NOT, [operand]) => stays(operand, !value),
        (None, operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => {
            stays(left, value) && stays(right, value)
        }
        (None, operators::CONDITIONAL, [condition, yes, no]) => {
            !mentions_groups(condition) && stays(yes, value) && stays(no, value)
        }
        (None, operators::IN, [element, list]) => value && grows(list) && !mentions_groups(element),
        (Some(list), "exists", [_, body]) => value && grows(list) && !mentions_groups(body),
        (Some(list), "all", [_, body]) => !value && grows(list) && !mentions_groups(body),
        _ => false,
    }
}

/// Whether a list has at least the same elements when there are more groups.
fn grows(list: &IdedExpr) -> bool {
    let Expr::Call(call) = &list.expr else { return is_groups(list) };
    match (&call.target, call.func_name.as_str(), &call.args[..]) {
        (Some(list), "filter" | "map", [_, bodies @ ..]) => {
            grows(list) && !bodies.iter().any(mentions_groups)
        }
        _ => false,
    }
}

fn is_groups(expression: &IdedExpr) -> bool {
    let Expr::Select(select) = &expression.expr else { return false };
    let of = matches!(&select.operand.expr, Expr::Ident(variable) if variable == "requester");
    of && select.field == "groups"
}

fn mentions_groups(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Literal(_) | Expr::Ident(_) => false,
        Expr::Select(select) => is_groups(expression) || mentions_groups(&select.operand),
        Expr::List(list) => list.elements.iter().any(mentions_groups),
        Expr::Call(call) => {
            call.target.as_deref().is_some_and(mentions_groups)
                || call.args.iter().any(mentions_groups)
        }
        // The check has refused everything else.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::condition::Condition;

    #[rstest]
    #[case("request.durationSeconds <= 3600", true)]
    #[case("'leads' in requester.groups", true)]
    #[case("request.durationSeconds <= 3600 || 'leads' in requester.groups", true)]
    #[case("requester.groups.exists(g, g.startsWith('shop-'))", true)]
    #[case("requester.groups.filter(g, g.contains('-')).exists(g, g == 'shop-leads')", true)]
    #[case("!requester.groups.all(g, g != 'leads')", true)]
    #[case("!(!('leads' in requester.groups))", true)]
    #[case("request.emergency ? 'leads' in requester.groups : true", true)]
    #[case("!('contractors' in requester.groups)", false)]
    #[case("!requester.groups.exists(g, g.startsWith('contractors-'))", false)]
    #[case("requester.groups.all(g, g != 'contractors')", false)]
    #[case("request.emergency || !('contractors' in requester.groups)", false)]
    #[case("'leads' in requester.groups ? request.durationSeconds <= 3600 : true", false)]
    #[case("requester.groups.exists_one(g, g == 'leads')", false)]
    #[case("size(requester.groups) < 5", false)]
    #[case("size(requester.groups.filter(g, g == 'contractors')) == 0", false)]
    #[case("('contractors' in requester.groups) == false", false)]
    #[case("['contractors'].all(c, !(c in requester.groups))", false)]
    fn asks_what_somebody_is_in_or_what_not(#[case] expression: &str, #[case] expected: bool) {
        let condition = Condition::compile(expression).unwrap();
        assert_eq!(condition.holds_with_more_groups(), expected);
    }
}
