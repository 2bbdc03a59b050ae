//! What conditions may say, and what they may not.

mod bounds;

use chrono::{DateTime, Utc};
use rstest::rstest;

use super::facts::{fields, samples};
use super::{Condition, Facts, TargetKind, contained};

/// Alice, a developer of the shop, wants `edit` in two namespaces for an hour, late on a Saturday.
fn alice() -> Facts {
    let [(_, mut facts), ..] = samples();
    facts.now = moment("2026-11-21T22:30:00Z");
    facts.request.start_time = Some(moment("2026-11-22T06:00:00Z"));
    facts
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn holds(expression: &str) -> bool {
    Condition::compile(expression).unwrap().evaluate(&alice()).unwrap()
}

fn refusal(expression: &str) -> String {
    Condition::compile(expression).unwrap_err()
}

#[rstest]
#[case("request.durationSeconds <= 3600 || 'shop-leads' in requester.groups", true)]
#[case("request.durationSeconds < 3600 || 'shop-leads' in requester.groups", false)]
#[case("requester.username == 'alice' && requester.uid == \"5d8f1c2a\"", true)]
#[case("requester.credentialID.startsWith('X509SHA256=')", true)]
#[case("requester.groups.exists(g, g.startsWith('shop-'))", true)]
#[case("requester.groups.exists(g, g.startsWith('bank-'))", false)]
#[case("requester.groups.all(g, size(g) > 4)", true)]
#[case("requester.groups.exists_one(g, g.endsWith('developers'))", true)]
#[case("size(requester.groups.filter(g, g.contains(':'))) == 1", true)]
#[case("requester.groups.map(g, size(g)).all(length, length < 30)", true)]
#[case("requester.groups.map(g, g.contains('shop'), g + '!') == ['shop-developers!']", true)]
#[case("requester.groups.filter(g, g.contains('-')).exists(g, g == 'shop-developers')", true)]
#[case("request.name == 'fix-checkout' && request.namespace == 'shop'", true)]
#[case("request.reason.size() > 10 && request.ticket != ''", true)]
#[case("request.ticket.matches(r'^INC\\d+$')", true)]
#[case("request.ticket.matches('INC') && !request.ticket.matches('^NC')", true)]
#[case("!request.emergency", true)]
#[case("request.startTime - now > duration('7h')", true)]
#[case("request.startTime < now + duration('8h')", true)]
#[case("(request.startTime - now).getHours() == 7", true)]
#[case("now > timestamp('2026-11-21T00:00:00Z')", true)]
// Sunday is 0; in Berlin it is 23:30 of the same day, in Tokyo already Sunday.
#[case("now.getDayOfWeek() == 6 && now.getHours() == 22", true)]
#[case("now.getHours('Europe/Berlin') == 23 && now.getDayOfWeek('Asia/Tokyo') == 0", true)]
#[case("now.getFullYear() == 2026 && now.getMonth() == 10 && now.getDate() == 21", true)]
#[case("now.getDayOfMonth() == 20 && now.getDayOfYear() == 324", true)]
#[case("now.getMinutes() == 30 && now.getSeconds() == 0", true)]
#[case("int(now) > 0 && string(request.durationSeconds) == '3600'", true)]
#[case("target.kind == 'ClusterRole' && target.role in ['view', 'edit']", true)]
#[case("target.namespaces == ['shop', 'shop-staging'] && !target.clusterWide", true)]
#[case("size(target.namespaces) == 0 || target.namespaces[0] == 'shop'", true)]
#[case("policy.name == 'shop-debug'", true)]
#[case("request.emergency ? request.durationSeconds <= 900 : true", true)]
#[case("(request.durationSeconds / 60 - 30) * 2 % 7 == 4 && -1 < 0", true)]
#[case("'a' in [] || [] == requester.groups", false)]
// As in CEL, an operand that fails does not count when the other decides.
#[case("1 / (request.durationSeconds - 3600) > 0 || true", true)]
#[case(
    "// Only in an emergency,\n// or for a short time.\nrequest.emergency ||\n  request.durationSeconds <= 3600",
    true
)]
#[case("'größer – (]' != \"it's\" && 'it\\'s' == \"it's\"", true)]
fn holds_or_not(#[case] expression: &str, #[case] expected: bool) {
    assert_eq!(holds(expression), expected);
}

