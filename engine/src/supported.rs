//! Whether a cluster has what Lapse needs.

/// The oldest release of Kubernetes that has it: selectable fields of custom resources and credential ids of client
/// certificates. The chart says the same (`kubeVersion`).
pub const OLDEST: (u32, u32) = (1, 32);

/// What guards Lapse: resources that the API server serves in [`ADMISSION_GROUP`].
pub const ADMISSION: [&str; 4] = [
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// The group and version of [`ADMISSION`].
pub const ADMISSION_GROUP: &str = "admissionregistration.k8s.io/v1";

/// Why nothing can be given in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// It is too old.
    #[error(
        "the API server is Kubernetes {found}, and Lapse needs {}.{} or later: upgrade the cluster",
        OLDEST.0,
        OLDEST.1
    )]
    TooOld {
        /// What the API server says that it is.
        found: String,
    },
    /// A part of admission is switched off.
    #[error(
        "the API server does not serve {} of {ADMISSION_GROUP}, without which Lapse guards nothing: enable them \
         (--runtime-config, --feature-gates)",
        missing.join(", ")
    )]
    NotServed {
        /// What it does not serve.
        missing: Vec<&'static str>,
    },
}

/// Why nothing can be given in a cluster of this version that serves these resources of [`ADMISSION_GROUP`]. Numbers that
/// cannot be read say nothing.
#[must_use]
pub fn unsupported(major: &str, minor: &str, served: &[String]) -> Option<Unsupported> {
    if is_before(major, minor, OLDEST) {
        return Some(Unsupported::TooOld { found: format!("{major}.{minor}") });
    }
    let is_missing = |resource: &&str| !served.iter().any(|one| one == resource);
    let missing: Vec<_> = ADMISSION.into_iter().filter(is_missing).collect();
    (!missing.is_empty()).then_some(Unsupported::NotServed { missing })
}

/// Whether a version is of before a release. One that cannot be read is not.
#[must_use]
pub fn is_before(major: &str, minor: &str, release: (u32, u32)) -> bool {
    number(major).zip(number(minor)).is_some_and(|version| version < release)
}

/// Providers add to the number, as in `32+`.
fn number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn all() -> Vec<String> {
        ADMISSION.map(str::to_owned).to_vec()
    }

    #[rstest]
    #[case("1", "31", false)]
    #[case("1", "31+", false)]
    #[case("0", "99", false)]
    #[case("1", "32", true)]
    #[case("1", "32+", true)]
    #[case("2", "0", true)]
    #[case::unreadable("1", "", true)]
    fn the_version_counts(#[case] major: &str, #[case] minor: &str, #[case] fine: bool) {
        assert_eq!(unsupported(major, minor, &all()).is_none(), fine);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let old = unsupported("1", "31+", &all()).unwrap();
        insta::assert_snapshot!(old, @"the API server is Kubernetes 1.31+, and Lapse needs 1.32 or later: upgrade the cluster");
        let mut served = all();
        served.retain(|one| !one.contains("policies"));
        let off = unsupported("1", "36", &served).unwrap();
        insta::assert_snapshot!(off, @"the API server does not serve validatingadmissionpolicies of admissionregistration.k8s.io/v1, without which Lapse guards nothing: enable them (--runtime-config, --feature-gates)");
    }

    /// Helm and the programs refuse the same clusters.
    #[test]
    fn the_chart_says_the_same() {
        let chart = include_str!("../../charts/lapse/Chart.yaml");
        let line = format!("kubeVersion: \">={}.{}.0-0\"", OLDEST.0, OLDEST.1);
        assert!(chart.lines().any(|said| said == line), "{line}");
    }
}
