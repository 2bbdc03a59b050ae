//! Takes the lease away from whoever holds it, so that nobody gives anything.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use lapse_cluster::{CALL_LIMIT, CallError, LEASE, bounded, clock};
use lapse_crds::micro_time;
use tracing::warn;

use super::{DURATION, LONGEST, PERIOD, labelled};

/// How often it is tried to write the lease while its holder writes it, too.
const TRIES: usize = 10;

/// Whether somebody wrote it in between, or made it.
fn is_anothers(error: &CallError) -> bool {
    error.is_conflict() || error.is_already_exists()
}

/// The lease, held by a process that gives nothing.
pub(crate) struct Hold {
    api: Api<Lease>,
    me: String,
    /// From when on what another holder had begun is over.
    pub(crate) quiet_from: Instant,
}

impl Hold {
    /// Takes the lease, whoever holds it.
    pub(crate) async fn take(
        client: &Client,
        namespace: &str,
        me: String,
    ) -> Result<Self, CallError> {
        let api = Api::namespaced(client.clone(), namespace);
        let mut hold = Self { api, me, quiet_from: Instant::now() };
        hold.write(Some(DURATION)).await?;
        // A holder relies on its last renewal, and what it began by that may still be written: also one whose lease was
        // deleted a moment ago.
        hold.quiet_from = Instant::now() + DURATION + CALL_LIMIT;
        Ok(hold)
    }

    /// Renews the lease until another has it, or may have it by now.
    pub(crate) async fn keep(&self) {
        let mut held = Instant::now();
        while held.elapsed() < DURATION {
            tokio::time::sleep(PERIOD).await;
            match self.write(Some(DURATION)).await {
                Ok(was) if self.is_anothers(was.as_ref()) => return,
                Ok(_) => held = Instant::now(),
                Err(error) => warn!(%error, "the lease could not be renewed"),
            }
        }
    }

    /// Leaves the lease so that nobody takes it before controllers are gone. Whether it was held until now.
    pub(crate) async fn leave(&self) -> Result<bool, CallError> {
        let was = self.write(Some(LONGEST)).await?;
        Ok(!self.is_anothers(was.as_ref()))
    }

    fn is_anothers(&self, holder: Option<&String>) -> bool {
        holder.is_some_and(|holder| *holder != self.me)
    }

    /// Gives the lease back.
    pub(crate) async fn release(&self) -> Result<(), CallError> {
        self.write(None).await.map(drop)
    }

    /// Writes that it is held for so long, or by nobody; returns who held it before.
    async fn write(&self, held_for: Option<Duration>) -> Result<Option<String>, CallError> {
        let mut tries = 0;
        loop {
            let lease = match bounded("reading the lease", self.api.get(LEASE)).await {
                Err(error) if error.is_not_found() && held_for.is_none() => return Ok(None),
                // A controller would make it again, and give.
                Err(error) if error.is_not_found() => {
                    let metadata = labelled(&ObjectMeta::default());
                    Lease { metadata, spec: None }
                }
                other => other?,
            };
            let spec = lease.spec.clone().unwrap_or_default();
            let was = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
            let is_mine = was.as_ref() == Some(&self.me);
            if held_for.is_none() && !is_mine {
                return Ok(was);
            }
            let now = micro_time(clock::now());
            let seconds = held_for.unwrap_or(DURATION).as_secs();
            let spec = LeaseSpec {
                holder_identity: held_for.map(|_| self.me.clone()),
                lease_duration_seconds: i32::try_from(seconds).ok(),
                acquire_time: if is_mine { spec.acquire_time.clone() } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(!is_mine)),
                ..spec
            };
            let lease = Lease { spec: Some(spec), ..lease };
            let post = PostParams::default();
            match bounded("writing the lease", self.api.replace(LEASE, &post, &lease)).await {
                Ok(_) => return Ok(was),
                // Somebody wrote it in between.
                Err(error) if is_anothers(&error) && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}
