//! What the installation allows, whatever a policy says.

use lapse_crds::{GrantDuration, RoleRef, RoleRule};
use serde::Deserialize;

use crate::identity::service_account_name;

/// The settings of an installation, from the values of the chart. Both components read the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The installation's own namespace, which is never a target.
    pub namespace: String,
    /// The roles that the controller may bind.
    pub bindable_roles: Vec<RoleRef>,
    /// The rules that the controller may hand out when a request spells out its own.
    pub grantable_rules: Vec<RoleRule>,
    /// Whether the controller may bind roles in the whole cluster.
    pub allow_cluster_wide: bool,
    /// Namespaces that are never a target: names, or prefixes followed by `*`.
    pub protected_namespaces: Vec<String>,
    /// The bounds of every duration.
    pub duration: InstallationBounds,
    /// Who the controller is.
    pub controller: ControllerSettings,
    /// Whether there is a gateway, by which hosts are reached. Absent in the settings of earlier releases.
    #[serde(default)]
    pub has_gateway: bool,
    /// The namespace in which the gateway makes the requests of people on hosts. Absent: it makes none.
    #[serde(default)]
    pub host_requests: Option<String>,
}

/// The shortest and the longest duration of any grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallationBounds {
    /// The shortest.
    pub min: GrantDuration,
    /// The longest.
    pub max: GrantDuration,
}

/// Who the controller is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllerSettings {
    /// The name of its service account, in [`Settings::namespace`].
    pub service_account: String,
    /// Whether it may delete what was started under a grant.
    pub ends_workloads: bool,
}

/// Why settings make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The shortest duration is longer than the longest.
    #[error("duration.min ({min}) is longer than duration.max ({max})")]
    Bounds {
        /// The shortest.
        min: GrantDuration,
        /// The longest.
        max: GrantDuration,
    },
    /// A pattern has its `*` elsewhere than at its end.
    #[error("protectedNamespaces: {0:?} is neither a name nor a prefix followed by *")]
    Pattern(String),
}

/// The name of the gateway's service account, in [`Settings::namespace`].
const GATEWAY: &str = "lapse-gateway";

impl Settings {
    /// The user name of the gateway.
    #[must_use]
    pub fn gateway(&self) -> String {
        service_account_name(&self.namespace, GATEWAY)
    }

    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let InstallationBounds { min, max } = self.duration;
        if min > max {
            return Err(SettingsError::Bounds { min, max });
        }
        let wrong = |pattern: &&String| {
            let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
            prefix.contains('*') || pattern.is_empty()
        };
        match self.protected_namespaces.iter().find(wrong) {
            Some(pattern) => Err(SettingsError::Pattern(pattern.clone())),
            None => Ok(()),
        }
    }

    /// Whether this is the installation's own namespace, which is never a target.
    #[must_use]
    pub fn is_own(&self, namespace: &str) -> bool {
        namespace == self.namespace
    }

    /// Why a namespace is no ordinary target, if it is not.
    #[must_use]
    pub fn protection_of(&self, namespace: &str) -> Option<&'static str> {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => namespace.starts_with(prefix),
            None => namespace == pattern,
        };
        if self.is_own(namespace) {
            Some("is the installation's own namespace, which is never a target")
        } else if self.protected_namespaces.iter().any(matches) {
            Some(
                "is protected by the installation (protectedNamespaces of the chart); a policy can offer it only by \
                 name, and with allowEscalation",
            )
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::testing::settings;

    #[rstest]
    #[case("lapse-system", true)]
    #[case("kube-system", true)]
    #[case("kube", false)]
    #[case("shop", false)]
    fn protects(#[case] namespace: &str, #[case] protected: bool) {
        assert_eq!(settings().protection_of(namespace).is_some(), protected);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let mut settings = settings();
        settings.protected_namespaces = vec!["a*b".to_owned()];
        insta::assert_snapshot!(settings.validate().unwrap_err(), @r#"protectedNamespaces: "a*b" is neither a name nor a prefix followed by *"#);
        settings.duration.min = "25h".parse().unwrap();
        insta::assert_snapshot!(settings.validate().unwrap_err(), @"duration.min (25h) is longer than duration.max (24h)");
    }

    #[rstest]
    #[case("*", true)]
    #[case("kube-*", true)]
    #[case("a*b", false)]
    #[case("", false)]
    fn checks_patterns(#[case] pattern: &str, #[case] fine: bool) {
        let mut settings = settings();
        settings.protected_namespaces = vec![pattern.to_owned()];
        assert_eq!(settings.validate().is_ok(), fine);
    }

    #[test]
    fn checks_bounds() {
        let mut settings = settings();
        settings.duration.min = "48h".parse().unwrap();
        let error = settings.validate().unwrap_err().to_string();
        assert_eq!(error, "duration.min (48h) is longer than duration.max (24h)");
    }
}
