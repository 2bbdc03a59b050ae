//! A first policy, with the bindings of those who may ask and approve.

mod questions;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use anstream::eprintln;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject as Bound};
use kube::api::ObjectMeta;
use lapse_crds::{
    Approval, DurationBounds, Emergency, EmergencyReview, GrantDuration, JitPolicy, JitPolicySpec,
    KubernetesTargets, NamespaceSet, PolicyEffect, PolicyMode, PolicyTarget, RBAC_GROUP,
    ReasonRule, Stage, Subject, SubjectKind,
};
use lapse_engine::policy::{PolicyState, lint};
use serde::Serialize;

use crate::args::First;
use crate::assumed;
use crate::fault::Fault;
use crate::output::{plain, say};
use crate::role;
use crate::session::warn;

/// How long at most, unless somebody says otherwise.
const MAX: &str = "4h";
/// How long, if a request does not say.
const DEFAULT: &str = "30m";
/// How soon an emergency is to be reviewed.
const REVIEW_WITHIN: &str = "24h";

pub(super) fn run(first: &First) -> Result<(), Fault> {
    let first = questions::complete(first)?;
    let policy = policy(&first)?;
    check(&policy)?;
    let text = written(&policy, &first)?;
    let Some(file) = &first.file else { return say(text.trim_end()) };
    let failed =
        |error: std::io::Error| Fault::Other(format!("writing {}: {error}", file.display()));
    let mut opened = OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
    opened.write_all(text.as_bytes()).map_err(failed)?;
    eprintln!("{} is written; look at it, and then: kubectl apply -f {0}", file.display());
    Ok(())
}

/// What would be refused is told now, and so is what is unwise.
fn check(policy: &JitPolicy) -> Result<(), Fault> {
    let settings = assumed::settings(std::slice::from_ref(policy))?;
    if let Some(defect) = PolicyState::of(policy, &settings).defect {
        return Err(Fault::Usage(format!("such a policy would be refused: {}", defect.message)));
    }
    for told in lint(&policy.spec) {
        warn(&plain(&told));
    }
    Ok(())
}

fn policy(first: &First) -> Result<JitPolicy, Fault> {
    let roles: Vec<_> = first.roles.iter().map(|text| role::meant(text, &[])).collect();
    for (what, names) in
        [("namespace", &first.namespaces), ("policy", &Vec::from_iter(first.name.clone()))]
    {
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return Err(Fault::Usage(format!(
                "{name:?} is not a valid name of a {what}: write lower-case letters, digits and hyphens"
            )));
        }
    }
    let name = first.name.clone().unwrap_or_else(|| default_name(first));
    let max = first.max.map_or_else(|| duration(MAX), Ok)?;
    let approval = (!first.no_approval).then(|| Approval {
        stages: vec![Stage {
            name: "approval".to_owned(),
            required: 1,
            approvers: first.approvers.clone(),
        }],
        ..Approval::default()
    });
    let emergency = match first.emergency {
        Some(max_duration) => Some(Emergency {
            max_duration,
            max_unreviewed: None,
            review: EmergencyReview {
                within: duration(REVIEW_WITHIN)?,
                reviewers: first.reviewers.clone(),
            },
        }),
        None => None,
    };
    let kubernetes = KubernetesTargets {
        roles,
        namespaces: Some(NamespaceSet {
            names: first.namespaces.clone(),
            ..NamespaceSet::default()
        }),
        ..KubernetesTargets::default()
    };
    let spec = JitPolicySpec {
        description: None,
        mode: PolicyMode::Enforce,
        effect: PolicyEffect::Allow,
        priority: 100,
        requesters: first.requesters.clone(),
        targets: vec![PolicyTarget { kubernetes: Some(kubernetes), ..PolicyTarget::default() }],
        workstations: None,
        duration: Some(DurationBounds {
            min: None,
            default: Some(duration(DEFAULT)?.min(max)),
            max: Some(max),
        }),
        reason: Some(ReasonRule { required: true, min_length: Some(10) }),
        ticket: None,
        schedule: None,
        limits: None,
        separation_of_duties: Vec::new(),
        conditions: Vec::new(),
        on_role_widened: None,
        approval,
        emergency,
        session: None,
        retention: None,
    };
    let mut policy = JitPolicy::new(&name, spec);
    // Those are of its definition.
    policy.metadata.annotations = None;
    Ok(policy)
}

fn duration(text: &str) -> Result<GrantDuration, Fault> {
    text.parse().map_err(|error: lapse_crds::DurationError| Fault::Other(error.to_string()))
}

