//! One question to the agent, and its answer.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::local::protocol::{Agent, Answer, Held, Message, Request};
use crate::places::Places;
use crate::requests::book::Requested;
use crate::requests::wish::Wish;

/// How long the agent may take to answer. An end takes its time.
const ANSWERING: Duration = Duration::from_secs(30);
/// How long for what is asked again and again.
pub const BRIEF: Duration = Duration::from_secs(1);
/// How long a place is waited for. What the same person asked just before keeps one for a moment, so a script that asks often
/// meets that.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause before it is asked for again.
const PAUSE: Duration = Duration::from_millis(40);
/// How much of an answer is read, in bytes.
const MOST: u64 = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "the agent of this host does not run (systemctl status lapse-agent): access ends on time all the same"
    )]
    Absent,
    /// The connection fails.
    #[error("talking to the agent: {0}")]
    Io(#[from] io::Error),
    /// It says something else.
    #[error(
        "the agent says what this program does not know ({0}): they are of two releases; restart the agent (systemctl \
         restart lapse-agent)"
    )]
    Unknown(#[from] serde_json::Error),
    /// It ends in the middle.
    #[error("the agent's answer is not whole: try again")]
    Cut,
    /// It ends while something runs.
    #[error(
        "the agent has gone meanwhile (systemctl status lapse-agent): what it started goes on, until your access ends at the \
         latest"
    )]
    Gone,
    /// The agent does not do it.
    #[error("{0}")]
    Refused(String),
    /// The agent has no place for it now.
    #[error("{0}")]
    Busy(String),
}

/// What somebody holds and has requested on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// How the agent stands.
    pub agent: Agent,
    /// What they hold.
    pub held: Vec<Held>,
    /// What they have requested there, and do not hold.
    pub requested: Vec<Requested>,
}

/// Asks what somebody holds, and waits for at most this time.
///
/// # Errors
/// If the agent does not say.
pub fn standing(places: &Places, within: Duration) -> Result<Standing, AskError> {
    let (mut agent, mut held, mut requested) = (None, Vec::new(), Vec::new());
    for answer in ask(places, &Request::Status, within)? {
        match answer {
            Answer::Agent(said) => agent = Some(said),
            Answer::Held(one) => held.push(*one),
            Answer::Requested(one) => requested.push(*one),
            Answer::Origin(_)
            | Answer::Started(_)
            | Answer::Exited(_)
            | Answer::Done(_)
            | Answer::Refused(_)
            | Answer::Busy(_) => {}
        }
    }
    Ok(Standing { agent: agent.ok_or(AskError::Cut)?, held, requested })
}

/// Requests something.
///
/// # Errors
/// If it is not requested.
pub fn request(places: &Places, wish: &Wish) -> Result<Requested, AskError> {
    let answers = ask(places, &Request::Ask(wish.clone()), ANSWERING)?;
    let requested = answers.into_iter().find_map(|answer| match answer {
        Answer::Requested(requested) => Some(*requested),
        _ => None,
    });
    requested.ok_or(AskError::Cut)
}

/// Asks for something to be done; what the agent says of it.
///
/// # Errors
/// If it is not done.
pub fn have_done(places: &Places, request: &Request) -> Result<String, AskError> {
    let answers = ask(places, request, ANSWERING)?;
    let done = answers.into_iter().find_map(|answer| match answer {
        Answer::Done(Message { message }) => Some(message),
        _ => None,
    });
    done.ok_or(AskError::Cut)
}

/// Connects to the agent.
///
/// # Errors
/// If nobody listens.
pub(super) fn connect(places: &Places) -> Result<UnixStream, AskError> {
    UnixStream::connect(places.socket()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Absent,
        _ => AskError::Io(error),
    })
}

/// Asks until there is a place, for a while.
pub(super) fn patiently<T>(ask: impl Fn() -> Result<T, AskError>) -> Result<T, AskError> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(AskError::Busy(_)) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            answered => return answered,
        }
    }
}

/// The answers to a request. The last of them is that it is done.
fn ask(places: &Places, request: &Request, within: Duration) -> Result<Vec<Answer>, AskError> {
    patiently(|| ask_once(places, request, within))
}

