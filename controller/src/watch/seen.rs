//! What a watch has shown of each object, so that what changed while it was down is known by its name. Otherwise it would be
//! found when everything has been looked at, and that takes as long as there are rights.
//!
//! Memory is bounded by the objects that stand: of each its namespace, its name and its version.

use std::collections::HashMap;

use kube::api::ObjectMeta;
use lapse_cluster::index::version;

/// A namespace, if there is one, and a name.
type Place = (Option<String>, String);

/// What was shown.
#[derive(Default)]
pub(super) struct Seen {
    known: HashMap<Place, u64>,
    /// What a list that is under way has shown.
    listed: HashMap<Place, u64>,
    /// Whether all was listed once; until then everything is new.
    was_listed: bool,
}

fn place(object: &ObjectMeta) -> Place {
    (object.namespace.clone(), object.name.clone().unwrap_or_default())
}

impl Seen {
    /// A list of everything begins.
    pub(super) fn begins(&mut self) {
        self.listed.clear();
    }

    /// A list shows an object. Whether it is another than was shown before.
    pub(super) fn lists(&mut self, object: &ObjectMeta) -> bool {
        let (place, version) = (place(object), version(object));
        let is_news = self.was_listed && self.known.get(&place) != Some(&version);
        self.listed.insert(place, version);
        is_news
    }

    /// The list is done. Returns what stands no more.
    pub(super) fn ends(&mut self) -> Vec<ObjectMeta> {
        self.was_listed = true;
        let listed = std::mem::take(&mut self.listed);
        let before = std::mem::replace(&mut self.known, listed);
        let gone = before.into_keys().filter(|place| !self.known.contains_key(place));
        gone.map(|(namespace, name)| ObjectMeta {
            namespace,
            name: Some(name),
            ..ObjectMeta::default()
        })
        .collect()
    }

    /// An object came or changed.
    pub(super) fn stands(&mut self, object: &ObjectMeta) {
        self.known.insert(place(object), version(object));
    }

    /// An object is gone.
    pub(super) fn gone(&mut self, object: &ObjectMeta) {
        self.known.remove(&place(object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, version: u64) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn what_a_list_shows_otherwise_is_news() {
        let mut seen = Seen::default();
        let lists = |seen: &mut Seen, all: &[(&str, u64)]| {
            seen.begins();
            let news = all.iter().filter(|(name, version)| seen.lists(&object(name, *version)));
            let news: Vec<String> = news.map(|(name, _)| (*name).to_owned()).collect();
            let gone = seen.ends().into_iter().filter_map(|object| object.name);
            (news, gone.collect::<Vec<_>>())
        };
        let nothing = || (Vec::<String>::new(), Vec::<String>::new());
        assert_eq!(lists(&mut seen, &[("a", 1), ("b", 2), ("c", 3)]), nothing(), "all is new");
        seen.stands(&object("a", 4));
        seen.gone(&object("c", 5));
        assert_eq!(lists(&mut seen, &[("a", 4), ("b", 2)]), nothing());
        let (news, gone) = lists(&mut seen, &[("a", 6), ("d", 7)]);
        assert_eq!((news, gone), (vec!["a".to_owned(), "d".to_owned()], vec!["b".to_owned()]));
    }
}
