//! From a `JitPolicy` to a [`Policy`], or to what is wrong with it.

mod hosts;
mod people;

use std::fmt;

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{
    ConditionRule, GrantDuration, JitPolicy, JitPolicySpec, KubernetesTargets, OnRoleWidened,
    PolicyTarget, RoleRef, Separation,
};

use self::hosts::check_endpoints;
use self::people::check_people;
use super::approval::approval_rules;
use super::emergency::emergency_rules;
use super::offer::Offer;
use super::session::compile_session;
use super::workstations::Workstations;
use super::{Bounds, Limits, Policy, ReasonRule, TicketRule, reference};
use crate::Settings;
use crate::condition::Condition;
use crate::pattern::Pattern;
use crate::rules::{covers, valid};
use crate::schedule::Schedule;

/// What is wrong with a policy, as one word for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyErrorReason {
    /// The policy cannot be read at all.
    Unreadable,
    /// The durations contradict one another or leave the bounds of the installation.
    DurationOutOfBounds,
    /// The controller may not bind a role of the policy.
    RoleNotBindable,
    /// The policy asks for something that the controller has no rights for.
    NotPermitted,
    /// The policy names a namespace that can never be a target.
    ProtectedNamespace,
    /// A schedule names no known time zone, or windows that cannot be.
    InvalidSchedule,
    /// A condition does not compile, is no yes or no, or may cost too much.
    InvalidCondition,
    /// A rule means nothing, or cannot hold where it is offered.
    InvalidRule,
    /// A regular expression does not compile, or may cost too much.
    InvalidPattern,
    /// A stage can never be complete.
    Unsatisfiable,
}

