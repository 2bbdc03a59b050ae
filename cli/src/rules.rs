//! The rules of roles in words, each whole.

use lapse_crds::{RecordedRules, RoleRule};

/// `get,list pods,pods/log of apps`, in the order of a rule.
pub(crate) fn in_words(rule: &RoleRule) -> String {
    let RoleRule { api_groups, resources, resource_names, non_resource_urls, verbs } = rule;
    let group = match api_groups.as_slice() {
        [] => String::new(),
        [core] if core.is_empty() => String::new(),
        groups => format!(" of {}", groups.join(",")),
    };
    let names = match resource_names.as_slice() {
        [] => String::new(),
        names => format!(" named {}", names.join(",")),
    };
    let what = if resources.is_empty() { non_resource_urls } else { resources };
    format!("{} {}{group}{names}", verbs.join(","), what.join(","))
}

/// All that is allowed, a line for each rule. Of a `Role` that stands in several namespaces each line says where.
pub(crate) fn lines(lists: &[RecordedRules]) -> Vec<String> {
    let of_list = |list: &RecordedRules| -> Vec<String> {
        let place = list.namespace.as_ref().filter(|_| lists.len() > 1);
        let place = place.map(|namespace| format!("in {namespace}: ")).unwrap_or_default();
        if list.rules.is_empty() {
            return vec![format!("{place}nothing")];
        }
        list.rules.iter().map(|rule| format!("{place}{}", in_words(rule))).collect()
    };
    lists.iter().flat_map(of_list).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_rule_is_told_whole() {
        let told = |lists: Value| {
            let lists: Vec<RecordedRules> = serde_json::from_value(lists).unwrap();
            lines(&lists).join("\n")
        };
        let pods =
            json!({"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]});
        let one = json!({
            "apiGroups": ["apps", "batch"], "resources": ["*"], "resourceNames": ["a", "b"], "verbs": ["*"],
        });
        let url = json!({"nonResourceURLs": ["/healthz"], "verbs": ["get"]});
        let all = [
            told(json!([{"rules": [pods, one, url]}])),
            told(json!([{"namespace": "shop", "rules": [pods]}])),
            told(
                json!([{"namespace": "bank", "rules": []}, {"namespace": "shop", "rules": [pods]}]),
            ),
            told(json!([{"rules": []}])),
        ];
        insta::assert_snapshot!(all.join("\n\n"), @r"
        get,list pods,pods/log
        * * of apps,batch named a,b
        get /healthz

        get,list pods,pods/log

        in bank: nothing
        in shop: get,list pods,pods/log

        nothing
        ");
    }
}
