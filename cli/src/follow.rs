//! Waiting for what becomes of a request.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use kube::ResourceExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use lapse_cluster::clock::now;
use lapse_crds::{AccessRequest, GrantDuration, RequestPhase};

use crate::fault::Fault;
use crate::foreign;
use crate::interrupt::Interrupts;
use crate::output::phase_of;
use crate::session::Session;
use crate::{stderr, story};

/// How often a countdown on a terminal moves.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Tells a person how far it is, on standard error: each news on a line of its own, and on a terminal what is being
/// waited for on a line that moves.
pub(crate) struct Teller {
    bar: Option<ProgressBar>,
    last: String,
}

impl Teller {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                    .unwrap_or(ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(TICK / 8);
            bar
        });
        Self { bar, last: String::new() }
    }

    /// Tells where a request stands, if that is news.
    pub(crate) fn stands(&mut self, request: &AccessRequest) {
        self.tell(&story::line(request, now()));
        if let Some(bar) = &self.bar {
            bar.set_message(phase_of(request).to_string());
        }
    }

    /// Tells something, if it is news.
    fn tell(&mut self, line: &str) {
        if line != self.last {
            match &self.bar {
                Some(bar) => bar.println(line),
                None => stderr::tell(&line),
            }
            line.clone_into(&mut self.last);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is seen of a request.
enum Seen {
    Request(Box<AccessRequest>),
    /// It cannot be seen for now.
    Trouble(String),
}

/// A request as it changes; an error ends it, and so does its deletion.
fn changes(
    session: &Session,
    request: &AccessRequest,
) -> impl Stream<Item = Result<Seen, Fault>> + use<> {
    let name = request.name_any();
    let uid = request.uid();
    let what = format!("watching request {name}");
    let told = session.clone();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut seen = false;
    let events = watcher(session.stored_requests_in(false), config).default_backoff();
    events.filter_map(move |event| {
        let gone = || Fault::NoAccess(format!("request {name} was deleted"));
        let event = match event.map(foreign::event) {
            Ok(Ok(event)) => Ok(event),
            // It is there, and may be readable again when it changes.
            Ok(Err(unread)) => {
                seen = true;
                return std::future::ready(Some(Ok(Seen::Trouble(unread))));
            }
            Err(error) => Err(error),
        };
        let item = match event {
            Ok(Event::Apply(request) | Event::InitApply(request)) => {
                seen = true;
                let is_it = request.uid() == uid;
                Some(if is_it { Ok(Seen::Request(Box::new(request))) } else { Err(gone()) })
            }
            Ok(Event::Init) => {
                seen = false;
                None
            }
            Ok(Event::InitDone) if seen => None,
            Ok(Event::InitDone | Event::Delete(_)) => Some(Err(gone())),
            Err(error) => Some(match passing(&told, &what, error) {
                Ok(trouble) => Ok(Seen::Trouble(trouble)),
                Err(fault) => Err(fault),
            }),
        };
        std::future::ready(item)
    })
}

/// An error of a watch that may pass by itself, in words. Whoever may not watch now may not in a moment either.
pub(crate) fn passing(
    session: &Session,
    what: &str,
    error: watcher::Error,
) -> Result<String, Fault> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => {
            let lasts = matches!(&error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404));
            let fault = session.fault(what, error);
            if lasts { Err(fault) } else { Ok(fault.to_string()) }
        }
        other => Ok(format!("{what}: {other}")),
    }
}

/// Waits until the access of a request stands. It is an error if it never will, or not in time; `left` says then what becomes of
/// the request as it was seen last.
pub(crate) async fn until_active(
    session: &Session,
    request: &AccessRequest,
    timeout: Option<GrantDuration>,
    interrupts: &mut Interrupts,
    left: impl Fn(&AccessRequest) -> String,
) -> Result<AccessRequest, Fault> {
    let mut teller = Teller::new();
    let last = RefCell::new(request.clone());
    let waiting = async {
        let mut changes = std::pin::pin!(changes(session, request));
        while let Some(seen) = changes.next().await {
            let request = match seen? {
                Seen::Request(request) => *request,
                Seen::Trouble(trouble) => {
                    teller.tell(&format!("{trouble}; trying again"));
                    continue;
                }
            };
            teller.stands(&request);
            match phase_of(&request) {
                RequestPhase::Active => return Ok(request),
                RequestPhase::Pending | RequestPhase::Scheduled => drop(last.replace(request)),
                _ => return Err(Fault::NoAccess(story::line(&request, now()))),
            }
        }
        Err(Fault::Other("the watch ended".to_owned()))
    };
    let limit = async {
        match timeout {
            Some(timeout) => {
                tokio::time::sleep(Duration::from_secs(timeout.seconds().into())).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = waiting => outcome,
        () = limit => Err(Fault::TimedOut(format!("no access yet{}", left(&last.borrow())))),
        interrupt = interrupts.next() => Err(Fault::Interrupted {
            by: interrupt,
            told: format!("interrupted{}", left(&last.borrow())),
        }),
    }
}

/// That a request is left as it stands when nobody waits for it any more.
pub(crate) fn stays(request: &AccessRequest, now: DateTime<Utc>) -> String {
    let name = request.name_any();
    let stands = match phase_of(request) {
        RequestPhase::Scheduled => {
            format!("is approved, and starts {}", story::time_left(request, now))
        }
        _ => "still waits".to_owned(),
    };
    format!(
        "; request {name} {stands}: `kubectl jit status {name}` shows it, `kubectl jit end {name}` withdraws it"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing;

    #[test]
    fn what_is_left_of_a_request_is_told_as_it_stands() {
        let told = |status: Value| {
            let mut request = testing::request("fix", &json!({}));
            request["status"] = status;
            stays(&serde_json::from_value(request).unwrap(), DateTime::UNIX_EPOCH)
        };
        let all = [
            told(json!({"phase": "Pending"})),
            told(json!({"phase": "Scheduled", "startsAt": "1970-01-01T02:00:00.000000Z"})),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        ; request fix still waits: `kubectl jit status fix` shows it, `kubectl jit end fix` withdraws it
        ; request fix is approved, and starts in 2h: `kubectl jit status fix` shows it, `kubectl jit end fix` withdraws it
        ");
    }
}
