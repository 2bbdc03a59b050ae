//! What one list of rules allows and another does not.

mod axis;
#[cfg(test)]
mod tests;

use std::fmt;

use k8s_openapi::api::rbac::v1::PolicyRule;

use self::axis::{Axis, Budget, Exhausted, Index, RuleSet};
use super::{Right, groups, names, resources, urls};

/// How much may be looked at in one comparison, in machine words: some milliseconds and at most 32
/// MiB. Two real roles need some thousand; only rules that were written to be slow come near.
const BUDGET: u64 = 4_000_000;

/// How many of the gained rights are named; the others are counted.
const LISTED: usize = 3;

/// Why rules are not covered by others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncovered {
    /// This right is the first that is missing, in the order of the rules.
    #[error("{0} is not among what is allowed")]
    Missing(Right),
    /// The rules are too large to be compared. They may be covered; nothing is allowed on a guess.
    #[error("the rules are too large to be compared; write fewer, or with fewer values each")]
    TooLarge,
}

/// The rights that a role has gained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gained {
    /// The first few of them, in the order of the rules.
    pub listed: Vec<Right>,
    /// How many single rights there are, each counted once. A wildcard is one.
    pub total: u64,
    /// True if the rules are too large to be compared to the end: there may be more.
    pub cut_short: bool,
}

impl Gained {
    /// Whether the role has surely gained nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0 && !self.cut_short
    }
}

impl fmt::Display for Gained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.listed.iter().map(ToString::to_string).collect();
        let more = self.total.saturating_sub(self.listed.len() as u64);
        if more > 0 {
            parts.push(format!("{more} more"));
        }
        if self.cut_short {
            let what = if parts.is_empty() { "something" } else { "others" };
            parts.push(format!("perhaps {what}: the rules are too large to be compared"));
        }
        match parts.split_last() {
            None => f.write_str("nothing"),
            Some((last, [])) => f.write_str(last),
            Some((last, first)) => write!(f, "{} and {last}", first.join(", ")),
        }
    }
}

/// Whether everything that `asked` allows is allowed by `owner`, as Kubernetes' own check against
/// escalation has it: each single right must be allowed by one rule of the owner.
///
/// The cost grows with the sum of the lists, and with the product of the *different* sets of owner
/// rules that the values of one asked rule are found in, which is small unless it is made to be
/// large; beyond a fixed bound the answer is [`Uncovered::TooLarge`].
pub fn covers(owner: &[PolicyRule], asked: &[PolicyRule]) -> Result<(), Uncovered> {
    let Gained { listed, cut_short, .. } = missing(owner, asked, 1, true, BUDGET);
    match listed.into_iter().next() {
        Some(right) => Err(Uncovered::Missing(right)),
        None if cut_short => Err(Uncovered::TooLarge),
        None => Ok(()),
    }
}

/// The rights that `after` has and `before` has not. Empty exactly when `before` covers `after`;
/// the cost is that of [`covers`].
#[must_use]
pub fn gained(before: &[PolicyRule], after: &[PolicyRule]) -> Gained {
    missing(before, after, LISTED, false, BUDGET)
}

fn missing(
    owner: &[PolicyRule],
    asked: &[PolicyRule],
    listed: usize,
    first_only: bool,
    budget: u64,
) -> Gained {
    // A right that an earlier asked rule allows was judged there: for each asked rule, those before
    // it count as the owner's, so that nothing is reported twice.
    let rules: Vec<&PolicyRule> = owner.iter().chain(asked).collect();
    let index = Index::of(&rules);
    let mut search = Search {
        budget: Budget::new(budget),
        found: Gained::default(),
        listed,
        first_only,
        url: false,
    };
    for (position, rule) in asked.iter().enumerate() {
        let known = owner.len() + position;
        if search.compare(&index, known, rule).is_err() {
            search.found.cut_short = true;
            break;
        }
        if search.is_done() {
            break;
        }
    }
    search.found
}

