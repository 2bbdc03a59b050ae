//! Metrics in the two formats that scrapers ask for: `OpenMetrics`, and the text format of Prometheus.
//!
//! They differ in how families are named: a counter is `granted` in the one, with samples `granted_total`, and
//! `granted_total` in the other. A reader of one that is given the other sees samples without type and help.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    /// The format for what a client accepts: `OpenMetrics` for who names it, and what everybody reads for all others.
    pub(super) fn accepted(accept: Option<&str>) -> Self {
        let mut kinds = accept.unwrap_or_default().split(',');
        let is_named = |kind: &str| {
            let mut parts = kind.split(';').map(str::trim);
            let is_it = parts.next() == Some("application/openmetrics-text");
            is_it && !parts.any(|part| part.strip_prefix("q=").is_some_and(is_zero))
        };
        if kinds.any(is_named) { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    pub(super) fn encode(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, registry)?;
        match self {
            Self::OpenMetrics => Ok(text),
            Self::Text => as_text(&text),
        }
    }
}

fn is_zero(weight: &str) -> bool {
    weight.parse() == Ok(0.0_f32)
}

/// `OpenMetrics` as the text format has it.
fn as_text(metrics: &str) -> Result<String, fmt::Error> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types: HashMap<&str, &str> = types.collect();
    let family = |name: &str| match types.get(name).copied() {
        Some("counter") => format!("{name}_total"),
        Some("info") => format!("{name}_info"),
        _ => name.to_owned(),
    };
    let mut text = String::new();
    for line in metrics.lines() {
        let said = line.strip_prefix("# ").and_then(|said| {
            let (what, rest) = said.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            Some((what, name, rest))
        });
        match said {
            Some(("HELP", name, help)) => writeln!(text, "# HELP {} {help}", family(name))?,
            Some(("TYPE", name, kind)) => {
                let known = match kind {
                    "info" | "stateset" => "gauge",
                    "unknown" | "gaugehistogram" => "untyped",
                    known => known,
                };
                writeln!(text, "# TYPE {} {known}", family(name))?;
            }
            // Units, and the mark of the end, are of OpenMetrics alone.
            _ if line.starts_with('#') => {}
            _ => writeln!(text, "{line}")?,
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use rstest::rstest;

    use super::*;
    use crate::process::register_build_info;

    #[rstest]
    #[case(None, Format::Text)]
    #[case(Some("*/*"), Format::Text)]
    #[case(Some("text/plain"), Format::Text)]
    #[case(Some("application/openmetrics-text"), Format::OpenMetrics)]
    #[case(
        Some("text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=1.0.0"),
        Format::OpenMetrics
    )]
    #[case(Some("application/openmetrics-text;q=0, text/plain"), Format::Text)]
    #[case(Some("application/openmetrics-text-of-ours"), Format::Text)]
    fn who_names_openmetrics_gets_it(#[case] accept: Option<&str>, #[case] expected: Format) {
        assert_eq!(Format::accepted(accept), expected);
    }

    /// Every family has its help and its type, whoever asks.
    #[rstest]
    #[case::open(Format::OpenMetrics)]
    #[case::text(Format::Text)]
    fn each_sample_has_help_and_type(#[case] format: Format) {
        let mut registry = Registry::default();
        register_build_info(&mut registry);
        let granted = Counter::<u64>::default();
        granted.inc();
        registry.register("granted", "Grants made", granted);
        registry.register("active", "Active grants", Gauge::<i64>::default());
        let lateness = Histogram::new([0.1, 1.0]);
        lateness.observe(0.5);
        registry.register("lateness_seconds", "How late rights ended", lateness);
        let text = format.encode(&registry).unwrap();
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
        for sample in text.lines().filter(|line| !line.starts_with('#')) {
            let name = sample.split(['{', ' ']).next().unwrap();
            let of = |word: &str| {
                let families = text.lines().filter_map(|line| line.strip_prefix(word));
                let names = families.filter_map(|line| line.split(' ').next());
                names
                    .filter(|family| {
                        *family == name || samples(format, family).contains(&name.to_owned())
                    })
                    .count()
            };
            assert_eq!((of("# HELP "), of("# TYPE ")), (1, 1), "{name} in {text}");
        }
    }

    /// The names that samples of a family may have, beside its own.
    fn samples(format: Format, family: &str) -> Vec<String> {
        let of_all = ["_bucket", "_sum", "_count"];
        let of_open: &[&str] =
            if format == Format::OpenMetrics { &["_total", "_info"] } else { &[] };
        of_all.iter().chain(of_open).map(|suffix| format!("{family}{suffix}")).collect()
    }
}
