//! Selectors of labels.

use lapse_crds::{LabelOperator, LabelRequirement, LabelSelector};

/// Whether labels meet every requirement of a selector, as Kubernetes reads it; an empty one selects
/// nothing.
pub(in crate::policy) fn selects<'a>(
    selector: &LabelSelector,
    label: impl Fn(&str) -> Option<&'a str>,
) -> bool {
    let LabelSelector { match_labels, match_expressions } = selector;
    let meets = |requirement: &LabelRequirement| {
        let value = label(&requirement.key);
        let is_listed = || requirement.values.iter().any(|listed| Some(&*listed.0) == value);
        match requirement.operator {
            LabelOperator::In => is_listed(),
            LabelOperator::NotIn => !is_listed(),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    };
    !(match_labels.is_empty() && match_expressions.is_empty())
        && match_labels.iter().all(|(key, value)| label(key) == Some(&*value.0))
        && match_expressions.iter().all(meets)
}

/// A selector in words, as `kubectl` writes it.
pub(in crate::policy) fn describe(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().map(|(key, value)| format!("{key}={}", value.0));
    let expressions = selector.match_expressions.iter().map(|requirement| {
        let LabelRequirement { key, operator, values } = requirement;
        let values: Vec<&str> = values.iter().map(|value| value.0.as_str()).collect();
        let values = values.join(",");
        match operator {
            LabelOperator::In => format!("{key} in ({values})"),
            LabelOperator::NotIn => format!("{key} notin ({values})"),
            LabelOperator::Exists => key.clone(),
            LabelOperator::DoesNotExist => format!("!{key}"),
        }
    });
    equal.chain(expressions).collect::<Vec<_>>().join(",")
}