struct Search {
    budget: Budget,
    found: Gained,
    listed: usize,
    first_only: bool,
    /// Whether the points are verbs on URLs rather than on resources.
    url: bool,
}

impl Search {
    fn is_done(&self) -> bool {
        self.first_only && self.found.total > 0
    }

    /// Compares one rule with the first `known` rules of the index.
    fn compare(
        &mut self,
        index: &Index<'_>,
        known: usize,
        rule: &PolicyRule,
    ) -> Result<(), Exhausted> {
        let budget = &mut self.budget;
        let verbs = index.verbs(&rule.verbs, known, budget)?;
        let of_resources = [
            index.groups(groups(rule), known, budget)?,
            index.resources(resources(rule), known, budget)?,
            verbs.clone(),
            index.names(names(rule), known, budget)?,
        ];
        // Names do not limit URLs, so only a rule without names can allow one.
        let of_urls =
            [index.urls(urls(rule), known, budget)?, verbs, index.names(&[], known, budget)?];
        self.url = false;
        self.descend(&of_resources, &RuleSet::first(known), &mut Vec::new())?;
        self.url = true;
        self.descend(&of_urls, &RuleSet::first(known), &mut Vec::new())
    }

    /// Takes one axis after the other and keeps the rules that allow what was taken so far.
    fn descend<'a>(
        &mut self,
        remaining: &'a [Axis<'a>],
        allowed_by: &RuleSet,
        taken: &mut Vec<&'a [Option<&'a str>]>,
    ) -> Result<(), Exhausted> {
        self.budget.spend(allowed_by.words())?;
        if self.is_done() || remaining.iter().any(Axis::is_empty) {
            return Ok(());
        }
        if allowed_by.is_empty() {
            self.report(taken, remaining);
            return Ok(());
        }
        let Some((axis, rest)) = remaining.split_first() else {
            return Ok(());
        };
        // One rule that allows all that remains settles it; most comparisons end here.
        let settled =
            remaining.iter().fold(allowed_by.clone(), |rules, axis| rules.and(axis.by_all()));
        if !settled.is_empty() {
            return Ok(());
        }
        for class in axis.classes() {
            taken.push(&class.values);
            let below = self.descend(rest, &allowed_by.and(&class.allowed_by), taken);
            taken.pop();
            below?;
        }
        Ok(())
    }

    /// Notes a block of rights that no rule allows: the product of what was taken and of what
    /// remains.
    fn report(&mut self, taken: &[&[Option<&str>]], rest: &[Axis<'_>]) {
        let mut block: Vec<Vec<Option<&str>>> =
            taken.iter().map(|values| values.to_vec()).collect();
        block.extend(rest.iter().map(Axis::values));
        let size = block.iter().fold(1u64, |size, side| size.saturating_mul(side.len() as u64));
        self.found.total = self.found.total.saturating_add(size);
        let room = self.listed.saturating_sub(self.found.listed.len());
        for number in 0..size.min(room as u64) {
            self.found.listed.push(right(self.url, &point(&block, number)));
        }
    }
}

/// A point of a block by its number, the last side turning fastest.
fn point<'a>(block: &[Vec<Option<&'a str>>], number: u64) -> Vec<Option<&'a str>> {
    let mut number = number;
    let mut point: Vec<Option<&str>> = block
        .iter()
        .rev()
        .map(|side| {
            let length = side.len() as u64;
            let at = usize::try_from(number % length).unwrap_or(0);
            number /= length;
            side.get(at).copied().flatten()
        })
        .collect();
    point.reverse();
    point
}

fn right(url: bool, point: &[Option<&str>]) -> Right {
    let part = |at: usize| point.get(at).copied().flatten().map(ToOwned::to_owned);
    let text = |at: usize| part(at).unwrap_or_default();
    if url {
        Right::Url { path: text(0), verb: text(1) }
    } else {
        Right::Resource { group: text(0), resource: text(1), verb: text(2), name: part(3) }
    }
}