#[rstest]
// The text.
#[case("", "the expression is empty")]
#[case(" // nothing\n", "the expression is empty")]
#[case("(true", "the expression does not compile: a ) is missing")]
#[case("true)", "the expression does not compile: there is a ) that closes nothing")]
#[case("[true)", "the expression does not compile: there is a ) that closes nothing")]
#[case("'abc", "the expression does not compile: a string has no closing '")]
#[case("'abc\n'", "the expression does not compile: a string has no closing '")]
#[case("'''abc'''", "strings in triple quotes are not supported; use single or double quotes")]
#[case(
    "b'abc' == b'abc'",
    "a string follows a word directly; the only prefix of a string is r, as in r'…', where a backslash is a backslash"
)]
#[case("{'a': 1}.a == 1", "maps and messages, {…}, are not supported in conditions")]
#[case("a @ b", "'@' is not allowed in an expression")]
#[case("true ∧ true", "'∧' is not allowed in an expression")]
// The grammar.
#[case(
    "true &",
    "the expression does not compile: line 1, column 6: token recognition error at: '&'"
)]
#[case("1 +", "the expression does not compile: line 1, column 4: mismatched input '<EOF>'")]
#[case("true true", "the expression does not compile: line 1, column 6: extraneous input 'true'")]
#[case(
    "true\n  && for",
    "the expression does not compile: line 2, column 6: reserved identifier: for"
)]
#[case("now.?x", "the expression does not compile: line 1, column 4: unsupported syntax '.?'")]
// The variables.
#[case(
    "user == 'alice'",
    "there is no variable \"user\"; the variables are requester, request, target, policy and now"
)]
#[case(
    "request.tickt == ''",
    "request has no field \"tickt\"; it has name, namespace, durationSeconds, reason, ticket, emergency, startTime"
)]
#[case(
    "true || request.tickt == ''",
    "request has no field \"tickt\"; it has name, namespace, durationSeconds, reason, ticket, emergency, startTime"
)]
#[case(
    "now.hour == 1",
    "there is no \"now.hour\": the variables with fields are among requester, request, target, policy and now"
)]
#[case(
    "requester == requester",
    "requester has no value of its own; its fields are username, uid, groups, credentialID"
)]
#[case("request.name.x == ''", "\"x\" is a field of no variable")]
#[case(
    "has(request.ticket)",
    "has() is not supported, because every field is always there: what is absent is empty, so write request.ticket != ''"
)]
#[case("request.ticket == null", "null is not supported: what is absent is an empty string, ''")]
// The types.
#[case("request.ticket", "the expression returns string; it must return bool")]
#[case("request.durationSeconds", "the expression returns int; it must return bool")]
#[case("requester.groups", "the expression returns list(string); it must return bool")]
#[case("request.durationSeconds == '3600'", "== cannot be applied to int and string")]
#[case("request.durationSeconds <= 1.5", "numbers are whole, such as 3600")]
#[case("request.durationSeconds <= 3600u", "numbers are whole, such as 3600")]
#[case("!request.ticket", "! cannot be applied to string")]
#[case("-now == now", "- cannot be applied to timestamp")]
#[case("true < false", "< cannot be applied to bool and bool")]
#[case("request.ticket && true", "&& cannot be applied to string and bool")]
#[case("1 in requester.groups", "in cannot be applied to int and list(string)")]
#[case("requester.username in requester.username", "in cannot be applied to string and string")]
#[case("requester.groups + ['a'] == []", "+ cannot be applied to list(string) and list(string)")]
#[case("requester.groups['a'] == ''", "[…] cannot be applied to list(string) and string")]
#[case("now + now == now", "+ cannot be applied to timestamp and timestamp")]
#[case(
    "true ? 1 : 'a' == ''",
    "a ? b : c needs a bool and two values of one type, not bool, int and bool"
)]
#[case("[1, 'a'] == []", "a list has elements of one type, not int and string")]
#[case("[[1]] == []", "a list within a list is not supported")]
// The functions.
#[case(
    "request.ticket.lowerAscii() == ''",
    "there is no function \"lowerAscii\" of string; the functions are size, contains, startsWith, endsWith, matches, all, exists, exists_one, filter, map, string, int, timestamp, duration, getFullYear, getMonth, getDate, getDayOfMonth, getDayOfYear, getDayOfWeek, getHours, getMinutes, getSeconds"
)]
#[case(
    "duration(request.reason) > duration('1h')",
    "duration(…) needs a string literal, in quotes"
)]
#[case(
    "now > timestamp('tomorrow')",
    "\"tomorrow\" is not a time; write it as 2026-11-21T22:00:00Z"
)]
#[case(
    "duration('1day') > duration('1h')",
    "\"1day\" is not a duration: write whole hours, minutes and seconds in this order, such as 8h, 1h30m or 45s, more than zero and at most 8760h (one year)"
)]
#[case(
    "now.getHours('Berlin') == 1",
    "\"Berlin\" is not a time zone; write its name in the IANA database, such as Europe/Berlin"
)]
#[case("request.ticket.matches(request.reason)", "matches(…) needs a string literal, in quotes")]
#[case(
    "request.ticket.matches('(')",
    "matches: the pattern is not a regular expression: unclosed group"
)]
#[case(
    "request.ticket.matches('(a{1000}){1000}')",
    "matches: the pattern grows too large when its repetitions are written out; repeat less, or name characters such as [0-9] in place of classes such as \\d and \\w"
)]
// The loops.
#[case(
    "requester.groups.all(g, requester.groups.exists(h, h == g))",
    "exists(…) stands within another loop; one level of all, exists, exists_one, filter and map is allowed"
)]
#[case("request.ticket.all(c, true)", "all(…) looks at each element of a list, not of string")]
#[case("requester.groups.exists(g, g)", "exists(…) needs a condition that returns bool")]
#[case(
    "requester.groups.exists(now, now == '')",
    "exists is written list.exists(element, …), where element is a new name, not requester, request, target, policy and now"
)]
#[case(
    "requester.groups.exists('g', true)",
    "exists is written list.exists(element, …), where element is a new name, not requester, request, target, policy and now"
)]
#[case("requester.groups.all(true)", "all is written list.all(element, …)")]
#[case(
    "requester.groups.exists(g, true) && g == ''",
    "there is no variable \"g\"; the variables are requester, request, target, policy and now"
)]
// What fails only when it is evaluated.
#[case(
    "1 / 0 == 1",
    "the expression failed: Division by zero of Int(1) (for a request with everything that a request can say, on which it was tried)"
)]
#[case(
    "1 % 0 == 1",
    "the expression failed: Remainder by zero of Int(1) (for a request with everything that a request can say, on which it was tried)"
)]
#[case(
    "request.durationSeconds * 9223372036854775807 > 0",
    "the expression failed: Overflow from binary operator 'mul': Int(3600), Int(9223372036854775807) (for a request with everything that a request can say, on which it was tried)"
)]
#[case(
    "target.namespaces[0] == 'shop'",
    "the expression failed: Index out of bounds: Int(0) (for an emergency in the whole cluster, on which it was tried)"
)]
#[case(
    "requester.groups[0] == 'shop-leads'",
    "the expression failed: Index out of bounds: Int(0) (for a request without reason and ticket, for rules, by somebody in no group, on which it was tried)"
)]
fn says_what_is_wrong(#[case] expression: &str, #[case] message: &str) {
    assert_eq!(refusal(expression), message);
}

