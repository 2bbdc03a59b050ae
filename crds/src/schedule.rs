//! When: the hours in which a policy lets people hold its rights.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// When access may be held: windows of the week, in the wall-clock time of one time zone. Windows that touch or overlap
/// are one.
///
/// For example, `{timeZone: Europe/Berlin, windows: [{days: [Mon, Tue, Wed, Thu, Fri], start: "08:00", end: "18:00"}]}`
/// are the office hours of Berlin, in summer as in winter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// The time zone of the windows: a name of the IANA database, such as `Europe/Berlin` or `UTC`. Case matters.
    /// Daylight saving is followed: a start or an end that the clock skips is the moment after the skip; of a time that
    /// occurs twice, a start is the first and an end the second.
    #[schemars(schema_with = "schema::time_zone")]
    pub time_zone: String,
    /// The windows, at least one.
    #[schemars(length(min = 1, max = 32))]
    pub windows: Vec<Window>,
}

/// One window of the week: the same hours on each of some days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.end != self.start")
        .message("end must differ from start: a whole day is 00:00 to 24:00, and an end before its start lies on the next day")
)]
pub struct Window {
    /// The days on which the window starts: Mon, Tue, Wed, Thu, Fri, Sat, Sun. A window over midnight belongs to the
    /// day on which it starts: `{days: [Fri], start: "22:00", end: "06:00"}` ends on Saturday.
    #[schemars(
        length(min = 1, max = 7),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub days: Vec<Weekday>,
    /// When the window starts, as hours and minutes on a 24-hour clock, such as `08:00`.
    #[schemars(schema_with = "schema::start_of_window")]
    pub start: String,
    /// When the window ends, such as `18:00`; the end itself is not included. `24:00` is the end of the day. An end
    /// before the start is on the next day.
    #[schemars(schema_with = "schema::end_of_window")]
    pub end: String,
}

/// The days of the week.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use schemars::SchemaGenerator;
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_and_writes_what_the_documentation_shows() {
        let written = json!({
            "timeZone": "Europe/Berlin",
            "windows": [{"days": ["Mon", "Fri"], "start": "08:00", "end": "18:00"}],
        });
        let schedule: Schedule = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(schedule.windows[0].days, [Weekday::Mon, Weekday::Fri]);
        assert_eq!(serde_json::to_value(schedule).unwrap(), written);
    }

    #[test]
    fn the_schema_bounds_every_list_and_text() {
        let mut generator = SchemaGenerator::default();
        let schedule = Schedule::json_schema(&mut generator).to_value();
        let window = Window::json_schema(&mut generator).to_value();
        let bound = |schema: &serde_json::Value, path: &str| schema.pointer(path).cloned();
        assert_eq!(bound(&schedule, "/properties/windows/maxItems"), Some(json!(32)));
        assert_eq!(bound(&schedule, "/properties/timeZone/maxLength"), Some(json!(64)));
        assert_eq!(bound(&window, "/properties/days/x-kubernetes-list-type"), Some(json!("set")));
        assert_eq!(
            bound(&window, "/x-kubernetes-validations/0/rule"),
            Some(json!("self.end != self.start"))
        );
        for field in ["start", "end"] {
            let length = bound(&window, &format!("/properties/{field}/maxLength"));
            assert_eq!(length, Some(json!(5)), "{field}");
        }
    }
}
