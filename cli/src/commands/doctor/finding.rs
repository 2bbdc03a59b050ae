//! What was found, and what to do about it.

use std::future::Future;

use serde::Serialize;

use crate::fault::Fault;

/// What is looked at, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Check {
    /// The cluster has what Lapse needs.
    Cluster,
    /// Where Lapse is installed, and how.
    Installation,
    /// The kinds of Lapse.
    Definitions,
    /// Whether the programs run, and of which release.
    Deployments,
    /// The admission policies, their bindings and the webhook configurations.
    Admission,
    /// Whether the webhook answers.
    Webhook,
    /// By what the API server trusts the webhook.
    Certificates,
    /// By what the controller trusts what the webhook has signed.
    Keys,
    /// What the programs may do.
    Rights,
    /// Who gives rights.
    Leader,
    /// Whether the clocks agree.
    Clock,
    /// By what hosts are told, and what they are to trust.
    Gateway,
    /// The hosts.
    Endpoints,
    /// The policies.
    Policies,
    /// Whether what is over is gone.
    Ends,
    /// Who holds what never ends.
    Standing,
    /// What the caller may do.
    Access,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Outcome {
    Ok,
    Warning,
    Problem,
    NotChecked,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::NotChecked => "not checked",
        }
    }
}

/// One line of what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) outcome: Outcome,
    pub(super) message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<String>,
}

/// How many of an outcome are named; the others are counted.
pub(super) const NAMED: usize = 20;

/// What was found of objects of which there may be many. A problem is one whether it is named or counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    problems: Vec<Finding>,
    others: Vec<Finding>,
    more_problems: usize,
    more_others: usize,
}

impl Extend<Finding> for Many {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, found: T) {
        for finding in found {
            self.push(finding);
        }
    }
}

impl Many {
    fn push(&mut self, finding: Finding) {
        let (named, more) = match finding.outcome {
            // There are few, and each says what else is not known.
            Outcome::NotChecked => return self.others.push(finding),
            Outcome::Problem => (&mut self.problems, &mut self.more_problems),
            Outcome::Ok | Outcome::Warning => (&mut self.others, &mut self.more_others),
        };
        if named.len() < NAMED { named.push(finding) } else { *more += 1 }
    }

    /// The problems, and then the rest; `more` says of how many there are beside those, and where to see them.
    pub(super) fn named(
        self,
        check: Check,
        more: impl Fn(usize) -> (String, &'static str),
    ) -> Vec<Finding> {
        let Self { problems: mut found, others, more_problems, more_others } = self;
        if more_problems > 0 {
            let (message, action) = more(more_problems);
            found.push(check.problem(message, action));
        }
        found.extend(others);
        if more_others > 0 {
            let (message, action) = more(more_others);
            found.push(check.warning(message, action));
        }
        found
    }
}

/// What was found; an error is what kept it from being looked at.
pub(super) type Examined = Result<Vec<Finding>, Finding>;

/// Findings as tests show them.
#[cfg(test)]
pub(super) fn shown<'a>(found: impl IntoIterator<Item = &'a Finding>) -> String {
    let shown = found.into_iter().map(|Finding { check, outcome, message, action }| {
        let action = action.iter().map(|action| format!("\n  → {action}"));
        format!("{check:?} {}: {message}{}", outcome.word(), action.collect::<String>())
    });
    shown.collect::<Vec<_>>().join("\n")
}

impl Check {
    pub(super) fn ok(self, message: impl Into<String>) -> Finding {
        Finding { check: self, outcome: Outcome::Ok, message: message.into(), action: None }
    }

    pub(super) fn warning(self, message: impl Into<String>, action: impl Into<String>) -> Finding {
        self.finding(Outcome::Warning, message.into(), action.into())
    }

    pub(super) fn problem(self, message: impl Into<String>, action: impl Into<String>) -> Finding {
        self.finding(Outcome::Problem, message.into(), action.into())
    }

    pub(super) fn not_checked(
        self,
        message: impl Into<String>,
        action: impl Into<String>,
    ) -> Finding {
        self.finding(Outcome::NotChecked, message.into(), action.into())
    }

    fn finding(self, outcome: Outcome, message: String, action: String) -> Finding {
        Finding { check: self, outcome, message, action: Some(action) }
    }

    /// Looks something up. `what` completes "you may not": "list Grants"; `right` completes "ask for".
    pub(super) async fn look<T, E: Into<Fault>>(
        self,
        what: &str,
        right: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Finding> {
        call.await.map_err(|error| self.unread(what, right, &error.into()))
    }

    /// The same of what was looked up already, and could not be read.
    pub(super) fn unread(self, what: &str, right: &str, fault: &Fault) -> Finding {
        if fault.is_forbidden() {
            self.not_checked(format!("you may not {what}"), format!("ask for {right}"))
        } else {
            self.problem(
                fault.to_string(),
                "run this again; if it stays so, see the API server's log",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_no_news_of_the_installation() {
        let unanswered = Fault::Unanswered { what: "listing grants".to_owned(), seconds: 30 };
        let found = Check::Ends.unread("list Grants", "ClusterRole lapse:auditor", &unanswered);
        insta::assert_snapshot!(shown([&found]), @r"
        Ends problem: listing grants: no answer within 30 s
          → run this again; if it stays so, see the API server's log
        ");
    }
}
