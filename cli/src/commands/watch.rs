//! Requests as they change.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use anstream::{eprint, eprintln};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use lapse_cluster::clock::now;
use lapse_crds::AccessRequest;

use super::{found, list};
use crate::args::{Filter, Format};
use crate::fault::Fault;
use crate::follow::{TICK, passing};
use crate::foreign;
use crate::output::{phase_of, say};
use crate::session::Session;
use crate::story;

/// Clears the screen, and puts the cursor at its beginning.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// By namespace and name.
type Known = BTreeMap<(Option<String>, String), AccessRequest>;

/// The requests that a filter lets through, as far as they were seen.
struct Board<'a> {
    session: &'a Session,
    filter: Filter,
    is_wide: bool,
    known: Known,
    /// What a list has shown that is not at its end.
    listed: Option<Vec<AccessRequest>>,
}

/// Shows requests until Ctrl-C: on a terminal as a table whose times run, elsewhere a line for each change.
pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    filter: Filter,
) -> Result<(), Fault> {
    let fields = found::fields(session, filter).await?;
    let config = watcher::Config::default();
    let config = if fields.is_empty() { config } else { config.fields(&fields) };
    let api = session.stored_requests_in(filter.all_namespaces);
    let events = watcher(api, config).default_backoff();
    let mut events = std::pin::pin!(events);
    let is_terminal = std::io::stdout().is_terminal();
    let is_wide = format == Some(Format::Wide);
    let mut board = Board { session, filter, is_wide, known: Known::new(), listed: None };
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = tick.tick(), if is_terminal => board.draw()?,
            event = events.next() => match event {
                Some(Ok(event)) => match foreign::event(event) {
                    Ok(event) => for line in board.note(event).await? {
                        if !is_terminal {
                            say(&line)?;
                        }
                    },
                    Err(unread) => eprintln!("{unread}"),
                },
                Some(Err(error)) => {
                    eprintln!("{}; trying again", passing(session, "watching requests", error)?);
                }
                None => return Ok(()),
            },
        }
    }
}

impl Board<'_> {
    fn draw(&self) -> Result<(), Fault> {
        let mut requests: Vec<AccessRequest> = self.known.values().cloned().collect();
        found::sort(&mut requests);
        let table = list::table(&requests, self.filter.all_namespaces, self.is_wide, now());
        eprint!("{CLEAR}");
        table.print()
    }

    /// Takes note of an event, and returns what it says that is news.
    async fn note(&mut self, event: Event<AccessRequest>) -> Result<Vec<String>, Fault> {
        match event {
            Event::Init => {
                self.listed = Some(Vec::new());
                Ok(Vec::new())
            }
            Event::InitApply(request) => {
                self.listed.get_or_insert_default().push(request);
                Ok(Vec::new())
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let before = std::mem::take(&mut self.known);
                self.add(listed, &before).await
            }
            Event::Apply(request) => {
                let key = (request.namespace(), request.name_any());
                let before =
                    self.known.remove(&key).map(|before| (key, before)).into_iter().collect();
                self.add(vec![request], &before).await
            }
            Event::Delete(request) => {
                let was_shown =
                    self.known.remove(&(request.namespace(), request.name_any())).is_some();
                let is_told = was_shown && !phase_of(&request).is_terminal();
                Ok(is_told
                    .then(|| format!("{}: deleted", request.name_any()))
                    .into_iter()
                    .collect())
            }
        }
    }

    /// Adds those that the filter lets through, and returns what is news of them.
    async fn add(
        &mut self,
        mut requests: Vec<AccessRequest>,
        before: &Known,
    ) -> Result<Vec<String>, Fault> {
        if self.filter.to_review {
            requests.retain(found::awaits_review);
        }
        if self.filter.to_approve {
            requests = found::approvable(self.session, requests).await?;
        }
        let mut news = Vec::new();
        for request in requests {
            let key = (request.namespace(), request.name_any());
            let line = story::line(&request, now());
            if before.get(&key).is_none_or(|before| story::line(before, now()) != line) {
                news.push(line);
            }
            self.known.insert(key, request);
        }
        Ok(news)
    }
}
