//! What is over of one person, read before all the rest of it: nobody who asks waits until that has been read.

use std::fmt::Debug;

use futures::FutureExt as _;
use kube::api::ListParams;
use kube::{Api, Resource};
use lapse_crds::{AccessRequest, Grant, Identity};
use lapse_engine::Read;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::Reader;
use crate::index::Part;
use crate::watch::{PAGE, PAGE_OF_GRANTS};
use crate::{Stored, bounded, next_page};

/// How many pages are read for one person. Whoever has more waits until all that is over has been read.
const MOST_PAGES: usize = 5;

impl Reader {
    /// Sees to it that the index knows what else a person asked for and held, as far as it bears on a request, unless it
    /// knows all that is over. If that cannot be read, the index says that it does not know it.
    pub(crate) async fn read_past_of(&self, requester: &Identity, extends: Option<(&str, &str)>) {
        for part in self.index.unread_of(requester, extends) {
            let (reader, key) = (self.clone(), format!("{part:?}"));
            let reading = || async move { reader.read_part(part).await }.boxed();
            if let Read::Failed(why) = self.past.get(&key, reading).await {
                warn!(why, "what is over of somebody who asks is not known yet");
            }
        }
    }

    async fn read_part(&self, part: Part) -> Read<()> {
        let index = &self.index;
        let Some(list) = index.list_before(&part) else {
            // Somebody else has read it, or nothing that is read now would say anything.
            return Read::Found(());
        };
        let read = match &part {
            Part::GrantsOf(who) => {
                let api: Api<Stored<Grant>> = Api::all(self.client.clone());
                let fields = format!("status.phase=Ended,spec.subject.name={}", escaped(&who.name));
                let params = ListParams::default().fields(&fields).limit(PAGE_OF_GRANTS);
                pages(api, params, |grant| index.apply_early_grant(list, grant)).await
            }
            Part::RequestsOf { namespace, requester } => {
                let api: Api<Stored<AccessRequest>> = self.namespaced(namespace);
                let fields = format!("spec.requester.username={}", escaped(requester));
                let params = ListParams::default().fields(&fields).limit(PAGE);
                pages(api, params, |request| index.apply_early_request(list, request)).await
            }
        };
        match read {
            Ok(()) => {
                index.done_early(part, list);
                Read::Found(())
            }
            Err(why) => Read::Failed(why),
        }
    }
}

/// Shows all pages of a list, unless there are very many.
async fn pages<K>(
    api: Api<Stored<K>>,
    mut params: ListParams,
    show: impl Fn(&Stored<K>),
) -> Result<(), String>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    for _ in 0..MOST_PAGES {
        let what = format!("listing the {} of somebody who asks", K::plural(&()));
        let page = bounded(what, api.list(&params)).await.map_err(|error| error.to_string())?;
        page.items.iter().for_each(&show);
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return Ok(()),
        }
    }
    Err("there is too much to be read before the rest".to_owned())
}

/// A value as a selector of fields spells it.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\\' | ',' | '=') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests;