#[test]
fn what_is_larger_than_the_schema_allows_is_not_read() {
    let condition = Condition::compile("true").unwrap();
    let mut facts = alice();
    facts.requester.groups = vec!["g".repeat(1024); 2048];
    assert_eq!(condition.evaluate(&facts), Ok(true));
    facts.requester.groups.push("one".into());
    insta::assert_snapshot!(condition.evaluate(&facts).unwrap_err(), @"requester.groups is larger than conditions may read");
    facts.requester.groups = vec!["g".repeat(1025)];
    assert!(condition.evaluate(&facts).is_err());
    facts.requester.groups.clear();
    facts.request.reason = Some("a".repeat(4097));
    insta::assert_snapshot!(condition.evaluate(&facts).unwrap_err(), @"request.reason is larger than conditions may read");
}

#[rstest]
#[case(TargetKind::ClusterRole, "ClusterRole")]
#[case(TargetKind::Role, "Role")]
#[case(TargetKind::Rules, "Rules")]
#[case(TargetKind::Admin, "Admin")]
#[case(TargetKind::Commands, "Commands")]
#[case(TargetKind::Group, "Group")]
#[case(TargetKind::Application, "Application")]
#[case(TargetKind::Account, "Account")]
fn kinds_read_as_they_are_documented(#[case] kind: TargetKind, #[case] name: &str) {
    let mut facts = alice();
    facts.target.kind = kind;
    let condition = Condition::compile(&format!("target.kind == '{name}'")).unwrap();
    assert_eq!(condition.evaluate(&facts), Ok(true));
}

#[test]
fn without_a_start_the_request_starts_now() {
    let mut facts = alice();
    facts.request.start_time = None;
    let condition = Condition::compile("request.startTime == now").unwrap();
    assert_eq!(condition.evaluate(&facts), Ok(true));
}

#[test]
fn an_error_is_no_answer() {
    let condition = Condition::compile(
        "size(requester.groups) == 0 || request.durationSeconds / (request.durationSeconds - 7200) < 9",
    )
    .unwrap();
    let mut facts = alice();
    assert_eq!(condition.evaluate(&facts), Ok(true));
    facts.request.duration = "2h".parse().unwrap();
    insta::assert_snapshot!(condition.evaluate(&facts).unwrap_err(), @"the expression failed: Division by zero of Int(7200)");
}

#[test]
fn a_panic_is_an_error() {
    let error = contained(|| assert!(samples().is_empty(), "what its authors thought impossible"));
    insta::assert_snapshot!(error.unwrap_err(), @"the interpreter failed on the expression; write it in another way");
}

#[test]
fn the_documentation_names_every_field_and_its_type() {
    let page = include_str!("../../../../docs/conditions.md");
    for variable in ["requester", "request", "target", "policy"] {
        for (field, shape) in fields(variable).unwrap() {
            let row = format!("| `{variable}.{field}` | {} |", shape.kind);
            assert!(page.contains(&row), "docs/conditions.md has no row {row}");
        }
    }
    assert!(page.contains("| `now` | timestamp |"));
}

/// Every expression in the documentation is one that compiles.
#[test]
fn the_examples_of_the_documentation_compile() {
    let page = include_str!("../../../../docs/conditions.md");
    let blocks = page.split("```").skip(1).step_by(2);
    let examples: Vec<&str> = blocks.filter_map(|block| block.strip_prefix("cel\n")).collect();
    assert!(examples.len() >= 5, "{examples:?}");
    for example in examples {
        Condition::compile(example).unwrap();
    }
}
