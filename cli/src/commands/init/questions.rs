//! Asking on a terminal for what the command line lacks.

use std::io::IsTerminal as _;

use inquire::{InquireError, Text};
use lapse_crds::Subject;

use crate::args::{First, parse_subject};
use crate::fault::Fault;
use crate::interrupt::Interrupt;

/// What the command line says, with what a person adds.
pub(super) fn complete(first: &First) -> Result<First, Fault> {
    let mut first = first.clone();
    let lacks_approval = first.approvers.is_empty() && !first.no_approval;
    let is_whole = !(first.roles.is_empty()
        || first.namespaces.is_empty()
        || first.requesters.is_empty()
        || lacks_approval);
    if is_whole {
        return Ok(first);
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Fault::Usage(
            "give --role, --target-namespace, --requesters, and --approvers or --no-approval; on a terminal they are \
             asked for"
                .to_owned(),
        ));
    }
    if first.requesters.is_empty() {
        first.requesters = subjects("Who may request?", false)?;
    }
    if first.roles.is_empty() {
        first.roles = words("For which roles?", "such as edit, view or role/deployer")?;
    }
    if first.namespaces.is_empty() {
        first.namespaces = words("In which namespaces?", "separated by spaces")?;
    }
    if lacks_approval {
        first.approvers = subjects("Who approves?", true)?;
        first.no_approval = first.approvers.is_empty();
    }
    if first.max.is_none() {
        first.max = Some(duration()?);
    }
    Ok(first)
}

/// Words, at least one.
fn words(question: &str, help: &str) -> Result<Vec<String>, Fault> {
    loop {
        let text = answer(Text::new(question).with_help_message(help).prompt())?;
        let words: Vec<String> = text.split_whitespace().map(ToOwned::to_owned).collect();
        if !words.is_empty() {
            return Ok(words);
        }
    }
}

fn subjects(question: &str, may_be_nobody: bool) -> Result<Vec<Subject>, Fault> {
    let help = if may_be_nobody {
        "groups, or user/NAME, separated by spaces; nothing: no approval"
    } else {
        "groups, or user/NAME, separated by spaces"
    };
    loop {
        let text = answer(Text::new(question).with_help_message(help).prompt())?;
        match text.split_whitespace().map(parse_subject).collect::<Result<Vec<_>, _>>() {
            Ok(subjects) if may_be_nobody || !subjects.is_empty() => return Ok(subjects),
            Ok(_) => {}
            Err(why) => anstream::eprintln!("{why}"),
        }
    }
}

fn duration() -> Result<lapse_crds::GrantDuration, Fault> {
    loop {
        let question = Text::new("For how long at most?").with_default(super::MAX);
        match answer(question.prompt())?.trim().parse() {
            Ok(duration) => return Ok(duration),
            Err(error) => anstream::eprintln!("{error}"),
        }
    }
}

fn answer<T>(answer: Result<T, InquireError>) -> Result<T, Fault> {
    answer.map_err(|error| match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            let told = "interrupted; nothing was written".to_owned();
            Fault::Interrupted { by: Interrupt::Keyboard, told }
        }
        other => Fault::Other(other.to_string()),
    })
}
