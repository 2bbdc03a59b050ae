//! Bounds: of what is accepted, of the stack, of the steps; and that nothing ends a program.

use proptest::prelude::*;
use rstest::rstest;

use super::{alice, refusal};
use crate::condition::Condition;
use crate::condition::check::{MAX_DEPTH, MAX_STEPS};
use crate::condition::scan::{MAX_BYTES, MAX_CHOICES, MAX_NESTING, MAX_TOKENS};

#[rstest]
#[case(format!("true{}", " ".repeat(MAX_BYTES)), "the expression has 2052 bytes; at most 2048 are allowed: write several conditions, all of which must be true")]
#[case(format!("true{}", "&&true".repeat(MAX_TOKENS / 3 + 1)), "the expression has more than 400 tokens: write several conditions, all of which must be true")]
#[case(format!("1 in [{}1]", "1, ".repeat(250)), "the expression has more than 400 tokens: write several conditions, all of which must be true")]
#[case(nested(MAX_NESTING + 1), "brackets nest more than 6 deep: write several conditions, all of which must be true")]
#[case(chosen(MAX_CHOICES + 1), "the expression has more than 6 choices, a ? b : c: write several conditions, all of which must be true")]
#[case(
    summed(MAX_DEPTH),
    "the expression nests more than 16 deep: write several conditions, all of which must be true"
)]
#[case(format!("'' == {}''", "request.reason + ".repeat(5)), "strings that are joined may have at most 16384 bytes together")]
#[case("requester.groups.all(g, g in requester.groups)".to_owned(), "the expression can take more than 1000000 steps for somebody in 2048 groups; look at each group less often, or write several conditions, all of which must be true")]
#[case("requester.groups.exists(g, g.matches('^a') || g.matches('^b'))".to_owned(), "the expression can take more than 1000000 steps for somebody in 2048 groups; look at each group less often, or write several conditions, all of which must be true")]
fn refuses_what_is_too_large(#[case] expression: String, #[case] message: &str) {
    assert_eq!(refusal(&expression), message);
}

fn nested(depth: usize) -> String {
    format!("{}true{}", "!(".repeat(depth), ")".repeat(depth))
}

fn chosen(choices: usize) -> String {
    format!("{}true", "request.emergency ? true : ".repeat(choices))
}

fn summed(summands: usize) -> String {
    format!("0 < {}1", "1 + ".repeat(summands))
}

/// The largest and the deepest that is accepted, each with the stack that a worker of the runtime has,
/// and less: who calls needs some too. A stack that overflows ends the test program, as it would a
/// controller.
#[rstest]
#[case::brackets(nested(MAX_NESTING))]
#[case::lists(format!("true in {}true{}", "[true in ".repeat(MAX_NESTING), "]".repeat(MAX_NESTING)))]
#[case::loops("size([1].map(a, size([size(string(1))]))) == 1".to_owned())]
#[case::choices(chosen(MAX_CHOICES))]
#[case::nested_choices(format!("{}true{}", "true ? ".repeat(MAX_CHOICES), " : true".repeat(MAX_CHOICES)))]
#[case::sums(summed(MAX_DEPTH - 1))]
#[case::ands(format!("true{}", " && true".repeat(MAX_TOKENS / 3 - 1)))]
#[case::minuses(format!("{}1 < 0", "-".repeat(MAX_TOKENS - 4)))]
#[case::nots(format!("{}true", "!".repeat(MAX_TOKENS - 1)))]
#[case::refused_sums(format!("0 < {}1", "1+".repeat(MAX_TOKENS / 2 - 2)))]
#[case::refused_calls(format!("now{}", ".a()".repeat(MAX_TOKENS / 4 - 1)))]
#[case::refused_indexes(format!("now{}", "[0]".repeat(MAX_TOKENS / 3 - 1)))]
#[case::refused_fields(format!("now{}", ".a".repeat(MAX_TOKENS / 2 - 1)))]
#[case::refused_dense("!([!([!([1,1,1]-1)]-1)]-1)".to_owned())]
fn fits_a_small_stack(#[case] expression: String) {
    let work = move || {
        Condition::compile(&expression).and_then(|condition| condition.evaluate(&alice())).is_ok()
    };
    let thread = std::thread::Builder::new().stack_size(1792 * 1024).spawn(work).unwrap();
    assert!(thread.join().is_ok());
}

