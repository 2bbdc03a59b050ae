//! Ends every right before Lapse is uninstalled: when the controllers are gone, nothing would.
//!
//! It goes by the Grants first, so that each says why it ended, and then by what stands in the cluster, with
//! a Grant or without. Controllers may run or not: the lease is taken from them, so that nothing is given
//! meanwhile.

mod endpoints;
mod grants;
mod objects;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use kube::Client;
use lapse_cluster::clock::Clock;
use lapse_cluster::index::Index;
use lapse_cluster::process::read_settings;
use lapse_cluster::{Reader, connect};
use lapse_engine::Settings;
use lapse_engine::attest::KeySet;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::OnceOptions;
use crate::lease::Hold;

/// How long what is left is tried again, beyond the time for which others may still give.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it rests between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// How many of what is left are named.
const NAMED: usize = 10;

/// What came of a round.
#[derive(Default)]
struct Round {
    /// Grants that ended.
    ended: usize,
    /// Objects of RBAC that were removed beside those of these Grants.
    removed: usize,
    /// Emergencies that await review, and keep their finalizer.
    unreviewed: Vec<String>,
    /// What stands and could not be taken away, or could not be looked at.
    left: Vec<String>,
}

/// The command `drain`.
pub(crate) async fn drain(options: OnceOptions) -> anyhow::Result<()> {
    let settings = read_settings(&options.settings)?;
    let clock = Clock::default();
    let client = connect(&clock, "lapse-controller").await?;
    let me = format!("lapse-drain-{:08x}", getrandom::u32()?);
    let hold = Hold::take(&client, &settings.namespace, me).await;
    let hold = hold.context("keeping others from granting access")?;
    info!("the lease is taken: nothing is given any more");
    let drained = tokio::select! {
        drained = rounds(&client, &clock, settings, hold.quiet_from) => drained,
        () = hold.keep() => Err(anyhow::anyhow!("the lease is no longer renewed")),
    };
    match drained {
        Ok(()) => {
            let was_held = hold.leave().await.context("keeping others from granting access")?;
            anyhow::ensure!(
                was_held,
                "a controller took the lease meanwhile, and may have granted access: run it again"
            );
            Ok(())
        }
        Err(why) => {
            if let Err(error) = hold.release().await {
                warn!(%error, "the lease could not be given back; it lapses by itself");
            }
            Err(why)
        }
    }
}

/// Takes away what stands, round by round, until one finds nothing that began when nobody could give any more.
async fn rounds(
    client: &Client,
    clock: &Clock,
    settings: Settings,
    quiet_from: Instant,
) -> anyhow::Result<()> {
    // Nothing is verified here: no attestation bears on the end of a right.
    let (_sender, keys) = watch::channel(KeySet::default());
    let index = Index::new(settings, keys.clone(), false);
    let reader = Reader::new(client.clone(), index, keys);
    let until = quiet_from.max(Instant::now()) + PATIENCE;
    let (mut ended, mut removed) = (0, 0);
    loop {
        let began = Instant::now();
        let mut round = Round::default();
        grants::end(&reader, clock, &mut round).await;
        objects::remove_all(&reader, &mut round).await;
        // They are many, and no hurry: what is over gives nothing.
        if began >= quiet_from {
            grants::let_go(&reader, clock, &mut round).await;
        }
        ended += round.ended;
        removed += round.removed;
        let found_nothing = round.ended == 0 && round.removed == 0 && began >= quiet_from;
        // When nothing is left on a host, either.
        if round.left.is_empty() && found_nothing {
            endpoints::let_go(client, &mut round).await;
        }
        if round.left.is_empty() && found_nothing {
            info!(ended, removed, "no access is left");
            if !round.unreviewed.is_empty() {
                warn!(
                    grants = %named(&round.unreviewed),
                    "emergencies await their review: their Grants stay, with the finalizer"
                );
            }
            return Ok(());
        }
        if !round.left.is_empty() {
            let left = named(&round.left);
            if Instant::now() >= until {
                bail!("not all access could be ended: {left}. Fix that, and try again");
            }
            warn!(%left, "it is tried again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn named(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let first = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{first}; and {more} more") } else { first }
}
