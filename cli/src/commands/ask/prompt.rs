//! Asking on a terminal for what the command line lacks, with what the policies offer.

use std::fmt;
use std::io::IsTerminal as _;

use inquire::{InquireError, Select, Text};
use lapse_crds::{GrantDuration, RoleRef};
use lapse_engine::policy::Offered;

use crate::args::{Ask, AskFor};
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::offers;
use crate::role;
use crate::session::Session;

/// A role under a policy, as it is shown to choose from.
struct Choice<'a> {
    role: &'a RoleRef,
    offered: &'a Offered,
}

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offered { policy, approval, .. } = self.offered;
        let how_long = self.offered.how_long();
        write!(
            f,
            "{} ({policy}: {how_long}; approved by {approval})",
            role::written(self.role, &[])
        )
    }
}

/// What is asked for, with what a person adds; unchanged if it says what is wanted, or if nobody is there to ask.
pub(super) async fn complete(session: &Session, ask: &Ask) -> Result<Ask, Fault> {
    let mut ask = ask.clone();
    let AskFor { role, rules, endpoint, endpoint_selector, .. } = &ask.what;
    let is_on_host = !endpoint.is_empty() || endpoint_selector.is_some();
    let says_what = role.is_some() || !rules.is_empty() || is_on_host;
    if says_what || !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(ask);
    }
    let told = offers::to_me(session).await?;
    let wanted = ask.policy.as_deref();
    let under =
        told.offers.iter().filter(|offered| wanted.is_none_or(|name| name == offered.policy));
    let choices: Vec<Choice<'_>> = under
        .flat_map(|offered| offered.roles.iter().map(move |role| Choice { role, offered }))
        .collect();
    if choices.is_empty() {
        return Err(Fault::NoAccess(
            "no policy offers you a role; `kubectl jit policies` shows what else you may request"
                .to_owned(),
        ));
    }
    let Choice { role, offered } = answer(Select::new("Which role?", choices).prompt())?;
    ask.what.role = Some(role::written(role, &[]));
    ask.policy = Some(offered.policy.clone());
    if ask.duration.is_none() {
        ask.duration = duration(offered)?;
    }
    if ask.reason.is_none() {
        ask.reason = optional(answer(Text::new("Why?").prompt())?);
    }
    if ask.ticket.is_none() && offered.ticket_required {
        ask.ticket = optional(answer(Text::new("Which ticket?").prompt())?);
    }
    Ok(ask)
}

/// How long, until it is written as a duration; none is the policy's default.
fn duration(offered: &Offered) -> Result<Option<GrantDuration>, Fault> {
    let help = offered.how_long();
    loop {
        let text = answer(Text::new("For how long?").with_help_message(&help).prompt())?;
        match text.trim().parse() {
            Ok(duration) => return Ok(Some(duration)),
            Err(_) if text.trim().is_empty() && offered.default.is_some() => return Ok(None),
            Err(error) => anstream::eprintln!("{error}"),
        }
    }
}

fn optional(text: String) -> Option<String> {
    Some(text).filter(|text| !text.trim().is_empty())
}

fn answer<T>(answer: Result<T, InquireError>) -> Result<T, Fault> {
    answer.map_err(|error| match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            let told = "interrupted; nothing was requested".to_owned();
            Fault::Interrupted { by: Interrupt::Keyboard, told }
        }
        other => Fault::Other(other.to_string()),
    })
}
