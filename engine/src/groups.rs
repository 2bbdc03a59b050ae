//! The groups of a person, as far as they are kept with what the person says.

use std::collections::HashSet;

use lapse_crds::Identity;

use crate::policy::Policies;

/// The most groups that are kept, as the schema has it.
const MOST: usize = 2048;
/// The most bytes of their names, so that what carries them is stored (`crate::size`).
const MOST_BYTES: usize = 96 * 1024;
/// The longest name that the schema takes, in characters.
const LONGEST: usize = 1024;

/// The most groups, and bytes of their names, that a stamp says somebody is not in.
const MOST_NOT_IN: usize = 256;
const MOST_BYTES_NOT_IN: usize = 16 * 1024;

/// Keeps of the groups of a person what can be stored: none without a name, and of very many those first that
/// any of `policies` names. What is left out is counted in the identity, which then says, too, which groups of Deny
/// policies the person is not in: nobody could tell that afterwards.
///
/// Who is in more groups than fit would otherwise be able to ask for nothing.
pub fn keep_groups(who: &mut Identity, policies: &Policies) {
    who.groups.retain(|name| !name.is_empty());
    let all = who.groups.len();
    if do_all_fit(&who.groups) {
        return;
    }
    let own: HashSet<&str> = who.groups.iter().map(String::as_str).collect();
    let others = policies.banned_groups().into_iter().filter(|name| !own.contains(name));
    let mut fits = room(MOST_BYTES_NOT_IN);
    let fitting = others.take(MOST_NOT_IN).filter(|name| fits(name));
    let not_in = fitting.map(ToOwned::to_owned).collect();
    who.groups.retain(|name| is_nameable(name));
    let is_ranked = |name: &String| !(policies.names_group(name) || name.starts_with("system:"));
    who.groups.sort_by_cached_key(is_ranked);
    let mut fits = room(MOST_BYTES);
    who.groups.retain(|name| fits(name));
    who.groups.truncate(MOST);
    who.not_in_groups = not_in;
    who.groups_omitted = u32::try_from(all - who.groups.len()).ok().filter(|omitted| *omitted > 0);
}

/// Whether none of these is left out. Those without a name are none.
#[must_use]
pub fn do_all_fit(groups: &[String]) -> bool {
    let named = || groups.iter().filter(|name| !name.is_empty());
    named().all(|name| is_nameable(name))
        && named().count() <= MOST
        && named().map(String::len).sum::<usize>() <= MOST_BYTES
}

/// Takes names one after the other, and says of each whether it fits into so many bytes together with those before. After
/// the first that does not none does.
fn room(most: usize) -> impl FnMut(&str) -> bool {
    let mut left = most;
    move |name| {
        let fits = name.len() <= left;
        left = left.saturating_sub(name.len());
        fits
    }
}

fn is_nameable(name: &str) -> bool {
    name.chars().count() <= LONGEST
}

#[cfg(test)]
mod tests {
    use lapse_crds::{PolicyEffect, Subject};

    use super::*;
    use crate::testing::{group, life::state, person, policy, user};

    fn for_these(name: &str, effect: PolicyEffect, requesters: Vec<Subject>) -> Policies {
        let mut policy = policy(name);
        policy.spec.effect = effect;
        policy.spec.requesters = requesters;
        [state(&policy)].into()
    }

    fn person_in(names: impl Iterator<Item = String>) -> Identity {
        Identity { groups: names.collect(), ..person("ana", &[]) }
    }

    #[test]
    fn what_has_no_name_is_left_out_and_what_matters_is_kept() {
        let mut few = person("ana", &["dev", "", "ops"]);
        keep_groups(&mut few, &Policies::default());
        assert_eq!(few, person("ana", &["dev", "ops"]));

        let named = vec![group("group-2999"), user("group-2998")];
        let allow = for_these("p", PolicyEffect::Allow, named);
        let mut many = person_in((0..3000).map(|number| format!("group-{number}")));
        keep_groups(&mut many, &allow);
        assert_eq!((many.groups.len(), &*many.groups[0]), (MOST, "group-2999"));
        assert_eq!((many.groups_omitted, many.not_in_groups), (Some(952), vec![]));

        let long = "x".repeat(1000);
        let mut large = person_in((0..500).map(|number| format!("{long}-{number}")));
        keep_groups(&mut large, &allow);
        assert!(large.groups_omitted.unwrap() > 400);
        assert!(large.groups.iter().map(String::len).sum::<usize>() <= MOST_BYTES);

        let mut longest = person_in(["dev".to_owned(), "y".repeat(1025)].into_iter());
        keep_groups(&mut longest, &allow);
        assert_eq!(
            (&longest.groups[..], longest.groups_omitted),
            (&["dev".to_owned()][..], Some(1))
        );
    }

    /// So that a Deny policy that stood then keeps nobody away who is not in its groups.
    #[test]
    fn which_banned_groups_somebody_is_not_in_is_said_when_some_are_left_out() {
        let banned = vec![group("contractors"), group("group-2999"), user("olga")];
        let deny = for_these("p", PolicyEffect::Deny, banned);
        let mut many = person_in((0..3000).map(|number| format!("group-{number}")));
        keep_groups(&mut many, &deny);
        assert_eq!(many.not_in_groups, ["contractors"]);
        assert!(many.groups.contains(&"group-2999".to_owned()));
        let mut few = person("ana", &["dev"]);
        keep_groups(&mut few, &deny);
        assert_eq!(few, person("ana", &["dev"]));
    }
}
