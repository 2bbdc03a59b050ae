//! A single right, in words.

use std::fmt;

use super::ALL;

/// One point of a rule. Each part can be `*`, and a resource can be `*/subresource`, as in the
/// rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// A verb on a resource.
    Resource {
        /// The verb.
        verb: String,
        /// The API group; empty for the core group.
        group: String,
        /// The resource, with its subresource after a `/`.
        resource: String,
        /// The name; `None` for all names.
        name: Option<String>,
    },
    /// A verb on a path that is no resource.
    Url {
        /// The verb: an HTTP method in lower case.
        verb: String,
        /// The path; a `*` at its end stands for any rest.
        path: String,
    },
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource { verb, group, resource, name } => {
                write!(f, "{} {}", verb_in_words(verb), resource_in_words(group, resource))?;
                name.as_ref().map_or(Ok(()), |name| write!(f, " named {name}"))
            }
            Self::Url { verb, path } if path == ALL => write!(f, "{} any URL", verb_in_words(verb)),
            Self::Url { verb, path } => write!(f, "{} URL {path}", verb_in_words(verb)),
        }
    }
}

/// A verb, so that a resource can follow.
pub(crate) fn verb_in_words(verb: &str) -> &str {
    if verb == ALL { "any verb on" } else { verb }
}

/// A resource as `kubectl` writes it, its group after a dot: `deployments.apps/scale`.
pub(crate) fn resource_in_words(group: &str, resource: &str) -> String {
    let of_group = match group {
        "" => " of the core group".to_owned(),
        ALL => " of any group".to_owned(),
        _ => format!(" of {group}"),
    };
    match resource.split_once('/') {
        _ if resource == ALL => format!("any resource{of_group}"),
        Some((ALL, subresource)) => format!("{subresource} of any resource{of_group}"),
        _ if group == ALL => format!("{resource}{of_group}"),
        _ if group.is_empty() => resource.to_owned(),
        Some((resource, subresource)) => format!("{resource}.{group}/{subresource}"),
        None => format!("{resource}.{group}"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("get", "", "secrets", None, "get secrets")]
    #[case("get", "", "secrets", Some("db"), "get secrets named db")]
    #[case("create", "", "pods/exec", None, "create pods/exec")]
    #[case("delete", "apps", "deployments", None, "delete deployments.apps")]
    #[case("patch", "apps", "deployments/scale", None, "patch deployments.apps/scale")]
    #[case("patch", "apps", "*/scale", None, "patch scale of any resource of apps")]
    #[case("get", "*", "pods", None, "get pods of any group")]
    #[case("get", "", "*", None, "get any resource of the core group")]
    #[case("*", "*", "*", None, "any verb on any resource of any group")]
    fn says_what_is_allowed(
        #[case] verb: &str,
        #[case] group: &str,
        #[case] resource: &str,
        #[case] name: Option<&str>,
        #[case] expected: &str,
    ) {
        let right = Right::Resource {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            name: name.map(ToOwned::to_owned),
        };
        assert_eq!(right.to_string(), expected);
    }

    #[rstest]
    #[case("get", "/healthz", "get URL /healthz")]
    #[case("*", "*", "any verb on any URL")]
    fn says_which_url(#[case] verb: &str, #[case] path: &str, #[case] expected: &str) {
        assert_eq!(Right::Url { verb: verb.into(), path: path.into() }.to_string(), expected);
    }
}
