//! Who brings to the gateway what people on this host say, and hears what becomes of it: the end at the connection.

use std::sync::mpsc::SyncSender;

use chrono::{DateTime, Utc};
use lapse_wire::{Ask, Asked, Progress, Withdraw, from_agent};
use tokio::sync::{mpsc, watch};

use super::kept::Kept;
use crate::text::plain;

/// The longest text of a refusal, in characters.
const LONGEST: usize = 1024;
/// The longest name of a namespace.
const LONGEST_NAME: usize = 63;
/// How many answers are awaited. Fewer wait at once: of more, the oldest wait no longer.
const MOST_AWAITED: usize = 16;

/// Whether requests can be brought to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// There is no connection, or nothing was said on it yet.
    #[default]
    Apart,
    /// The gateway takes none.
    Closed,
    /// The gateway carries them to this namespace.
    Open(String),
}

impl Gate {
    /// By what the gateway has said.
    fn of(carries_to: &str) -> Self {
        let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = carries_to.len() <= LONGEST_NAME && carries_to.chars().all(is_inner);
        if carries_to.is_empty() || !is_name {
            Self::Closed
        } else {
            Self::Open(carries_to.to_owned())
        }
    }

    /// The namespace to which requests are carried.
    ///
    /// # Errors
    /// Why they are not, in words.
    pub fn namespace(&self) -> Result<&str, &'static str> {
        match self {
            Self::Open(namespace) => Ok(namespace),
            Self::Apart => Err(APART),
            Self::Closed => Err(CLOSED),
        }
    }
}

const APART: &str =
    "the agent is not connected to the gateway: try again when `lapse status` says that it is";
const CLOSED: &str = "the gateway takes no requests from hosts. Whoever runs Lapse can have it take them \
                      (gateway.requests.enabled of the chart); until then, request with kubectl jit";

/// What becomes of what somebody says; an error is in words.
pub(super) type Reply = Result<(), String>;

/// Something to bring to the gateway.
pub(super) struct Errand {
    /// The request, or its end, as JSON.
    pub(super) json: String,
    /// The name of the request.
    pub(super) name: String,
    pub(super) is_end: bool,
    pub(super) reply: SyncSender<Reply>,
}

/// Who brings it.
pub struct Courier {
    kept: Kept,
    gate: watch::Sender<Gate>,
    errands: mpsc::Receiver<Errand>,
    /// Who waits for an answer, the newest last: by the name of the request, and whether it is its end.
    waiting: Vec<((String, bool), SyncSender<Reply>)>,
}

impl Courier {
    pub(super) fn new(
        kept: Kept,
        gate: watch::Sender<Gate>,
        errands: mpsc::Receiver<Errand>,
    ) -> Self {
        Self { kept, gate, errands, waiting: Vec::new() }
    }

    /// A connection has ended, and what was said on it may be lost.
    pub fn lost(&mut self) {
        self.gate.send_replace(Gate::Apart);
        self.waiting.clear();
        while let Ok(errand) = self.errands.try_recv() {
            turn_back(&errand, APART);
        }
    }

    /// The gateway says where it carries requests; nothing if it carries none.
    pub fn opened(&self, carries_to: &str) {
        self.gate.send_replace(Gate::of(carries_to));
    }

    /// The requests of which it is not known what has become.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.kept.look(super::book::Book::names)
    }

    /// What is to be said next, when there is something and the gateway takes it.
    pub async fn next(&mut self) -> from_agent::Message {
        loop {
            let Some(errand) = self.errands.recv().await else {
                // Nobody is there who could say anything.
                std::future::pending::<()>().await;
                continue;
            };
            let refused = self.gate.borrow().namespace().err();
            if let Some(why) = refused {
                turn_back(&errand, why);
                continue;
            }
            let Errand { json, name, is_end, reply } = errand;
            // A gateway that answers nothing must not fill the memory.
            if self.waiting.len() >= MOST_AWAITED {
                self.waiting.remove(0);
            }
            self.waiting.push(((name, is_end), reply));
            return if is_end {
                from_agent::Message::Withdraw(Withdraw { json })
            } else {
                from_agent::Message::Ask(Ask { json })
            };
        }
    }

    /// Hears what has become of something that was said.
    pub fn hear(&mut self, asked: Asked) {
        let Asked { name, is_withdrawal, error } = asked;
        let of = (name, is_withdrawal);
        let Some(index) = self.waiting.iter().rposition(|(said, _)| *said == of) else { return };
        let (_, reply) = self.waiting.remove(index);
        let outcome = if error.is_empty() { Ok(()) } else { Err(plain(&error, LONGEST)) };
        // Who waits no more sees it in the status.
        let _ = reply.try_send(outcome);
    }

    /// Hears how a request stands.
    pub fn note(&self, progress: &Progress, now: DateTime<Utc>) {
        self.kept.change(|book| book.hear(progress, now));
    }
}

/// It was not said, and never will be.
fn turn_back(errand: &Errand, why: &str) {
    let _ = errand.reply.try_send(Err(why.to_owned()));
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_gateway_that_answers_nothing_fills_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::read(&crate::places::Places::under(folder.path()));
        let (gate, _seen) = watch::channel(Gate::default());
        let (sender, errands) = mpsc::channel(1);
        let mut courier = Courier::new(kept, gate, errands);
        courier.opened("ops");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut last = None;
        for number in 0..100 {
            let (reply, answer) = std::sync::mpsc::sync_channel(1);
            let (name, json) = (number.to_string(), String::new());
            sender.try_send(Errand { json, name, is_end: false, reply }).ok().unwrap();
            runtime.block_on(courier.next());
            last = Some(answer);
        }
        assert_eq!(courier.waiting.len(), MOST_AWAITED);
        // Who waits still is answered.
        let (name, error) = ("99".to_owned(), String::new());
        courier.hear(Asked { name, is_withdrawal: false, error });
        assert_eq!(last.unwrap().try_recv(), Ok(Ok(())));
        assert_eq!(courier.waiting.len(), MOST_AWAITED - 1);
    }

    #[rstest]
    #[case::nothing("", Err(CLOSED))]
    #[case::a_namespace("lapse-hosts-2", Ok("lapse-hosts-2"))]
    #[case::another_path("../kube-system", Err(CLOSED))]
    #[case::too_long(
        "a-name-of-a-namespace-that-has-more-characters-than-sixty-three-and-is-none",
        Err(CLOSED)
    )]
    fn a_gateway_says_where_it_carries_requests(
        #[case] carries_to: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        assert_eq!(Gate::of(carries_to).namespace(), expected);
        assert_eq!(Gate::default().namespace(), Err(APART));
    }
}
