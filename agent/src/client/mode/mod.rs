//! `lapse mode`: just-in-time access as a mode that somebody is in, and leaves. Its shell is theirs; what is elevated is what
//! they start with sudo in it.

mod shell;
mod words;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use lapse_crds::{GRANT_VARIABLE, OrderState};

use super::ask::{self, AskError, BRIEF, Standing, have_done, standing};
use super::request::Why;
use super::wait::obtain;
use crate::clock::{Clock as _, HostClock};
use crate::local::protocol::{End, Held, Request};
use crate::places::Places;
use crate::requests::wish::Wish;

/// How long the agent may take to say what is held.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to enter it, and to leave it.
#[derive(Clone, Debug, Args)]
pub struct Mode {
    /// The Grant, as `lapse status` names it. Without it: the only one with sudo that you hold.
    #[arg(conflicts_with = "reason")]
    pub grant: Option<String>,
    /// To request sudo if it is not held, and wait for it.
    #[command(flatten)]
    pub why: Why,
    /// With --reason: request sudo for this command alone, and not for everything; may be given several times.
    #[arg(long = "command", value_name = "COMMAND", requires = "reason")]
    pub commands: Vec<String>,
    /// The shell; your own if not given.
    #[arg(long, value_name = "PROGRAM")]
    pub shell: Option<PathBuf>,
    /// End the access when the shell is left, without asking.
    #[arg(long, conflicts_with = "keep")]
    pub end: bool,
    /// Keep the access when the shell is left, without asking.
    #[arg(long)]
    pub keep: bool,
    /// Write what a prompt begins with, for a shell that is in the mode.
    #[arg(long, hide = true)]
    pub prompt: bool,
}

/// Enters it, and leaves it when the shell ends.
///
/// # Errors
/// If there is nothing to use in it, or the access cannot be ended afterwards.
pub fn mode(places: &Places, options: &Mode) -> anyhow::Result<ExitCode> {
    let inside = std::env::var(GRANT_VARIABLE).ok();
    if options.prompt {
        print!("{}", prompt(standing(places, BRIEF), inside.as_deref()));
        return Ok(ExitCode::SUCCESS);
    }
    let mut standing = ask::standing(places, PATIENCE)?;
    if let Some(wish) = wish(options)
        && !standing.held.iter().any(is_usable)
    {
        obtain(places, &wish, options.why.timeout)?;
        standing = ask::standing(places, PATIENCE)?;
    }
    let held = choose(&standing, options.grant.as_deref())?;
    ensure!(
        inside.as_ref() != Some(&held.grant),
        "this shell is in the mode of {} already: `exit` leaves it",
        held.grant
    );
    eprint!("{}", words::banner(&standing.agent.endpoint, held, options.keep));
    let command = shell::command(places, options.shell.clone(), (GRANT_VARIABLE, &held.grant));
    let name = command.get_program().display().to_string();
    let over = || is_over(places, held).then(words::ended);
    let code = shell::run(command, over).with_context(|| format!("running {name}"))?;
    if !is_over(places, held) {
        leave(places, options, held)?;
    }
    Ok(ExitCode::from(code))
}

/// What is requested if nothing is held that could be used in the mode.
fn wish(Mode { why, commands, .. }: &Mode) -> Option<Wish> {
    let (admin, commands) = (commands.is_empty(), commands.clone());
    why.wish().map(|wish| Wish { admin, commands, ..wish })
}

/// The right that is used in the mode.
fn choose<'a>(standing: &'a Standing, grant: Option<&str>) -> anyhow::Result<&'a Held> {
    let all: Vec<&Held> = standing.held.iter().filter(|held| is_usable(held)).collect();
    let is_meant = |held: &&&Held| grant.is_none_or(|grant| held.grant == grant);
    match all.iter().filter(is_meant).collect::<Vec<_>>().as_slice() {
        [held] => Ok(held),
        [] => bail!(words::nothing(&standing.agent.endpoint, grant)),
        several => {
            let names: Vec<&str> = several.iter().map(|held| held.grant.as_str()).collect();
            bail!("say which one: lapse mode {}", names.join(", or lapse mode "))
        }
    }
}

fn is_usable(held: &Held) -> bool {
    held.is_sudo && held.state == OrderState::Active
}

/// What a prompt begins with: nothing, once the access is over.
fn prompt(standing: Result<Standing, AskError>, inside: Option<&str>) -> String {
    let held = standing.map(|standing| standing.held).unwrap_or_default();
    let held = held.iter().find(|held| is_usable(held) && inside == Some(held.grant.as_str()));
    held.map(|held| words::prompt(held.seconds_left)).unwrap_or_default()
}

