//! Which role is meant, and which is nearest to one that nobody offers.

use lapse_crds::{RoleKind, RoleRef};

/// How alike two names must be to be suggested, from 0 to 1.
const ALIKE: f64 = 0.75;

/// A role as people write it: `edit`, `role/deployer`, `clusterrole/edit`. Without a kind it is the one that is offered
/// under that name, and a `ClusterRole` if both are, or neither.
pub(crate) fn meant(text: &str, offered: &[RoleRef]) -> RoleRef {
    let named = |kind, name: &str| RoleRef { kind, name: name.to_owned() };
    match text.split_once('/') {
        Some((kind, name)) if kind.eq_ignore_ascii_case("role") => named(RoleKind::Role, name),
        Some((kind, name)) if kind.eq_ignore_ascii_case("clusterrole") => {
            named(RoleKind::ClusterRole, name)
        }
        _ => {
            let is_offered = |kind| offered.contains(&named(kind, text));
            let kind = match (is_offered(RoleKind::ClusterRole), is_offered(RoleKind::Role)) {
                (false, true) => RoleKind::Role,
                _ => RoleKind::ClusterRole,
            };
            named(kind, text)
        }
    }
}

/// A role as people write it: with its kind where its name alone means another one.
pub(crate) fn written(role: &RoleRef, offered: &[RoleRef]) -> String {
    if meant(&role.name, offered) == *role {
        role.name.clone()
    } else {
        format!("{}/{}", role.kind.to_string().to_lowercase(), role.name)
    }
}

/// The name that is most like this one, if any is.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |other: &&'a str| strsim::jaro_winkler(name, other);
    let best = known.into_iter().max_by(|one, other| alike(one).total_cmp(&alike(other)))?;
    (alike(&best) >= ALIKE && best != name).then_some(best)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn offered() -> Vec<RoleRef> {
        ["edit", "view"]
            .map(|name| meant(&format!("clusterrole/{name}"), &[]))
            .into_iter()
            .chain([meant("role/deployer", &[]), meant("Role/view", &[])])
            .collect()
    }

    #[rstest]
    #[case("edit", "ClusterRole edit")]
    #[case("deployer", "Role deployer")]
    #[case("view", "ClusterRole view")]
    #[case("role/view", "Role view")]
    #[case("ClusterRole/deployer", "ClusterRole deployer")]
    #[case("lapse:x", "ClusterRole lapse:x")]
    fn a_role_without_a_kind_is_the_one_that_is_offered(#[case] text: &str, #[case] role: &str) {
        assert_eq!(meant(text, &offered()).to_string(), role);
    }

    #[test]
    fn a_role_is_written_as_it_is_read() {
        let offered = offered();
        let written: Vec<String> = offered.iter().map(|role| written(role, &offered)).collect();
        assert_eq!(written, ["edit", "view", "deployer", "role/view"]);
        assert!(offered.iter().zip(&written).all(|(role, text)| meant(text, &offered) == *role));
    }

    #[rstest]
    #[case("edti", Some("edit"))]
    #[case("veiw", Some("view"))]
    #[case("edit", None)]
    #[case("cluster-admin", None)]
    fn what_is_nearest_is_suggested(#[case] name: &str, #[case] suggested: Option<&str>) {
        assert_eq!(nearest(name, ["edit", "view", "deployer"]), suggested);
    }
}
