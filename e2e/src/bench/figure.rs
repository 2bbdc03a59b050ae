//! What was measured: figures, summed up, beside what they are compared with.

use serde::Serialize;

/// What many measurements of one thing come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// How many there are.
    pub(super) count: usize,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// The part of a summary that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    P50,
    P99,
    Max,
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reach {
    /// At most this, in the unit of the figure.
    AtMost(f64),
    /// At most so many times what stands beside it.
    Times(f64),
    /// At most so much more than what stands beside it.
    More(f64),
}

/// One figure of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    /// What was measured.
    pub(super) what: String,
    /// Its unit.
    pub(super) unit: &'static str,
    /// What it came to.
    pub(super) lapse: Summary,
    /// What stands beside it: the same by a bare client, or without what makes it hard.
    pub(super) beside: Option<Beside>,
    /// The part that is compared and judged.
    pub(super) part: Part,
    /// What it is to reach, if anything was said.
    pub(super) reach: Option<Reach>,
    /// What else is to be known.
    pub(super) note: Option<String>,
}

/// What a figure is compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Beside {
    /// What it is.
    pub(super) what: String,
    /// What it came to, in the unit of the figure.
    pub(super) figures: Summary,
}

impl Summary {
    /// Of at least one measurement, in any order.
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |percent| percentile(&values, percent);
        Self { count: values.len(), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }

    pub(super) fn part(&self, part: Part) -> f64 {
        match part {
            Part::P50 => self.p50,
            Part::P99 => self.p99,
            Part::Max => self.max,
        }
    }
}

impl Figure {
    /// A figure that stands alone and is judged by its half.
    pub(super) fn new(what: &str, unit: &'static str, values: Vec<f64>) -> Self {
        Self {
            what: what.to_owned(),
            unit,
            lapse: Summary::of(values),
            beside: None,
            part: Part::P50,
            reach: None,
            note: None,
        }
    }

    pub(super) fn beside(mut self, what: &str, values: Vec<f64>) -> Self {
        self.beside = Some(Beside { what: what.to_owned(), figures: Summary::of(values) });
        self
    }

    pub(super) fn reach(mut self, part: Part, reach: Reach) -> Self {
        self.part = part;
        self.reach = Some(reach);
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// How many times what stands beside it.
    pub(super) fn ratio(&self) -> Option<f64> {
        let beside = self.beside.as_ref()?.figures.part(self.part);
        Some(self.lapse.part(self.part) / beside)
    }

    /// Whether it reaches what it is to reach.
    pub(super) fn is_reached(&self) -> Option<bool> {
        let beside = self.beside.as_ref().map(|beside| beside.figures.part(self.part));
        let limit = match self.reach? {
            Reach::AtMost(limit) => limit,
            Reach::Times(times) => beside? * times,
            Reach::More(more) => beside? + more,
        };
        Some(self.lapse.part(self.part) <= limit)
    }
}

/// The value below or at which so many percent of the sorted values lie (nearest rank).
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let summary = Summary::of((1..=30).rev().map(f64::from).collect());
        let expected = Summary { count: 30, p50: 15.0, p90: 27.0, p99: 30.0, max: 30.0 };
        assert_eq!(summary, expected);
        assert_eq!(Summary::of(vec![7.0]).p50.to_bits(), 7.0_f64.to_bits());
        assert!(Summary::of(Vec::new()).p50.is_nan());
    }

    #[test]
    fn what_is_to_be_reached_is_judged_by_its_part() {
        let figure = |reach| {
            Figure::new("a", "ms", vec![10.0, 20.0, 90.0])
                .beside("b", vec![4.0, 5.0, 6.0])
                .reach(Part::P50, reach)
        };
        assert_eq!(figure(Reach::AtMost(20.0)).is_reached(), Some(true));
        assert_eq!(figure(Reach::Times(3.9)).is_reached(), Some(false));
        assert_eq!(figure(Reach::More(15.0)).is_reached(), Some(true));
        assert_eq!(
            figure(Reach::Times(4.0)).reach(Part::Max, Reach::Times(4.0)).is_reached(),
            Some(false)
        );
        assert_eq!(figure(Reach::Times(4.0)).ratio(), Some(4.0));
    }

    #[test]
    fn nothing_is_said_to_be_reached_without_what_it_is_compared_with() {
        let figure = Figure::new("a", "ms", vec![1.0]).reach(Part::P50, Reach::Times(2.0));
        assert_eq!((figure.ratio(), figure.is_reached()), (None, None));
    }
}
