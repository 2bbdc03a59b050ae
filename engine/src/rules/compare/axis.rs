//! The sides of a rule, and which rules allow each value on them.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::rules::{ALL, any_with_subresource, groups, names, resources, url_allows, urls};

const WORD: usize = u64::BITS as usize;

/// A comparison has looked at as much as it may.
pub(super) struct Exhausted;

/// How much a comparison may still look at, in machine words.
pub(super) struct Budget(u64);

impl Budget {
    pub(super) fn new(words: u64) -> Self {
        Self(words)
    }

    pub(super) fn spend(&mut self, words: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(words as u64).ok_or(Exhausted)?;
        Ok(())
    }
}

/// A set of rules, by their position: one bit each.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct RuleSet(Vec<u64>);

impl RuleSet {
    fn none(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(WORD)])
    }

    /// The first so many rules.
    pub(super) fn first(rules: usize) -> Self {
        let mut set = Self::none(rules);
        set.extend(0..rules);
        set
    }

    fn extend(&mut self, rules: impl IntoIterator<Item = usize>) {
        for rule in rules {
            if let Some(word) = self.0.get_mut(rule / WORD) {
                *word |= 1 << (rule % WORD);
            }
        }
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| one & other).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// What looking at the set costs; never nothing.
    pub(super) fn words(&self) -> usize {
        self.0.len() + 1
    }
}

/// Values that exactly the same rules allow. `None` is the value for all names.
#[derive(Clone)]
pub(super) struct Class<'a> {
    pub(super) values: Vec<Option<&'a str>>,
    pub(super) allowed_by: RuleSet,
}

/// One side of a rule, its values in classes, in the order of their first value.
#[derive(Clone)]
pub(super) struct Axis<'a> {
    classes: Vec<Class<'a>>,
    by_all: RuleSet,
}

impl<'a> Axis<'a> {
    fn of(
        values: impl Iterator<Item = Option<&'a str>>,
        known: usize,
        budget: &mut Budget,
        allowed_by: impl Fn(Option<&str>, &mut RuleSet),
    ) -> Result<Self, Exhausted> {
        let mut classes: Vec<Class<'a>> = Vec::new();
        let mut places: HashMap<RuleSet, usize> = HashMap::new();
        let mut seen = HashSet::new();
        let mut by_all = RuleSet::first(known);
        for value in values.filter(|value| seen.insert(*value)) {
            let mut set = RuleSet::none(known);
            budget.spend(set.words())?;
            allowed_by(value, &mut set);
            let place = *places.entry(set.clone()).or_insert(classes.len());
            if let Some(class) = classes.get_mut(place) {
                class.values.push(value);
            } else {
                by_all = by_all.and(&set);
                classes.push(Class { values: vec![value], allowed_by: set });
            }
        }
        Ok(Self { classes, by_all })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    pub(super) fn classes(&self) -> &[Class<'a>] {
        &self.classes
    }

    /// The rules that allow every value of the side.
    pub(super) fn by_all(&self) -> &RuleSet {
        &self.by_all
    }

    pub(super) fn values(&self) -> Vec<Option<&'a str>> {
        self.classes.iter().flat_map(|class| class.values.iter().copied()).collect()
    }
}

/// For each value of a list, the rules that name it, in rising order.
type Naming<'a> = HashMap<&'a str, Vec<usize>>;

/// Which rules name what. Its size is that of the rules.
pub(super) struct Index<'a> {
    verbs: Naming<'a>,
    groups: Naming<'a>,
    resources: Naming<'a>,
    names: Naming<'a>,
    /// The rules that hold for all names.
    unnamed: Vec<usize>,
    urls: Naming<'a>,
}

impl<'a> Index<'a> {
    pub(super) fn of(rules: &[&'a PolicyRule]) -> Self {
        let naming = |list: fn(&'a PolicyRule) -> &'a [String]| {
            let mut naming = Naming::new();
            for (position, rule) in rules.iter().enumerate() {
                for value in list(rule) {
                    naming.entry(value.as_str()).or_default().push(position);
                }
            }
            naming
        };
        let unnamed =
            |(position, rule): (usize, &&PolicyRule)| names(rule).is_empty().then_some(position);
        Self {
            verbs: naming(|rule| rule.verbs.as_slice()),
            groups: naming(groups),
            resources: naming(resources),
            names: naming(names),
            unnamed: rules.iter().enumerate().filter_map(unnamed).collect(),
            urls: naming(urls),
        }
    }

    pub(super) fn verbs<'b>(
        &self,
        values: &'b [String],
        known: usize,
        budget: &mut Budget,
    ) -> Result<Axis<'b>, Exhausted> {
        plain(&self.verbs, values, known, budget)
    }

    pub(super) fn groups<'b>(
        &self,
        values: &'b [String],
        known: usize,
        budget: &mut Budget,
    ) -> Result<Axis<'b>, Exhausted> {
        plain(&self.groups, values, known, budget)
    }

    /// `*/subresource` allows that subresource of every resource.
    pub(super) fn resources<'b>(
        &self,
        values: &'b [String],
        known: usize,
        budget: &mut Budget,
    ) -> Result<Axis<'b>, Exhausted> {
        Axis::of(each(values), known, budget, |value, set| {
            let of_any = value.and_then(any_with_subresource);
            mark(&self.resources, known, [Some(ALL), value, of_any.as_deref()], set);
        })
    }

    /// Without names the rule asks for all names, which only a rule without names allows.
    pub(super) fn names<'b>(
        &self,
        values: &'b [String],
        known: usize,
        budget: &mut Budget,
    ) -> Result<Axis<'b>, Exhausted> {
        let all = values.is_empty().then_some(None);
        Axis::of(all.into_iter().chain(each(values)), known, budget, |value, set| {
            set.extend(first(&self.unnamed, known));
            mark(&self.names, known, [value], set);
        })
    }

    /// Every URL is compared with every other, because a prefix cannot be looked up.
    pub(super) fn urls<'b>(
        &self,
        values: &'b [String],
        known: usize,
        budget: &mut Budget,
    ) -> Result<Axis<'b>, Exhausted> {
        budget.spend(values.len().saturating_mul(self.urls.len()))?;
        Axis::of(each(values), known, budget, |value, set| {
            let allows = |pattern: &str| value.is_some_and(|url| url_allows(pattern, url));
            for (_, rules) in self.urls.iter().filter(|(pattern, _)| allows(pattern)) {
                set.extend(first(rules, known));
            }
        })
    }
}

/// A side on which a value is allowed by the rules that name it, and by those that name `*`.
fn plain<'b>(
    naming: &Naming<'_>,
    values: &'b [String],
    known: usize,
    budget: &mut Budget,
) -> Result<Axis<'b>, Exhausted> {
    Axis::of(each(values), known, budget, |value, set| {
        mark(naming, known, [Some(ALL), value], set);
    })
}

fn each(values: &[String]) -> impl Iterator<Item = Option<&str>> {
    values.iter().map(|value| Some(value.as_str()))
}

/// Those of the rules that are among the first `known`.
fn first(rules: &[usize], known: usize) -> impl Iterator<Item = usize> {
    rules.iter().copied().take_while(move |rule| *rule < known)
}

fn mark<const N: usize>(
    naming: &Naming<'_>,
    known: usize,
    values: [Option<&str>; N],
    set: &mut RuleSet,
) {
    for rules in values.into_iter().flatten().filter_map(|value| naming.get(value)) {
        set.extend(first(rules, known));
    }
}