fn ask_once(places: &Places, request: &Request, within: Duration) -> Result<Vec<Answer>, AskError> {
    let stream = connect(places)?;
    stream.set_write_timeout(Some(within))?;
    stream.set_read_timeout(Some(within))?;
    // Who is turned away before they have said anything is told why.
    let said = (&stream).write_all(request.line()?.as_bytes());
    let mut answers = Vec::new();
    for line in BufReader::new((&stream).take(MOST)).lines() {
        match line {
            Ok(line) => answers.push(serde_json::from_str(&line)?),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error.into()),
        }
    }
    match answers.last() {
        Some(Answer::Refused(Message { message })) => Err(AskError::Refused(message.clone())),
        Some(Answer::Busy(Message { message })) => Err(AskError::Busy(message.clone())),
        Some(Answer::Done(_)) => Ok(answers),
        Some(_) => Err(AskError::Cut),
        None => {
            said?;
            Err(AskError::Cut)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use rstest::rstest;

    use super::*;

    /// What comes of an agent that answers this.
    fn answered(said: &'static str) -> Result<Standing, AskError> {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir_all(places.memory()).unwrap();
        let listener = UnixListener::bind(places.socket()).unwrap();
        let serving = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            assert_eq!(line, "{\"command\":\"status\",\"version\":1}\n");
            (&stream).write_all(said.as_bytes()).unwrap();
        });
        let standing = standing(&places, Duration::from_secs(20));
        serving.join().unwrap();
        standing
    }

    const AGENT: &str = r#"{"answer":"agent","version":1,"endpoint":"web-1","later":true}"#;

    #[test]
    fn what_is_held_is_read() {
        let standing = answered(
            r#"{"answer":"agent","version":1,"endpoint":"web-1"}
{"answer":"held","grant":"g","user":"al","what":"sudo","isSudo":true,"state":"Active","since":"2024-10-04T00:00:00Z","startsAt":"2024-10-04T00:00:00Z","expiresAt":"2024-10-04T01:00:00Z","secondsLeft":90}
{"answer":"requested","name":"web-1-al-0","namespace":"ops","user":"al","what":"sudo","since":"2024-10-04T00:00:00Z"}
{"answer":"done"}
"#,
        );
        let Standing { agent, held, requested } = standing.unwrap();
        assert_eq!((agent.endpoint.as_str(), held[0].seconds_left), ("web-1", 90));
        assert_eq!(
            (requested[0].full_name().as_str(), requested[0].phase),
            ("ops/web-1-al-0", None)
        );
    }

    #[rstest]
    #[case::refused(
        "{\"answer\":\"refused\",\"message\":\"the agent is busy with other people: try again\"}\n",
        "the agent is busy with other people: try again"
    )]
    #[case::nothing("", "the agent's answer is not whole: try again")]
    #[case::cut(AGENT, "the agent's answer is not whole: try again")]
    #[case::newer(
        "{\"answer\":\"else\"}\n",
        "the agent says what this program does not know (unknown variant `else`, expected one of `agent`, `held`, `requested`, `origin`, `started`, `exited`, `done`, `refused`, `busy` at line 1 column 16): they are of two releases; restart the agent (systemctl restart lapse-agent)"
    )]
    fn what_is_no_answer_is_said(#[case] said: &'static str, #[case] expected: &str) {
        assert_eq!(answered(said).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_place_is_waited_for() {
        let asked = std::cell::Cell::new(0);
        let busy = || {
            asked.set(asked.get() + 1);
            if asked.get() < 3 { Err(AskError::Busy("busy".into())) } else { Ok(7) }
        };
        assert_eq!(patiently(busy).unwrap(), 7);
        let began = Instant::now();
        let error = patiently(|| Err::<(), _>(AskError::Busy("busy".into()))).unwrap_err();
        assert_eq!(error.to_string(), "busy");
        assert!(began.elapsed() >= PATIENCE);
        let refused = patiently(|| Err::<(), _>(AskError::Refused("no".into()))).unwrap_err();
        assert_eq!(refused.to_string(), "no");
    }

    #[test]
    fn without_an_agent_it_is_said_what_that_means() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir_all(places.memory()).unwrap();
        let said = "the agent of this host does not run (systemctl status lapse-agent): access ends on time all the same";
        assert_eq!(standing(&places, BRIEF).unwrap_err().to_string(), said);
        drop(UnixListener::bind(places.socket()).unwrap());
        assert_eq!(standing(&places, BRIEF).unwrap_err().to_string(), said);
    }
}
