//! `lapse request`: somebody asks, without credentials of the cluster.

use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use lapse_crds::{AccountAction, GrantDuration};

use super::ask;
use super::wait::{asked, until_held};
use crate::places::Places;
use crate::requests::wish::Wish;

const EXAMPLES: &str = "\
Examples:
  lapse request --admin --for 30m --reason 'Checkout fails for EU cards' --wait
  lapse request --command '/usr/bin/systemctl restart nginx' --ticket INC0012345
  lapse request --application restart-web --reason 'It hangs'
  lapse request --account raise --group adm --group ops --reason 'Rotating logs'";

/// What is requested.
#[derive(Args, Clone, Debug)]
#[command(
    group = ArgGroup::new("elevation").args(["admin", "commands", "groups", "application", "account"]).multiple(true).required(true),
    after_help = EXAMPLES
)]
pub struct Request {
    /// sudo for everything.
    #[arg(long, conflicts_with_all = ["commands", "groups", "application", "account"])]
    pub admin: bool,
    /// sudo for this command: an absolute path and exact arguments, in one word; may be given several times.
    #[arg(long = "command", value_name = "COMMAND", conflicts_with_all = ["groups", "application", "account"])]
    pub commands: Vec<String>,
    /// Membership of this local group; with --account, a group that your account joins, and may be given several times.
    #[arg(long = "group", value_name = "NAME", conflicts_with = "application")]
    pub groups: Vec<String>,
    /// One program as root, run by the agent: the application of this name.
    #[arg(long, value_name = "NAME", conflicts_with = "account")]
    pub application: Option<String>,
    /// Your own local user: enabled, created, or in more groups.
    #[arg(long, value_name = "ACTION", value_parser = account(), ignore_case = true)]
    pub account: Option<AccountAction>,
    /// How long, such as 45s, 30m or 1h30m. Default: the policy's.
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<GrantDuration>,
    /// Why; approvers read it.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The ticket that this is about.
    #[arg(long, value_name = "TICKET")]
    pub ticket: Option<String>,
    /// The policy under which you request. Default: the one with the lowest priority number that offers it.
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Wait until you hold it.
    #[arg(long)]
    pub wait: bool,
    /// Stop waiting after this long; the request stays. Default: never.
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub timeout: Option<GrantDuration>,
}

/// What is done with a local account, as people write it.
fn account() -> impl TypedValueParser<Value = AccountAction> {
    PossibleValuesParser::new(["enable", "provision", "raise"]).map(|text| {
        match text.to_ascii_lowercase().as_str() {
            "enable" => AccountAction::Enable,
            "provision" => AccountAction::Provision,
            _ => AccountAction::Raise,
        }
    })
}

/// Why something is needed now, where it is requested at the moment of use.
#[derive(Args, Clone, Debug, Default)]
pub struct Why {
    /// Request it for this reason if you do not hold it, and wait until you do.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// With --reason: how long, such as 45s, 30m or 1h30m. Default: the policy's.
    #[arg(long = "for", value_name = "DURATION", requires = "reason")]
    pub duration: Option<GrantDuration>,
    /// With --reason: the ticket that this is about.
    #[arg(long, value_name = "TICKET", requires = "reason")]
    pub ticket: Option<String>,
    /// With --reason: the policy under which you request.
    #[arg(long, value_name = "NAME", requires = "reason")]
    pub policy: Option<String>,
    /// With --reason: stop waiting after this long; the request stays. Default: never.
    #[arg(long, value_name = "DURATION", requires = "reason")]
    pub timeout: Option<GrantDuration>,
}

impl Why {
    /// What is asked for, but for what it is; `None` if nothing is to be requested.
    #[must_use]
    pub fn wish(&self) -> Option<Wish> {
        let Self { reason, duration, ticket, policy, timeout: _ } = self.clone();
        let reason = Some(reason?);
        Some(Wish { duration, reason, ticket, policy, ..Wish::default() })
    }
}

/// Requests it, and waits for it if that is wanted.
///
/// # Errors
/// If it is not requested, or not given in time to who waits.
pub fn request(places: &Places, options: &Request) -> anyhow::Result<ExitCode> {
    let Request {
        admin,
        commands,
        groups,
        application,
        account,
        duration,
        reason,
        ticket,
        policy,
        wait,
        timeout,
    } = options.clone();
    let wish =
        Wish { admin, commands, groups, application, account, duration, reason, ticket, policy };
    let requested = ask::request(places, &wish)?;
    println!("{}", asked(&requested));
    if wait {
        until_held(places, &requested, timeout)?;
        println!("You hold it: `lapse status` shows for how long.");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        request: Request,
    }

    #[test]
    fn accounts_may_join_several_groups() {
        let words = ["lapse", "--account", "Raise", "--group", "adm", "--group", "ops"];
        let Line { request } = Line::try_parse_from(words).unwrap();
        assert_eq!((request.account, request.groups.len()), (Some(AccountAction::Raise), 2));
    }

    #[test]
    fn without_a_reason_nothing_is_requested_at_the_moment_of_use() {
        assert_eq!(Why::default().wish(), None);
        let why = Why { reason: Some("x".into()), ..Why::default() };
        assert_eq!(why.wish(), Some(Wish { reason: Some("x".into()), ..Wish::default() }));
    }
}
