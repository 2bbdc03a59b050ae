//! Notices a store that was restored to an earlier state, also when its revision has caught up meanwhile.
//!
//! If such a store has lost anything, it has lost what was seen last. So that is read again and again: one object every two
//! seconds, whatever there is.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::PartialObjectMeta;
use kube::{Api, Resource};
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy};
use lapse_engine::Read;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::{Reader, read};
use crate::bounded;
use crate::index::{Indexed, Seen, version};

/// How often what was seen last is read.
const PERIOD: Duration = Duration::from_secs(2);

/// How many times in a row it must not be as it was seen, with nothing new: a watch may be a moment late.
const LOOKS: u32 = 3;

/// What is there in place of what was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// The same, or something newer of it.
    AsSeen,
    /// An older state of it, of this version.
    Older(u64),
    /// It is gone, or is there again: that may be news, which the watch is about to show.
    Otherwise,
}

impl Reader {
    /// Has every watch begin anew when the store is another than the one that was seen, until it is dropped.
    pub async fn look_out(self) {
        let mut differs: Option<(Seen, u32)> = None;
        loop {
            tokio::time::sleep(PERIOD).await;
            // While nothing answers it stays the same: what is seen afterwards may be of the other store.
            let Some(seen) = self.index().to_confirm() else { continue };
            let times = differs.take().filter(|(before, _)| *before == seen).map_or(0, |(_, n)| n);
            match self.compare_with(&seen).await {
                Err(error) => {
                    warn!(error, name = seen.name, "what was seen last cannot be read");
                    differs = Some((seen, times));
                }
                Ok(Stands::AsSeen) => self.index().confirmed(),
                Ok(Stands::Older(now)) => {
                    self.ran_backwards(now, seen.version);
                }
                Ok(Stands::Otherwise) if times + 1 < LOOKS => differs = Some((seen, times + 1)),
                Ok(Stands::Otherwise) => {
                    warn!(name = seen.name, is_gone = seen.is_gone, "what was seen last is not so");
                    if let Some(revision) = &self.revision
                        && !self.index().is_in_doubt()
                    {
                        revision.start_again();
                    }
                }
            }
        }
    }

    async fn compare_with(&self, seen: &Seen) -> Result<Stands, String> {
        let Seen { namespace, .. } = seen;
        let all = self.client.clone();
        match seen.kind {
            Indexed::Policies => now::<JitPolicy>(Api::all(all), seen).await,
            Indexed::Grants => now::<Grant>(Api::all(all), seen).await,
            Indexed::Requests => now::<AccessRequest>(self.namespaced(namespace), seen).await,
            Indexed::Decisions => now::<AccessDecision>(self.namespaced(namespace), seen).await,
        }
    }
}

async fn now<K>(api: Api<K>, seen: &Seen) -> Result<Stands, String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let what = format!("reading {} {}", K::kind(&()), seen.name);
    let now = match read(bounded(what, api.get_metadata(&seen.name)).await) {
        Read::Found(PartialObjectMeta { metadata, .. })
            if metadata.uid.as_ref() == Some(&seen.uid) =>
        {
            Some(version(&metadata))
        }
        Read::Found(_) | Read::Missing => None,
        Read::Failed(why) => return Err(why),
    };
    Ok(match now {
        Some(now) if now < seen.version => Stands::Older(now),
        now if now.is_none() == seen.is_gone => Stands::AsSeen,
        _ => Stands::Otherwise,
    })
}

#[cfg(test)]
mod tests {
    use lapse_crds::AccessDecision;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{api_server, approval, metadata, reader, stored};

    /// The newest of all is of version 9, and of this name.
    fn newest(version: &str, uid: &str) -> Value {
        let mut newest = approval("newest");
        newest["metadata"] = metadata("newest", version);
        newest["metadata"]["uid"] = json!(uid);
        newest
    }

    async fn is_doubted(stands: Option<Value>, is_gone: bool) -> bool {
        let reader =
            reader(api_server(stands.map(|stands| ("newest", stands)).into_iter().collect()));
        let seen = stored::<AccessDecision>(&newest("9", "u"));
        reader.index().apply_decision(&seen);
        if is_gone {
            reader.index().delete_decision(&stored(&newest("10", "u")));
        }
        let index = reader.index().clone();
        tokio::select! {
            () = reader.look_out() => unreachable!("it ends with the program"),
            () = tokio::time::sleep(PERIOD * 10) => index.is_in_doubt(),
        }
    }

    #[rstest]
    #[case::as_it_was(Some(newest("9", "u")), false)]
    #[case::newer(Some(newest("12", "u")), false)]
    #[case::gone_as_was_seen(None, true)]
    #[case::another_in_place_of_what_was_gone(Some(newest("3", "v")), true)]
    #[tokio::test(start_paused = true)]
    async fn what_stands_as_it_was_seen_is_believed(
        #[case] now: Option<Value>,
        #[case] gone: bool,
    ) {
        assert!(!is_doubted(now, gone).await);
    }

    #[rstest]
    #[case::older(Some(newest("8", "u")), false)]
    #[case::lost(None, false)]
    #[case::another_in_its_place(Some(newest("12", "v")), false)]
    #[case::there_again(Some(newest("9", "u")), true)]
    #[case::there_again_and_written(Some(newest("12", "u")), true)]
    #[tokio::test(start_paused = true)]
    async fn what_was_seen_last_and_is_not_so_puts_all_in_doubt(
        #[case] now: Option<Value>,
        #[case] gone: bool,
    ) {
        assert!(is_doubted(now, gone).await);
    }

    /// Its deletion is shown a moment after it can be read.
    #[tokio::test(start_paused = true)]
    async fn what_a_watch_shows_a_moment_later_puts_nothing_in_doubt() {
        let reader = reader(api_server(Vec::new()));
        reader.index().apply_decision(&stored(&newest("9", "u")));
        let index = reader.index().clone();
        let shown = async {
            tokio::time::sleep(PERIOD * 2 + PERIOD / 2).await;
            index.delete_decision(&stored(&newest("10", "u")));
            tokio::time::sleep(PERIOD * 10).await;
        };
        tokio::select! {
            () = reader.look_out() => unreachable!("it ends with the program"),
            () = shown => assert!(!index.is_in_doubt()),
        }
    }
}
