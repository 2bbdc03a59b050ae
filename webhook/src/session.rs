//! What the holder of a right writes carries, in the audit log of the API server, by which request.
//!
//! The API server asks only for those who hold a right. It puts the name of the entry before each key:
//! `session.lapse.dev/grant`.

use lapse_crds::Identity;
use lapse_engine::session::record as record_of;
use lapse_engine::{Read, clipped};

use crate::admission::{Admission, caller};
use crate::answer::Admitted;
use crate::asked::Request;

/// Lets everything through: what cannot be told is said, and stops nobody at three in the morning.
pub(crate) async fn record(admission: &Admission, request: &Request) -> Admitted {
    let audit = match caller(&request.user_info) {
        Ok(caller) => of(admission, &caller).await,
        Err(error) => vec![("unknown", error.to_string())],
    };
    let audit = audit.into_iter().map(|(key, value)| (key, clipped(&value))).collect();
    Admitted { audit, ..Admitted::default() }
}

async fn of(admission: &Admission, caller: &Identity) -> Vec<(&'static str, String)> {
    // Whoever is asked about holds something.
    match admission.held(caller, |held| !held.is_empty()).await {
        Read::Found(held) => record_of(&held),
        Read::Missing => Vec::new(),
        Read::Failed(why) => vec![("unknown", why)],
    }
}
