//! Names that fit what somebody has typed, as they are found, until the time for it is over.

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap_complete::CompletionCandidate;
use kube::ResourceExt as _;
use lapse_crds::AccessRequest;

use crate::output::plain;
use crate::story;

/// How many names are offered: more than anybody reads.
const MOST: usize = 500;
/// How many characters of what a name stands for are shown.
const WIDTH: usize = 80;

/// A name, and what it stands for in a few words.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) about: String,
}

impl Named {
    pub(super) fn only(name: String) -> Self {
        Self { name, about: String::new() }
    }

    pub(super) fn request(request: &AccessRequest) -> Self {
        let about = format!("{}: {}", story::requester(request), story::target(request));
        Self { name: request.name_any(), about }
    }

    pub(super) fn candidate(self) -> CompletionCandidate {
        let about: String = plain(&self.about).chars().take(WIDTH).collect();
        let about = Some(about).filter(|about| !about.is_empty());
        CompletionCandidate::new(self.name).help(about.map(Into::into))
    }
}

/// Lets through the names that fit.
pub(super) struct Fitting {
    begin: String,
    /// Those that are on the command line already.
    typed: Vec<String>,
    room: usize,
    to: Sender<Vec<Named>>,
}

impl Fitting {
    pub(super) fn new(begin: String, typed: Vec<String>, to: Sender<Vec<Named>>) -> Self {
        Self { begin, typed, room: MOST, to }
    }

    pub(super) fn add(&mut self, all: impl Iterator<Item = Named>) {
        let fits = |named: &Named| {
            let Named { name, .. } = named;
            // What steers a terminal is completed by nobody.
            name.starts_with(&self.begin) && !self.typed.contains(name) && plain(name) == *name
        };
        let found: Vec<Named> = all.filter(fits).take(self.room).collect();
        self.room -= found.len();
        // Whoever waited for them may wait no more.
        let _ = self.to.send(found);
    }

    /// Whether enough are found.
    pub(super) fn is_full(&self) -> bool {
        self.room == 0
    }

    /// Whether none that follows this name, in the order of names, fits.
    pub(super) fn is_past(&self, name: &str) -> bool {
        name > self.begin.as_str() && !name.starts_with(&self.begin)
    }
}

/// What is found in time. A thread is left behind that is not done by then, as a program that hands out credentials may hang.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    look: impl FnOnce(Sender<Vec<T>>) + Send + 'static,
) -> Vec<T> {
    let (to, found) = mpsc::channel();
    let end = Instant::now() + limit;
    thread::spawn(move || look(to));
    let mut all = Vec::new();
    while let Ok(more) = found.recv_timeout(end.saturating_duration_since(Instant::now())) {
        all.extend(more);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_completes_is_told_what_was_found_and_does_not_wait_for_what_hangs() {
        let some = within(Duration::from_millis(100), |to| {
            to.send(vec![7]).unwrap();
            thread::park();
            drop(to);
        });
        assert_eq!(some, [7]);
        let all = within(Duration::from_mins(1), |to| {
            for some in [vec![7], vec![], vec![8, 9]] {
                to.send(some).unwrap();
            }
        });
        assert_eq!(all, [7, 8, 9]);
        assert_eq!(within(Duration::from_mins(1), |_: Sender<Vec<u8>>| {}), [0; 0]);
    }

    #[test]
    fn names_are_in_order_and_end_with_the_last_that_can_fit() {
        let (to, _found) = mpsc::channel();
        let fitting = Fitting::new("fix".to_owned(), Vec::new(), to);
        assert!(["edit", "fiw-9", "fix", "fix-9"].into_iter().all(|name| !fitting.is_past(name)));
        assert!(["fiy", "fj", "view"].into_iter().all(|name| fitting.is_past(name)));
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        let named =
            Named { name: "fix".to_owned(), about: format!("a\nb\u{1b}{}", "x".repeat(99)) };
        let candidate = named.candidate();
        let about = candidate.get_help().unwrap().to_string();
        assert!(about.starts_with("a b\u{fffd}x") && about.chars().count() == WIDTH, "{about}");
    }
}
