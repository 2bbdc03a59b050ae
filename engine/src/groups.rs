//! The groups of a person, as far as they are kept with what the person says.

use lapse_crds::Identity;

/// The most groups that are kept, as the schema has it.
const MOST: usize = 2048;
/// The most bytes of their names, so that what carries them is stored (`crate::size`).
const MOST_BYTES: usize = 96 * 1024;
/// The longest name that the schema takes, in characters.
const LONGEST: usize = 1024;

/// Keeps of the groups of a person what can be stored: none without a name, and of very many those first that
/// `matters` names, that is, those that any policy names. How many were left out.
///
/// Who is in more groups than fit would otherwise be able to ask for nothing.
pub fn keep_groups(who: &mut Identity, matters: impl Fn(&str) -> bool) -> usize {
    let is_nameable = |name: &String| !name.is_empty() && name.chars().count() <= LONGEST;
    let all = who.groups.len();
    let unnamed = who.groups.iter().filter(|name| name.is_empty()).count();
    who.groups.retain(is_nameable);
    let size: usize = who.groups.iter().map(String::len).sum();
    if who.groups.len() > MOST || size > MOST_BYTES {
        let is_ranked = |name: &String| !(matters(name) || name.starts_with("system:"));
        who.groups.sort_by_cached_key(is_ranked);
        let mut room = MOST_BYTES;
        who.groups.retain(|name| {
            let fits = name.len() <= room;
            room = room.saturating_sub(name.len());
            fits
        });
        who.groups.truncate(MOST);
    }
    all - unnamed - who.groups.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::person;

    #[test]
    fn what_has_no_name_is_left_out_and_what_matters_is_kept() {
        let mut few = person("ana", &["dev", "", "ops"]);
        assert_eq!(keep_groups(&mut few, |_| false), 0);
        assert_eq!(few.groups, ["dev", "ops"]);

        let names: Vec<String> = (0..3000).map(|number| format!("group-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut many = person("ana", &names);
        assert_eq!(keep_groups(&mut many, |name| name == "group-2999"), 952);
        assert_eq!((many.groups.len(), &*many.groups[0]), (MOST, "group-2999"));

        let long = "x".repeat(1000);
        let names: Vec<String> = (0..500).map(|number| format!("{long}-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut large = person("ana", &names);
        assert!(keep_groups(&mut large, |_| false) > 400);
        assert!(large.groups.iter().map(String::len).sum::<usize>() <= MOST_BYTES);
    }
}
