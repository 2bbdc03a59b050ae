//! Whether the API server answers what is asked of it.

use lapse_crds::Identity;
use lapse_engine::Read;

use super::{Freshness, Reader};

impl Reader {
    /// Whether everything that decisions are judged from can be listed. An API server that has just started, or
    /// has just been told of a kind, answers that its storage is being initialized until it is.
    ///
    /// # Errors
    /// What cannot be listed, in words.
    pub async fn try_out(&self) -> Result<(), String> {
        let nobody = Identity { username: "nobody".to_owned(), ..Identity::default() };
        let now = Freshness::Now;
        let (held, decisions, policies) = tokio::join!(
            self.held(&nobody, now),
            self.decisions(&self.settings.namespace, "nothing", now),
            self.policies(None, now),
        );
        let failures = [held.map(drop), decisions.map(drop), policies.map(drop)];
        failures.into_iter().try_for_each(|read| match read {
            Read::Failed(why) => Err(why),
            Read::Found(()) | Read::Missing => Ok(()),
        })
    }
}
