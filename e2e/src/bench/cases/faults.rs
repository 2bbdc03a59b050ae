//! How late rights end while something fails, beside the same when nothing does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::TimeDelta;
use http::StatusCode;

use super::super::figure::{Figure, Part, Reach};
use super::super::setting::Setting;
use super::super::town::{Town, names};
use super::burst::{SPREAD, ends, give_until_together};
use super::failover::leader;
use crate::plane::api_proxy::{ApiProxy, Fault};
use crate::plane::until;

/// How many rights end under each fault.
const ENDS: usize = 100;
/// How long before the first end a fault begins.
const BEFORE: TimeDelta = TimeDelta::milliseconds(200);
/// How much later than a fault lasts an end may be, in milliseconds.
const ALLOWED: f64 = 1000.0;
/// How late each call comes.
const DELAY: Duration = Duration::from_millis(500);
/// How long the API server throttles, or hangs.
const LASTS: Duration = Duration::from_secs(5);
/// How often connections, and so watches, are cut.
const CUT_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy)]
enum Kind {
    Delayed,
    Throttled,
    Cut,
    Hangs,
    LeaderKilled,
    LeaderStopped,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Delayed,
        Self::Throttled,
        Self::Cut,
        Self::Hangs,
        Self::LeaderKilled,
        Self::LeaderStopped,
    ];

    fn words(self) -> String {
        let (delay, lasts) = (DELAY.as_millis(), LASTS.as_secs());
        match self {
            Self::Delayed => format!("each call delayed by {delay} ms"),
            Self::Throttled => format!("each call throttled (429) for {lasts} s"),
            Self::Cut => format!("watches cut each {} ms", CUT_EVERY.as_millis()),
            Self::Hangs => format!("the API server hangs for {lasts} s"),
            Self::LeaderKilled => "the leader killed".to_owned(),
            Self::LeaderStopped => "the leader stopped (SIGSTOP)".to_owned(),
        }
    }

    /// How long it keeps an end from coming, in milliseconds.
    fn keeps(self) -> f64 {
        match self {
            Self::Delayed => DELAY.as_secs_f64() * 1000.0,
            Self::Throttled | Self::Hangs => LASTS.as_secs_f64() * 1000.0,
            // Others see to it meanwhile.
            Self::Cut | Self::LeaderKilled | Self::LeaderStopped => 0.0,
        }
    }
}

/// The same ends under each fault, with three controllers.
pub(super) async fn run(setting: &Setting, figures: &mut Vec<Figure>) -> Result<()> {
    let town = Town::found_with_faults(setting).await?;
    let count = setting.size.of(ENDS);
    let calm = names("calm", count);
    give_until_together(&town, &calm).await?;
    let calm = ends(&town, &calm).await?;
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        let late = under(&town, kind, &names(&format!("fault{number}"), count)).await?;
        figures.push(
            Figure::new(&format!("{} → gone", kind.words()), "ms", late)
                .beside("the same with nothing in the way", calm.clone())
                .reach(Part::Max, Reach::AtMost(kind.keeps() + ALLOWED))
                .note(format!("from expiresAt; the ends lie within {SPREAD} s")),
        );
    }
    Ok(())
}

async fn under(town: &Town, kind: Kind, names: &[String]) -> Result<Vec<f64>> {
    let api = town.lapse.api.clone().context("the controllers are not behind a proxy")?;
    let first = give_until_together(town, names).await?;
    let leader = &town.lapse.controllers[leader(town).await?];
    until(first - BEFORE).await;
    let failing = async {
        match kind {
            Kind::Delayed => api.fault(Fault::Delay(DELAY), |call| !call.is_watch),
            Kind::Throttled => {
                api.fault(Fault::Status(StatusCode::TOO_MANY_REQUESTS), |_| true);
                tokio::time::sleep(LASTS).await;
                api.heal();
            }
            Kind::Cut => cut_again_and_again(&api).await,
            Kind::Hangs => {
                api.fault(Fault::Hold, |_| true);
                api.cut();
                tokio::time::sleep(LASTS).await;
                api.heal();
                api.cut();
            }
            Kind::LeaderKilled => leader.process.kill(),
            Kind::LeaderStopped => leader.process.pause(),
        }
    };
    let ((), late) = tokio::join!(failing, ends(town, names));
    match kind {
        Kind::LeaderKilled => {
            leader.process.start()?;
            leader.ready().await?;
        }
        Kind::LeaderStopped => leader.process.resume(),
        Kind::Delayed | Kind::Throttled | Kind::Cut | Kind::Hangs => api.heal(),
    }
    late
}

/// For as long as rights end.
async fn cut_again_and_again(api: &Arc<ApiProxy>) {
    let begun = Instant::now();
    let lasts = Duration::from_secs(u64::try_from(SPREAD).unwrap_or_default());
    while begun.elapsed() < lasts {
        api.cut();
        tokio::time::sleep(CUT_EVERY).await;
    }
}
