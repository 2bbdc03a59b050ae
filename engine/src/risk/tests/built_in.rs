//! The user-facing roles of Kubernetes 1.36, aggregated
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles>).

use super::*;
use crate::rules::testing::{rule, url_rule};
use crate::rules::{compact, covers};

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";

pub(super) fn view() -> Vec<PolicyRule> {
    let read = |groups: &str, resources: &str| rule(READ, groups, resources, "");
    vec![
        read(
            "",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods \
             replicationcontrollers replicationcontrollers/scale serviceaccounts services \
             services/status",
        ),
        read(
            "",
            "bindings limitranges namespaces/status pods/log pods/status \
             replicationcontrollers/status resourcequotas resourcequotas/status",
        ),
        read("", "namespaces"),
        read("core events.k8s.io", "events"),
        read("discovery.k8s.io", "endpointslices"),
        read(
            "apps",
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale \
             deployments/status replicasets replicasets/scale replicasets/status statefulsets \
             statefulsets/scale statefulsets/status",
        ),
        read("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        read("batch", "cronjobs cronjobs/status jobs jobs/status"),
        read(
            "extensions",
            "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses \
             ingresses/status networkpolicies replicasets replicasets/scale replicasets/status \
             replicationcontrollers/scale",
        ),
        read("policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        read("networking.k8s.io", "ingresses ingresses/status networkpolicies"),
        read("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
    ]
}

pub(super) fn edit() -> Vec<PolicyRule> {
    let write = |groups: &str, resources: &str| rule(WRITE, groups, resources, "");
    let mut rules = vec![
        rule(
            READ,
            "",
            "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
            "",
        ),
        rule("impersonate", "", "serviceaccounts", ""),
        write("", "pods pods/attach pods/exec pods/portforward pods/proxy"),
        rule("create", "", "pods/eviction", ""),
        write(
            "",
            "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale \
             secrets serviceaccounts services services/proxy",
        ),
        rule("create", "", "serviceaccounts/token", ""),
        write("core events.k8s.io", "events"),
        write(
            "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets \
             replicasets/scale statefulsets statefulsets/scale",
        ),
        write("autoscaling", "horizontalpodautoscalers"),
        write("batch", "cronjobs jobs"),
        write(
            "extensions",
            "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies \
             replicasets replicasets/scale replicationcontrollers/scale",
        ),
        write("policy", "poddisruptionbudgets"),
        write("networking.k8s.io", "ingresses networkpolicies"),
        rule(&format!("{READ} {WRITE}"), "coordination.k8s.io", "leases", ""),
        write("resource.k8s.io", "resourceclaims resourceclaimtemplates"),
    ];
    rules.extend(view());
    rules
}

pub(super) fn admin() -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews", ""),
        rule(&format!("{READ} {WRITE}"), "rbac.authorization.k8s.io", "rolebindings roles", ""),
    ];
    rules.extend(edit());
    rules
}

pub(super) fn cluster_admin() -> Vec<PolicyRule> {
    vec![rule("*", "*", "*", ""), url_rule("*", "*")]
}

#[test]
fn view_is_fine_anywhere() {
    for reach in [Reach::Cluster, within("shop", "kube-system")] {
        assert_eq!(risk_of(&view(), &reach), Risk::default());
    }
    assert_eq!(Risk::default().brief(), None);
}

#[test]
fn edit_is_warned_about_in_an_ordinary_namespace() {
    let risk = risk_of(&edit(), &within("shop", ""));
    assert!(!risk.escalates());
    assert_eq!(risk.refusal(), None);
    insta::assert_snapshot!(risk.warning().unwrap(), @"This role is powerful. In shop it can read secrets (get, list, watch secrets): list and watch show what is in them as well as get, tokens and passwords included; get tokens through new secrets (create secrets): Kubernetes fills a secret of the right type with a token of any service account; run workloads (create, patch, update cronjobs.batch, daemonsets.apps, deployments.apps, jobs.batch, pods and 3 more): a pod runs as any service account of its namespace and mounts any secret; run commands in pods (create, get pods/attach, pods/exec): a command in a pod has the pod's service account, secrets and network. It can also get tokens of service accounts, impersonate service accounts, reach any port of pods.");
    insta::assert_snapshot!(risk.brief().unwrap(), @"In shop, this role can read secrets, get tokens through new secrets, run workloads, run commands in pods, get tokens of service accounts, impersonate service accounts, reach any port of pods.");
}

#[test]
fn edit_is_refused_in_the_whole_cluster() {
    let risk = risk_of(&edit(), &Reach::Cluster);
    assert_eq!(risk.warnings, []);
    insta::assert_snapshot!(risk.refusal().unwrap(), @"This role allows privilege escalation. In the whole cluster it can read secrets (get, list, watch secrets): list and watch show what is in them as well as get, tokens and passwords included; get tokens through new secrets (create secrets): Kubernetes fills a secret of the right type with a token of any service account; run workloads (create, patch, update cronjobs.batch, daemonsets.apps, deployments.apps, jobs.batch, pods and 3 more): a pod runs as any service account of its namespace and mounts any secret; run commands in pods (create, get pods/attach, pods/exec): a command in a pod has the pod's service account, secrets and network. It can also get tokens of service accounts, impersonate service accounts, reach any port of pods. Request a role without these permissions, or request under a policy with allowEscalation.");
    let accepted = risk.clone().accepted();
    assert!(!accepted.escalates());
    assert_eq!(accepted.brief(), risk.brief());
}

#[test]
fn edit_is_refused_where_a_namespace_is_protected_and_warned_about_elsewhere() {
    let risk = risk_of(&edit(), &within("shop", "kube-system"));
    assert_eq!(titles(&risk.refusals), titles(&risk.warnings));
    let place = |findings: &[Finding]| findings[0].place.to_string();
    assert_eq!(
        (place(&risk.refusals), place(&risk.warnings)),
        ("kube-system".into(), "shop".into())
    );
    insta::assert_snapshot!(risk.brief().unwrap(), @"In kube-system, shop, this role can read secrets, get tokens through new secrets, run workloads, run commands in pods, get tokens of service accounts, impersonate service accounts, reach any port of pods.");
}

#[test]
fn admin_is_refused_for_writing_roles() {
    let risk = risk_of(&admin(), &within("shop", ""));
    assert_eq!(titles(&risk.warnings), titles(&risk_of(&edit(), &within("shop", "")).warnings));
    insta::assert_snapshot!(risk.refusal().unwrap(), @"This role allows privilege escalation. In shop it can write roles and bindings (create, delete, deletecollection, patch, update rolebindings.rbac.authorization.k8s.io, roles.rbac.authorization.k8s.io): who decides what roles hold and who is bound to them decides who may do what. Request a role without these permissions, or request under a policy with allowEscalation.");
}

#[test]
fn cluster_admin_is_refused_in_one_sentence() {
    for reach in [Reach::Cluster, within("shop", "")] {
        assert_eq!(titles(&risk_of(&cluster_admin(), &reach).refusals), ["do anything"]);
    }
    let risk = risk_of(&cluster_admin(), &Reach::Cluster);
    insta::assert_snapshot!(risk.refusal().unwrap(), @"This role allows privilege escalation. In the whole cluster it can do anything (any verb on any resource of any group): this is everything there is, and everything that is added later. Request a role without these permissions, or request under a policy with allowEscalation.");
    insta::assert_snapshot!(risk.brief().unwrap(), @"In the whole cluster, this role can do anything.");
}

/// What an approval would keep of each role.
#[test]
fn the_rules_of_an_approval_stay_small() {
    for (rules, bytes) in
        [(view(), 2_000), (edit(), 4_500), (admin(), 5_000), (cluster_admin(), 300)]
    {
        let compacted = compact(&rules);
        assert_eq!(covers(&compacted, &rules), Ok(()));
        let size = serde_json::to_string(&compacted).unwrap().len();
        assert!(size <= bytes, "{size}");
    }
}
