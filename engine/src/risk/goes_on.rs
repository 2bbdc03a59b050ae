//! What is opened under a role and goes on after the right is gone: Kubernetes asks who may only when it is opened.

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::GrantSession;

use crate::role::RoleRules;
use crate::session::ends_streams;

/// What a role lets its holder open that goes on after its end, in words for whoever approves; `None` if nothing does.
#[must_use]
pub fn goes_on(role: &RoleRules, session: Option<&GrantSession>) -> Option<String> {
    let opens = |verbs: &[&str], groups: &[&str], resource: &str| {
        role.overlap(&[rule(verbs, groups, resource)])
    };
    let open = ["create", "get"];
    let to_pods = [
        ("kubectl exec", opens(&open, &[""], "pods/exec")),
        ("kubectl attach", opens(&open, &[""], "pods/attach")),
        ("kubectl port-forward", opens(&open, &[""], "pods/portforward")),
    ];
    let proxies = ["pods/proxy", "services/proxy", "nodes/proxy"];
    let is_proxied = proxies.into_iter().any(|resource| opens(&open, &[""], resource));
    let others = [
        ("connections through a proxy", is_proxied),
        ("kubectl logs --follow", opens(&["get"], &[""], "pods/log")),
        ("watches", opens(&["watch"], &["*"], "*")),
    ];
    let streams = if ends_streams(session) {
        let is_any = to_pods.iter().any(|(_, opens)| *opens);
        let last = ("what is open to pods in namespaces without lapse.dev/track-workloads", is_any);
        others.into_iter().chain([last]).collect::<Vec<_>>()
    } else {
        to_pods.into_iter().chain(others).collect()
    };
    let named: Vec<&str> =
        streams.into_iter().filter_map(|(name, opens)| opens.then_some(name)).collect();
    let (last, others) = named.split_last()?;
    let all = match others {
        [] => (*last).to_owned(),
        others => format!("{} and {last}", others.join(", ")),
    };
    Some(format!("What is open when access ends stays open until it is closed: {all}."))
}

fn rule(verbs: &[&str], groups: &[&str], resource: &str) -> PolicyRule {
    let list = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(list(groups)),
        resources: Some(list(&[resource])),
        verbs: list(verbs),
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::OpenStreams;
    use rstest::rstest;

    use super::*;
    use crate::testing::life::marked;

    #[rstest]
    #[case::nothing("get list", "", "secrets", None)]
    #[case::watches("watch", "apps", "deployments", Some("watches"))]
    #[case::a_shell("create", "", "pods/exec", Some("kubectl exec"))]
    #[case::any_port("get", "", "*/portforward", Some("kubectl port-forward"))]
    #[case::of_pods(
        "get",
        "",
        "*",
        Some(
            "kubectl exec, kubectl attach, kubectl port-forward, connections through a proxy and kubectl logs --follow"
        )
    )]
    #[case::everything(
        "*",
        "*",
        "*",
        Some(
            "kubectl exec, kubectl attach, kubectl port-forward, connections through a proxy, kubectl logs --follow and watches"
        )
    )]
    fn says_what_goes_on(
        #[case] verbs: &str,
        #[case] group: &str,
        #[case] resource: &str,
        #[case] expected: Option<&str>,
    ) {
        let verbs: Vec<&str> = verbs.split(' ').collect();
        let role = RoleRules::of_cluster_role(vec![rule(&verbs, &[group], resource)]);
        let begin = "What is open when access ends stays open until it is closed: ";
        assert_eq!(goes_on(&role, None), expected.map(|what| format!("{begin}{what}.")));
    }

    #[test]
    fn it_is_one_sentence() {
        let role = RoleRules::of_cluster_role(vec![rule(&["watch"], &[""], "pods")]);
        let said = "What is open when access ends stays open until it is closed: watches.";
        assert_eq!(goes_on(&role, None).as_deref(), Some(said));
    }
    #[test]
    fn what_ends_with_its_pods_does_not_go_on() {
        let everything = RoleRules::of_cluster_role(vec![rule(&["*"], &["*"], "*")]);
        let shell = RoleRules::of_cluster_role(vec![rule(&["create"], &[""], "pods/exec")]);
        let mut session = marked().spec.session.unwrap();
        session.open_streams = Some(OpenStreams::DeletePods);
        let said = [everything, shell].map(|role| goes_on(&role, Some(&session)).unwrap());
        insta::assert_snapshot!(said.join("\n"));
    }
}
