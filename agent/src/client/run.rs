//! `lapse run`: an application, which the agent starts. The program reads and writes what this one does, and nothing of that
//! goes through the agent; it has no controlling terminal, so that Ctrl-C comes here, and is passed on as a wish for its end.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use lapse_crds::OrderState;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::ask::{AskError, Standing, connect, patiently, standing};
use super::request::Why;
use super::status::left;
use super::wait::obtain;
use crate::application::handed::send;
use crate::local::protocol::{self, Answer, Exited, Message, Request};
use crate::places::Places;
use crate::requests::wish::Wish;

/// How long the agent may take until it has started something.
const STARTING: Duration = Duration::from_secs(30);
/// How long it may take to say what is held.
const LISTING: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// The application, as `lapse run --list` names it. Its arguments and its environment were approved with it.
    #[arg(value_name = "NAME", required_unless_present = "list")]
    pub name: Option<String>,
    /// Show which applications you hold, and what they run.
    #[arg(long, conflicts_with_all = ["name", "reason"])]
    pub list: bool,
    /// To request it if it is not held, and wait for it.
    #[command(flatten)]
    pub why: Why,
}

/// Runs it; ends as it does.
///
/// # Errors
/// If it is not run, or nobody can say how it ended.
pub fn run(places: &Places, options: &Run) -> anyhow::Result<ExitCode> {
    let Some(name) = &options.name else {
        print!("{}", table(&standing(places, LISTING)?));
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(wish) = options.why.wish() {
        let wish = Wish { application: Some(name.clone()), ..wish };
        if !holds(&standing(places, LISTING)?, name) {
            obtain(places, &wish, options.why.timeout)?;
        }
    }
    let before = tcgetattr(io::stdin()).ok();
    let ended = start(places, name).with_context(|| format!("running {name}"));
    restore(before.as_ref());
    let Ended { code, message } = ended?;
    if !message.is_empty() {
        eprintln!("Lapse: {message}.");
    }
    Ok(ExitCode::from(code))
}

/// Whether somebody may run it now.
fn holds(standing: &Standing, name: &str) -> bool {
    let held = standing.held.iter().filter(|held| held.state == OrderState::Active);
    held.filter_map(|held| held.application.as_ref()).any(|application| application.name == name)
}

/// A program that was killed has left the terminal as it wanted it.
fn restore(before: Option<&Termios>) {
    if let Some(before) = before {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
    }
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    code: u8,
    message: String,
}

fn start(places: &Places, name: &str) -> Result<Ended, AskError> {
    patiently(|| start_once(places, name))
}

fn start_once(places: &Places, name: &str) -> Result<Ended, AskError> {
    let stream = connect(places)?;
    stream.set_write_timeout(Some(STARTING))?;
    stream.set_read_timeout(Some(STARTING))?;
    let request = Request::Run(protocol::Run { application: name.to_owned() });
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let handed = [input.as_fd(), output.as_fd(), error.as_fd()];
    // Who is turned away before they have said anything is told why.
    let said = send(&stream, request.line()?.as_bytes(), handed);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listening = stream.try_clone()?;
    let ended: Result<Ended, AskError> = runtime.block_on(async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut listening = tokio::task::spawn_blocking(move || listen(&listening));
        // The first asks the agent for its end, and waits for that; the second waits no more.
        for how in [Shutdown::Write, Shutdown::Both] {
            let code = tokio::select! {
                ended = &mut listening => return ended.map_err(io::Error::other)?,
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hang_up.recv() => 129,
            };
            let _ = stream.shutdown(how);
            if how == Shutdown::Both {
                return Ok(Ended { code, message: UNWAITED.to_owned() });
            }
        }
        Err(AskError::Cut)
    });
    match ended {
        Err(AskError::Cut) => said.map_err(AskError::Io).and(Err(AskError::Cut)),
        ended => ended,
    }
}

/// What is said to who waits no more.
const UNWAITED: &str = "it is being ended, and that is not waited for";

/// Hears how it ended.
fn listen(stream: &UnixStream) -> Result<Ended, AskError> {
    let (mut is_started, mut code) = (false, None);
    for line in BufReader::new(stream).lines() {
        let line = match line {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            line => line?,
        };
        match serde_json::from_str(&line)? {
            // It runs for as long as it does.
            Answer::Started(_) => {
                is_started = true;
                stream.set_read_timeout(None)?;
            }
            Answer::Exited(Exited { code: exited }) => code = Some(exited),
            Answer::Refused(Message { message }) => return Err(AskError::Refused(message)),
            Answer::Busy(Message { message }) => return Err(AskError::Busy(message)),
            Answer::Done(Message { message }) => {
                return code.map(|code| Ended { code, message }).ok_or(AskError::Cut);
            }
            Answer::Agent(_) | Answer::Held(_) | Answer::Requested(_) | Answer::Origin(_) => {}
        }
    }
    Err(if is_started { AskError::Gone } else { AskError::Cut })
}