/// Whether a right is over. While the agent does not say, the clock does.
fn is_over(places: &Places, entered: &Held) -> bool {
    match standing(places, BRIEF) {
        Ok(standing) => {
            !standing.held.iter().any(|held| held.grant == entered.grant && is_usable(held))
        }
        Err(_) => HostClock.read().is_ok_and(|now| now.wall >= entered.expires_at),
    }
}

fn leave(places: &Places, options: &Mode, held: &Held) -> anyhow::Result<()> {
    let running = standing(places, BRIEF).map(|standing| standing.held).unwrap_or_default();
    let running = running.iter().find(|now| now.grant == held.grant);
    let running = running.map(|held| held.processes.len()).unwrap_or_default();
    let ends = if options.end {
        true
    } else if options.keep {
        false
    } else if io::stdin().is_terminal() {
        eprint!("{}", words::question(held, running));
        let mut answer = String::new();
        // Whoever hangs up wants no more of it.
        let _ = io::stdin().read_line(&mut answer);
        words::is_yes(&answer)
    } else {
        true
    };
    if ends {
        let request = Request::End(End { grant: Some(held.grant.clone()) });
        eprintln!("{}", have_done(places, &request)?);
    } else {
        eprintln!("{}", words::kept(held));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rstest::rstest;

    use super::*;
    use crate::client::status::tests::{held, standing_of};

    fn of(grant: &str, is_sudo: bool, state: OrderState) -> Held {
        Held { is_sudo, state, ..held(grant) }
    }

    #[rstest]
    #[case::the_only_one(vec![of("a", true, OrderState::Active), of("b", false, OrderState::Active)], None, Ok("a"))]
    #[case::by_name(vec![of("a", true, OrderState::Active), of("b", true, OrderState::Active)], Some("b"), Ok("b"))]
    #[case::several(vec![of("a", true, OrderState::Active), of("b", true, OrderState::Active)], None, Err("say which one: lapse mode a, or lapse mode b"))]
    #[case::nothing(vec![], None, Err("you hold no sudo on Endpoint web-1. Request it, for example with `kubectl jit request --endpoint web-1 --admin --for 1h --reason '…'`, and try again when `lapse status` shows it"))]
    #[case::another(vec![of("a", true, OrderState::Active)], Some("x"), Err("you hold no sudo on Endpoint web-1 by the Grant x: `lapse status` shows what you hold"))]
    #[case::a_group(vec![of("b", false, OrderState::Active)], Some("b"), Err("you hold no sudo on Endpoint web-1 by the Grant b: `lapse status` shows what you hold"))]
    #[case::one_that_ends(vec![of("a", true, OrderState::Ending)], Some("a"), Err("you hold no sudo on Endpoint web-1 by the Grant a: `lapse status` shows what you hold"))]
    fn what_can_be_used_in_it(
        #[case] held: Vec<Held>,
        #[case] grant: Option<&str>,
        #[case] expected: Result<&str, &str>,
    ) {
        let standing = standing_of(held);
        let chosen = choose(&standing, grant).map(|held| held.grant.as_str());
        assert_eq!(chosen.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn sudo_is_requested_for_everything_or_for_commands() {
        let line = |words: &str| {
            let words = std::iter::once("lapse").chain(words.split(' '));
            let command = crate::client::cli::Cli::try_parse_from(words).unwrap().command;
            let crate::client::cli::Command::Mode(mode) = command else {
                panic!("another command")
            };
            wish(&mode)
        };
        assert_eq!(line("mode"), None);
        let reason = Some("x".to_owned());
        let admin = Wish { admin: true, reason: reason.clone(), ..Wish::default() };
        assert_eq!(line("mode --reason x"), Some(admin));
        let commands = Wish { commands: vec!["/bin/id".into()], reason, ..Wish::default() };
        assert_eq!(line("mode --reason x --command /bin/id"), Some(commands));
    }

    #[test]
    fn the_prompt_says_how_long_and_nothing_once_it_is_over() {
        let now = || Ok(standing_of(vec![held("a")]));
        assert_eq!(prompt(now(), Some("a")), "(lapse 58m) ");
        assert_eq!(prompt(now(), Some("b")), "");
        assert_eq!(prompt(now(), None), "");
        assert_eq!(prompt(Err(AskError::Absent), Some("a")), "");
    }
}