#[rstest]
// Both sides are looked up and read, and the result is written.
#[case("1 == 1", 2 + 2 + 1)]
// Each of 2048 names of at most 1024 bytes (5 steps) is bound (4 + 5), looked up and compared with a
// literal (1 + 1 + 5 + 1 + 1).
#[case("requester.groups.exists(g, g == 'a')", 1 + 2048 * (9 + 9) + 1)]
// A pattern takes a step for each four bytes.
#[case("request.reason.matches('a')", 1 + (1 + 4096 / 4) + 1)]
fn bounds_the_steps(#[case] expression: &str, #[case] steps: u64) {
    assert_eq!(Condition::compile(expression).unwrap().steps(), steps);
}

#[test]
fn more_of_everything_takes_more_steps() {
    let steps = |expression: &str| Condition::compile(expression).unwrap().steps();
    let once = steps("'a' in requester.groups");
    assert!(steps("'a' in requester.groups || 'b' in requester.groups") >= 2 * once);
    assert!(steps("target.namespaces.all(n, n in requester.groups)") >= 64 * once);
    assert!(steps("target.namespaces.all(n, n in requester.groups)") <= MAX_STEPS);
}

/// Expressions from a grammar that knows every operator and function, and cares for no type.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(vec![
        "true",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "''",
        "'a'",
        "r'\\d'",
        "[]",
        "['a', 'b']",
        "[1, 2]",
        "now",
        "requester.groups",
        "requester.username",
        "request.reason",
        "request.durationSeconds",
        "request.emergency",
        "request.startTime",
        "target.namespaces",
        "duration('8760h')",
        "timestamp('9999-12-31T23:59:59Z')",
        "timestamp('0001-01-01T00:00:00Z')",
        "x",
        "null",
        "1.5e308",
        "1u",
        "request.nothing",
    ]);
    let leaf = leaf.prop_map(ToOwned::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let operator = proptest::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in",
        ]);
        let call = proptest::sample::select(vec![
            "contains",
            "startsWith",
            "matches",
            "size",
            "getHours",
            "getDayOfYear",
            "string",
            "int",
            "duration",
            "timestamp",
            "has",
            "dyn",
            "type",
            "bytes",
        ]);
        let each = proptest::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
            (inner.clone(), call.clone(), inner.clone())
                .prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
            (inner.clone(), call.clone()).prop_map(|(a, f)| format!("{a}.{f}()")),
            (call, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (inner.clone(), each, inner.clone()).prop_map(|(a, f, b)| format!("{a}.{f}(x, {b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("{a} ? {b} : {c}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.prop_map(|a| format!("!{a}")),
        ]
    })
}

/// Brackets that match, with little between them.
fn brackets() -> impl Strategy<Value = String> {
    let leaf =
        proptest::sample::select(vec!["", "!", "-", "1", "x", ".x", "?", ":", ",", "true", "''"]);
    let leaf = leaf.prop_map(ToOwned::to_owned);
    leaf.prop_recursive(6, 200, 6, |inner| {
        let many = proptest::collection::vec(inner, 0..6).prop_map(|parts| parts.concat());
        (many, any::<bool>()).prop_map(|(inside, round)| {
            if round { format!("({inside})") } else { format!("[{inside}]") }
        })
    })
}

/// An expression gives a boolean or an error in words, and the interpreter never panics; `contained`
/// would hide that it did, so its message is looked for.
fn answers(expression: &str) -> Result<(), TestCaseError> {
    let answer = match Condition::compile(expression) {
        Ok(condition) => {
            prop_assert!(condition.steps() <= MAX_STEPS);
            condition.evaluate(&alice()).map(|_| ())
        }
        Err(why) => Err(why),
    };
    let why = answer.err().unwrap_or_default();
    prop_assert!(!why.contains("the interpreter failed"), "{}", expression);
    prop_assert!(why.chars().count() < 1024, "{}", why);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_expression_panics(expression in expressions()) {
        answers(&expression)?;
    }

    #[test]
    fn no_text_panics(text in r#"[ -~\n'"()\[\]?:!&|.äx]{0,64}"#) {
        answers(&text)?;
    }

    /// Brackets that match get past the scan, and make the parser look far ahead.
    #[test]
    fn no_brackets_panic(text in brackets()) {
        answers(&text)?;
    }
}
