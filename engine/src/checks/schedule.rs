//! The right starts within the hours of the policy.

use lapse_crds::Timestamp;

use super::{CheckResult, Context};
use crate::schedule::Hours;

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Some(schedule) = context.policy.schedule() else {
        return CheckResult::NotApplicable("The policy has no schedule.".to_owned());
    };
    if context.spec.emergency {
        return CheckResult::NotApplicable(
            "The policy's schedule does not apply to an emergency.".to_owned(),
        );
    }
    let start = context.starts_at();
    let hours = schedule.describe();
    match schedule.at(start) {
        Hours::Open { until } => CheckResult::Pass(format!(
            "It starts within {hours}; access ends at {} at the latest.",
            Timestamp::new(until)
        )),
        Hours::Closed { opens } => {
            let when = if context.spec.start_time.is_some() { "then" } else { "now" };
            let next = match opens {
                Some(opens) => format!(
                    "; request again at {opens}, or now with spec.startTime set to it",
                    opens = Timestamp::new(opens)
                ),
                None => String::new(),
            };
            CheckResult::Fail(format!(
                "Access can be held only within {hours}, and not {when}{next}."
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lapse_crds::{Schedule, Weekday, Window};

    use super::*;
    use crate::testing::Fixture;

    /// A Wednesday, at the time of day.
    fn wednesday(time: &str) -> Timestamp {
        let text = format!("2026-11-18T{time}:00Z");
        DateTime::parse_from_rfc3339(&text).unwrap().to_utc().into()
    }

    fn outcome(now: &str, start: Option<&str>) -> CheckResult {
        let mut fixture = Fixture { now: wednesday(now).time(), ..Fixture::default() };
        let days = vec![Weekday::Mon, Weekday::Tue, Weekday::Wed];
        let window = Window { days, start: "08:00".into(), end: "18:00".into() };
        fixture.policy.spec.schedule =
            Some(Schedule { time_zone: "Europe/Berlin".into(), windows: vec![window] });
        fixture.spec.start_time = start.map(wednesday);
        fixture.outcome(check)
    }

    #[test]
    fn within_the_hours_it_passes() {
        insta::assert_debug_snapshot!(outcome("12:00", None), @r#"
        Pass(
            "It starts within Mon–Wed 08:00–18:00 (Europe/Berlin); access ends at 2026-11-18T17:00:00.000000Z at the latest.",
        )
        "#);
        assert!(matches!(outcome("05:00", Some("12:00")), CheckResult::Pass(_)));
    }

    #[test]
    fn outside_the_hours_it_says_when() {
        insta::assert_debug_snapshot!(outcome("06:59", None), @r#"
        Fail(
            "Access can be held only within Mon–Wed 08:00–18:00 (Europe/Berlin), and not now; request again at 2026-11-18T07:00:00.000000Z, or now with spec.startTime set to it.",
        )
        "#);
        insta::assert_debug_snapshot!(outcome("12:00", Some("17:00")), @r#"
        Fail(
            "Access can be held only within Mon–Wed 08:00–18:00 (Europe/Berlin), and not then; request again at 2026-11-23T07:00:00.000000Z, or now with spec.startTime set to it.",
        )
        "#);
    }

    #[test]
    fn a_policy_without_hours_is_always_open() {
        assert!(matches!(Fixture::default().outcome(check), CheckResult::NotApplicable(_)));
    }
}