fn default_name(first: &First) -> String {
    let role = first.roles.first().map_or("", |role| role.rsplit('/').next().unwrap_or_default());
    let namespace = first.namespaces.first().map_or("", String::as_str);
    let allowed = |character: char| match character {
        'a'..='z' | '0'..='9' => character,
        _ => '-',
    };
    let name: String =
        format!("{namespace}-{}", role.to_lowercase()).chars().map(allowed).collect();
    name.trim_matches('-').to_owned()
}

/// A label of DNS, as names of namespaces are.
fn is_name(name: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(is_fine)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The policy and the bindings, as YAML, each with what it is for.
fn written(policy: &JitPolicy, first: &First) -> Result<String, Fault> {
    let name = policy.metadata.name.clone().unwrap_or_default();
    let mut text = String::new();
    add(&mut text, "Who may request what, for how long, and who approves.", policy)?;
    for namespace in &first.namespaces {
        let binding = RoleBinding {
            metadata: metadata(format!("{name}-requesters"), Some(namespace)),
            role_ref: role_ref("lapse:requester"),
            subjects: Some(bound(&first.requesters)),
        };
        add(&mut text, &format!("They may create requests in {namespace}."), &binding)?;
    }
    for (who, role, subjects) in [
        ("approvers", "lapse:approver", &first.approvers),
        ("reviewers", "lapse:reviewer", &first.reviewers),
    ] {
        if subjects.is_empty() {
            continue;
        }
        let binding = ClusterRoleBinding {
            metadata: metadata(format!("{name}-{who}"), None),
            role_ref: role_ref(role),
            subjects: Some(bound(subjects)),
        };
        let why = format!(
            "The {who}. Policies are cluster-scoped, and so is the permission to decide under them."
        );
        add(&mut text, &why, &binding)?;
    }
    Ok(text)
}

fn add(text: &mut String, why: &str, value: &impl Serialize) -> Result<(), Fault> {
    let yaml = serde_saphyr::to_string(value).map_err(|error| Fault::Other(error.to_string()))?;
    let separator = if text.is_empty() { "" } else { "---\n" };
    // Writing to a String cannot fail.
    let _ = write!(text, "{separator}# {}\n{}\n", plain(why), yaml.trim_end());
    Ok(())
}

fn metadata(name: String, namespace: Option<&String>) -> ObjectMeta {
    ObjectMeta { name: Some(name), namespace: namespace.cloned(), ..ObjectMeta::default() }
}

fn role_ref(name: &str) -> RoleRef {
    let (api_group, kind) = (RBAC_GROUP.to_owned(), "ClusterRole".to_owned());
    RoleRef { api_group, kind, name: name.to_owned() }
}

fn bound(subjects: &[Subject]) -> Vec<Bound> {
    let bound = |Subject { kind, name, namespace, endpoint: _ }: &Subject| Bound {
        api_group: (*kind != SubjectKind::ServiceAccount).then(|| RBAC_GROUP.to_owned()),
        kind: format!("{kind:?}"),
        name: name.clone(),
        namespace: namespace.clone(),
    };
    subjects.iter().map(bound).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn told(line: &str) -> String {
        let words = ["kubectl-jit", "init"].into_iter().chain(line.split(' '));
        let Command::Init { first } = Cli::try_parse_from(words).unwrap().command else {
            panic!("another command")
        };
        let policy = policy(&first).and_then(|policy| check(&policy).map(|()| policy));
        policy.and_then(|policy| written(&policy, &first)).unwrap_or_else(|fault| fault.to_string())
    }

    #[test]
    fn a_policy_comes_with_who_may_ask_approve_and_review() {
        let line = "--role edit --role role/mend --target-namespace shop --target-namespace bank --requesters \
                    shop-developers --requesters serviceaccount/ci/bot --approvers user/bob --emergency 1h --reviewers security";
        insta::assert_snapshot!(told(line));
    }

    #[test]
    fn what_could_never_work_is_refused() {
        let lines = [
            "Shop --role edit --target-namespace shop --requesters a --no-approval",
            "--role edit --target-namespace Shop --requesters a --no-approval",
            "--role edit --target-namespace kube-system --requesters a --no-approval",
            "--role edit --target-namespace shop --requesters a --no-approval --max 2m",
            "--role edit --target-namespace shop --requesters user/bob --approvers user/bob",
        ];
        insta::assert_snapshot!(lines.map(told).join("\n"));
    }
}