/// The applications that somebody holds.
fn table(Standing { agent, held, .. }: &Standing) -> String {
    let all: Vec<_> =
        held.iter().filter_map(|held| Some((held, held.application.as_ref()?))).collect();
    let endpoint = &agent.endpoint;
    if all.is_empty() {
        return format!(
            "You hold no application on Endpoint {endpoint}. Request one, for example with `kubectl jit request --endpoint \
             {endpoint} --application NAME --for 30m --reason '…'`; `kubectl jit policies` shows which there are.\n"
        );
    }
    let width = all.iter().map(|(_, application)| application.name.len()).max().unwrap_or(0).max(4);
    let mut text = format!("{:<width$}  {:<7}  RUNS\n", "NAME", "LEFT");
    for (held, application) in all {
        let left = left(held.seconds_left);
        // What cannot be written to memory is written nowhere.
        let _ = writeln!(text, "{:<width$}  {left:<7}  {}", application.name, application.runs);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::net::UnixListener;

    use rstest::rstest;

    use super::*;
    use crate::application::handed::{check, receive};
    use crate::client::status::tests::{held, standing_of};
    use crate::local::protocol::{Application, Held};

    /// What comes of an agent that answers this.
    fn answered(said: &'static str) -> Result<Ended, AskError> {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir_all(places.memory()).unwrap();
        let listener = UnixListener::bind(places.socket()).unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut buffer, mut handed) = ([0; 1024], vec![]);
            let count = receive(&stream, &mut buffer, &mut handed).unwrap();
            let line = "{\"application\":\"dump\",\"command\":\"run\",\"version\":1}\n";
            assert_eq!(&buffer[..count], line.as_bytes());
            let kinds = handed.len();
            assert!(kinds == 3, "{kinds}: {:?}", check(handed));
            stream.write_all(said.as_bytes()).unwrap();
        });
        let ended = start(&places, "dump");
        serving.join().unwrap();
        ended
    }

    #[rstest]
    #[case::by_itself("{\"answer\":\"started\"}\n{\"answer\":\"exited\",\"code\":3}\n{\"answer\":\"done\"}\n", Ok((3, "")))]
    #[case::with_the_access("{\"answer\":\"started\"}\n{\"answer\":\"exited\",\"code\":137}\n{\"answer\":\"done\",\"message\":\"your access has ended, and what you ran by it with it\"}\n", Ok((137, "your access has ended, and what you ran by it with it")))]
    #[case::not_at_all("{\"answer\":\"refused\",\"message\":\"no\"}\n", Err("no"))]
    #[case::cut("", Err("the agent's answer is not whole: try again"))]
    #[case::without_the_agent(
        "{\"answer\":\"started\"}\n",
        Err(
            "the agent has gone meanwhile (systemctl status lapse-agent): what it started goes on, until your access ends at the latest"
        )
    )]
    #[case::nobody_knows_how(
        "{\"answer\":\"started\"}\n{\"answer\":\"refused\",\"message\":\"the agent cannot tell how it has ended\"}\n",
        Err("the agent cannot tell how it has ended")
    )]
    fn it_ends_as_the_program_does(
        #[case] said: &'static str,
        #[case] expected: Result<(u8, &str), &str>,
    ) {
        match (answered(said), expected) {
            (Ok(Ended { code, message }), Ok(expected)) => {
                assert_eq!((code, message.as_str()), expected);
            }
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn without_an_agent_nothing_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let mut options = Run { name: Some("dump".into()), list: false, why: Why::default() };
        let error = run(&places, &options).unwrap_err();
        let said = "running dump: the agent of this host does not run (systemctl status lapse-agent): access ends on time all the \
                    same";
        assert_eq!(format!("{error:#}"), said);
        options.why.reason = Some("x".into());
        let error = run(&places, &options).unwrap_err();
        assert_eq!(format!("running dump: {error:#}"), said);
    }

    #[test]
    fn what_is_held_is_not_requested_again() {
        let application = Some(Application { name: "dump".into(), runs: "/usr/bin/dump".into() });
        let of = |state| {
            let application = application.clone();
            standing_of(vec![Held { application, state, ..held("g") }])
        };
        assert!(holds(&of(OrderState::Active), "dump"));
        assert!(!holds(&of(OrderState::Active), "other"));
        assert!(!holds(&of(OrderState::Ending), "dump"));
    }

    #[test]
    fn what_can_be_run_is_listed() {
        let application = |name: &str, runs: &str| {
            let application = Application { name: name.into(), runs: runs.into() };
            Held { application: Some(application), is_sudo: false, ..held("g") }
        };
        let all = vec![
            held("a"),
            application("restart-web", "/usr/bin/systemctl restart nginx"),
            application("dump", "LEVEL=0 /usr/bin/dump"),
        ];
        let mut said = table(&standing_of(all));
        said.push_str(&table(&standing_of(vec![held("a")])));
        insta::assert_snapshot!(said, @r"
        NAME         LEFT     RUNS
        restart-web  58m29s   /usr/bin/systemctl restart nginx
        dump         58m29s   LEVEL=0 /usr/bin/dump
        You hold no application on Endpoint web-1. Request one, for example with `kubectl jit request --endpoint web-1 --application NAME --for 30m --reason '…'`; `kubectl jit policies` shows which there are.
        ");
    }
}
