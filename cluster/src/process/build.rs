//! What every program shows: which release runs, and whether its log is whole.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// Registers `lapse_build_info`: always 1, with the version as its label. All programs of a release have one version. And
/// `lapse_log_lines_dropped_total` and `lapse_panics_total`.
pub fn register_build_info(registry: &mut Registry) {
    let info: Family<Build, Gauge> = Family::default();
    info.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("lapse_build_info", "The release that runs", info);
    // Of every program, too, and of no part of it.
    let help = "Lines of the log that nobody took in time";
    registry.register("lapse_log_lines_dropped", help, super::lines::DROPPED.clone());
    super::panics::register(registry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_version_runs() {
        let mut registry = Registry::default();
        register_build_info(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let line = format!("lapse_build_info{{version=\"{version}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}