impl fmt::Display for PolicyErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is wrong with a policy. No request is granted by it until that is mended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PolicyError {
    /// One word for programs.
    pub reason: PolicyErrorReason,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl PolicyError {
    pub(super) fn new(reason: PolicyErrorReason, message: String) -> Self {
        Self { reason, message }
    }
}

impl Policy {
    /// Checks a policy against the installation and compiles it.
    pub fn compile(policy: &JitPolicy, settings: &Settings) -> Result<Self, PolicyError> {
        // Destructured without `..`: a field that is added to the API must be compiled here.
        let JitPolicySpec {
            description: _,
            mode,
            effect: _,
            priority,
            requesters,
            targets,
            workstations,
            duration,
            reason,
            ticket,
            schedule,
            limits,
            separation_of_duties,
            conditions,
            on_role_widened,
            approval,
            emergency,
            session,
            // It holds when the policy cannot be compiled, too: see `crate::retention`.
            retention,
        } = &policy.spec;
        check_people(&policy.spec, settings)?;
        let approval = approval_rules(approval.as_ref(), requesters)?;
        let duration = bounds(&duration.clone().unwrap_or_default(), settings)?;
        let in_emergency = |rules| emergency_rules(rules, requesters, duration, settings);
        // What is kept apart holds when the policy cannot be compiled, too: see `PolicyState`.
        not_from_itself(policy, separation_of_duties)?;
        Ok(Self {
            reference: reference(policy),
            settings: settings.clone(),
            mode: *mode,
            priority: *priority,
            requesters: requesters.clone(),
            targets: targets
                .iter()
                .enumerate()
                .map(|(index, target)| offer(index, target, settings))
                .collect::<Result<_, _>>()?,
            workstations: workstations.as_ref().map(compile_workstations).transpose()?,
            duration,
            reason: reason.as_ref().map(|rule| ReasonRule {
                required: rule.required,
                min_length: rule.min_length.unwrap_or(0),
            }),
            ticket: ticket.as_ref().map(ticket_rule).transpose()?,
            schedule: schedule.as_ref().map(compile_schedule).transpose()?,
            limits: compile_limits(limits.as_ref(), *retention)?,
            conditions: conditions
                .iter()
                .enumerate()
                .map(|(index, rule)| condition(index, rule))
                .collect::<Result<_, _>>()?,
            approval,
            emergency: emergency.as_ref().map(in_emergency).transpose()?,
            session: compile_session(session.as_ref(), settings)?,
            keeps_widened: *on_role_widened == Some(OnRoleWidened::Keep),
        })
    }
}

/// By none, no request would ever be accepted.
fn compile_workstations(asked: &lapse_crds::Workstations) -> Result<Workstations, PolicyError> {
    let workstations = Workstations::of(asked);
    if workstations.is_empty() {
        let message = "spec.workstations names no host: set names or selector, or leave it out";
        return Err(PolicyError::new(PolicyErrorReason::InvalidRule, message.to_owned()));
    }
    Ok(workstations)
}

/// Whoever held a right by such a policy could never be given another, which is what limits are for.
fn not_from_itself(policy: &JitPolicy, apart: &[Separation]) -> Result<(), PolicyError> {
    let own = policy.metadata.name.as_deref().unwrap_or_default();
    match apart.iter().position(|separation| separation.policy == own) {
        None => Ok(()),
        Some(index) => Err(PolicyError::new(
            PolicyErrorReason::Unsatisfiable,
            format!(
                "spec.separationOfDuties[{index}].policy is {own}, the policy itself; name another, and limit how much \
                 one person holds under this one with spec.limits"
            ),
        )),
    }
}

fn bounds(asked: &lapse_crds::DurationBounds, settings: &Settings) -> Result<Bounds, PolicyError> {
    let installation = settings.duration;
    let outside = |field: &str, value: GrantDuration| {
        let message = format!(
            "spec.duration.{field} is {value}, but the installation allows {}..{}; change it, or the \
             chart's value duration",
            installation.min, installation.max
        );
        PolicyError::new(PolicyErrorReason::DurationOutOfBounds, message)
    };
    let given = [("min", asked.min), ("default", asked.default), ("max", asked.max)];
    for (field, value) in given {
        if let Some(value) = value.filter(|v| *v < installation.min || *v > installation.max) {
            return Err(outside(field, value));
        }
    }
    let min = asked.min.unwrap_or(installation.min);
    let max = asked.max.unwrap_or(installation.max);
    if min > max || asked.default.is_some_and(|default| default < min || default > max) {
        let default = asked.default.map(|default| format!(", default is {default}"));
        let message = format!(
            "spec.duration: min is {min}{} and max is {max}; min must not be longer than default, and default not \
             longer than max",
            default.unwrap_or_default()
        );
        return Err(PolicyError::new(PolicyErrorReason::DurationOutOfBounds, message));
    }
    Ok(Bounds { min, default: asked.default, max })
}

fn offer(index: usize, target: &PolicyTarget, settings: &Settings) -> Result<Offer, PolicyError> {
    let Some(offer) = Offer::of(target) else {
        let message = format!(
            "spec.targets[{index}] has neither kubernetes nor endpoint: an Allow policy spells out each target; set one, \
             and leave all out, which is for Deny policies"
        );
        return Err(PolicyError::new(PolicyErrorReason::Unreadable, message));
    };
    if let Some(targets) = &target.endpoint {
        check_endpoints(&format!("spec.targets[{index}].endpoint"), targets)?;
    }
    let Some(targets) = &target.kubernetes else { return Ok(offer) };
    let field = format!("spec.targets[{index}].kubernetes");
    for role in &targets.roles {
        check_bindable(&field, role, settings)?;
    }
    check_rules(&field, targets)?;
    let grantable: Vec<PolicyRule> =
        settings.grantable_rules.iter().map(PolicyRule::from).collect();
    for (position, rule) in targets.rules.iter().enumerate() {
        if let Err(uncovered) = covers(&grantable, &[PolicyRule::from(rule)]) {
            let message = format!(
                "{field}.rules[{position}]: the controller may not grant this: {uncovered}; remove it, or add it to \
                 the chart's value controller.grantableRules"
            );
            return Err(PolicyError::new(PolicyErrorReason::RoleNotBindable, message));
        }
    }
    if targets.cluster_wide && !settings.allow_cluster_wide {
        let message = format!(
            "{field}.clusterWide is true, but the installation allows no ClusterRoleBindings; remove \
             it, or set the chart's value controller.allowClusterWide"
        );
        return Err(PolicyError::new(PolicyErrorReason::RoleNotBindable, message));
    }
    for name in targets.namespaces.iter().flat_map(|set| &set.names) {
        let is_offered = offer.offers_protected(name, settings);
        if let Some(why) = settings.protection_of(name).filter(|_| !is_offered) {
            let message = format!("{field}.namespaces.names: {name} {why}");
            return Err(PolicyError::new(PolicyErrorReason::ProtectedNamespace, message));
        }
    }
    Ok(offer)
}

/// Checks the rules, the hosts and the commands that are spelled out in targets.
pub(super) fn check_all_targets(targets: &[PolicyTarget]) -> Result<(), PolicyError> {
    targets.iter().enumerate().try_for_each(|(index, target)| {
        if let Some(targets) = &target.kubernetes {
            check_rules(&format!("spec.targets[{index}].kubernetes"), targets)?;
        }
        match &target.endpoint {
            Some(targets) => check_endpoints(&format!("spec.targets[{index}].endpoint"), targets),
            None => Ok(()),
        }
    })
}

fn check_rules(field: &str, targets: &KubernetesTargets) -> Result<(), PolicyError> {
    targets.rules.iter().enumerate().try_for_each(|(position, rule)| {
        let field = format!("{field}.rules[{position}]");
        valid(&PolicyRule::from(rule), &field, !targets.cluster_wide)
            .map_err(|error| PolicyError::new(PolicyErrorReason::InvalidRule, error.to_string()))
    })
}

fn ticket_rule(rule: &lapse_crds::TicketRule) -> Result<TicketRule, PolicyError> {
    let compile = |source: &String| Pattern::compile("spec.ticket.pattern", source);
    let pattern = rule.pattern.as_ref().map(compile).transpose();
    let pattern =
        pattern.map_err(|why| PolicyError::new(PolicyErrorReason::InvalidPattern, why))?;
    Ok(TicketRule { required: rule.required, pattern })
}

pub(super) fn compile_schedule(schedule: &lapse_crds::Schedule) -> Result<Schedule, PolicyError> {
    Schedule::compile(schedule)
        .map_err(|why| PolicyError::new(PolicyErrorReason::InvalidSchedule, why))
}

/// How far back granted time is counted: the Grants must be kept for so long.
const DAY: GrantDuration = match GrantDuration::from_seconds(24 * 3600) {
    Some(day) => day,
    None => unreachable!(),
};

fn compile_limits(
    limits: Option<&lapse_crds::Limits>,
    retention: Option<GrantDuration>,
) -> Result<Limits, PolicyError> {
    // Destructured without `..`: a field that is added to the API must be compiled here.
    let lapse_crds::Limits { open_requests_per_user, active_grants_per_user, granted_time_per_day } =
        limits.cloned().unwrap_or_default();
    if granted_time_per_day.is_some()
        && let Some(kept) = retention.filter(|kept| *kept < DAY)
    {
        let message = format!(
            "spec.retention is {kept}, but spec.limits.grantedTimePerDay counts the grants of 24 hours; \
             keep them for at least 24h"
        );
        return Err(PolicyError::new(PolicyErrorReason::DurationOutOfBounds, message));
    }
    let count = |limit: Option<u32>, default: u32| limit.unwrap_or(default) as usize;
    Ok(Limits {
        open_requests: count(open_requests_per_user, 1),
        active_grants: count(active_grants_per_user, 3),
        time_per_day: granted_time_per_day,
    })
}

fn condition(index: usize, rule: &ConditionRule) -> Result<(Condition, String), PolicyError> {
    let compiled = Condition::compile(&rule.expression).map_err(|why| {
        let message = format!("spec.conditions[{index}].expression: {why}");
        PolicyError::new(PolicyErrorReason::InvalidCondition, message)
    })?;
    Ok((compiled, rule.message.clone()))
}

fn check_bindable(field: &str, role: &RoleRef, settings: &Settings) -> Result<(), PolicyError> {
    if settings.bindable_roles.contains(role) {
        return Ok(());
    }
    let message = format!(
        "{field}.roles: the controller may not bind {role}; remove it, or add {{kind: {}, name: {}}} \
         to the chart's value controller.bindableRoles",
        role.kind, role.name
    );
    Err(PolicyError::new(PolicyErrorReason::RoleNotBindable, message))
}

#[cfg(test)]
mod tests;
