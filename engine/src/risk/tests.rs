//! The catalogue entry by entry, and the roles that every cluster has.

mod accounts;
mod built_in;
mod catalogue;

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::*;

fn names(list: &str) -> BTreeSet<String> {
    list.split_whitespace().map(ToOwned::to_owned).collect()
}

fn within(ordinary: &str, protected: &str) -> Reach {
    Reach::Namespaces { ordinary: names(ordinary), protected: names(protected) }
}

fn risk_of(rules: &[PolicyRule], reach: &Reach) -> Risk {
    assess([("", rules)], reach)
}

fn titles(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.entry.title).collect()
}
