//! Many rights that end in one instant, and the same while no controller runs.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::TimeDelta;
use http::StatusCode;

use super::super::bare;
use super::super::figure::{Figure, Part, Reach};
use super::super::seed::Seed;
use super::super::seen::Moment;
use super::super::setting::Setting;
use super::super::town::{AT_ONCE, Town, names};
use crate::plane::api_proxy::Fault;

/// How long the API server throttles, and how long before the instant that begins.
const THROTTLES: Duration = Duration::from_secs(5);
const BEFORE: TimeDelta = TimeDelta::milliseconds(200);
/// Long enough for all to be stored and the controller to be ready.
const HELD: &str = "60s";

/// From the instant to the last binding gone.
pub(super) async fn expiry(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    let count = setting.size.of(1000);
    let bare_names = names("bare", count);
    bare::bind(&town, &bare_names).await?;
    let bare = bare::unbind(&town, &bare_names).await?;
    let late = in_one_instant(&town, "mass", count, std::future::ready(())).await?;
    let last = late.iter().copied().fold(f64::NAN, f64::max);
    Ok(vec![
        Figure::new(&format!("{count} end in one instant → the last is gone"), "ms", vec![last])
            .beside(
                &format!("{count} bindings deleted by a bare client, {AT_ONCE} at once"),
                vec![bare],
            )
            .reach(Part::P50, Reach::Times(1.3))
            .note(
                "the rights are copies of a real one, put into the store before the controller was started",
            ),
        Figure::new("expiresAt → each gone", "ms", late),
    ])
}

/// How late each of so many copies is gone that end in one instant, while something goes on from then.
async fn in_one_instant(
    town: &Town,
    prefix: &str,
    count: usize,
    meanwhile: impl Future<Output = ()>,
) -> Result<Vec<f64>> {
    let seed = Seed::live(town, prefix, HELD).await?;
    let names = town.asleep(seed.sow(count)).await?;
    let expires_at = town.expires_at(&names[0]).await?;
    let stand = town.bindings.all_there(&names, Duration::from_secs(20)).await;
    let missing = names.iter().zip(&stand).find(|(_, stand)| stand.is_none());
    ensure!(missing.is_none(), "no watch has shown the bindings of {missing:?}");
    // What the copies bring with them is to be over before they end.
    let left = expires_at - BEFORE - lapse_cluster::clock::now();
    ensure!(
        left > TimeDelta::seconds(10),
        "storing took too long: {} s are left",
        left.num_seconds()
    );
    tokio::time::sleep(left.to_std().unwrap_or_default()).await;
    let (gone, ()) =
        tokio::join!(town.bindings.all_gone(&names, Duration::from_secs(90)), meanwhile);
    let mut late = Vec::new();
    for (name, gone) in names.iter().zip(gone) {
        let gone = gone.with_context(|| format!("{name} has not ended"))?;
        if gone.wall < expires_at {
            bail!("the copy ended before its time: {}", town.why_ended(name).await?);
        }
        late.push((gone.wall - expires_at).as_seconds_f64() * 1000.0);
    }
    Ok(late)
}

/// The same ends with three controllers, without and with an API server that has too much to do.
pub(super) async fn throttled(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found_with_faults(setting).await?;
    let count = setting.size.of(1000);
    let api = town.lapse.api.clone().context("the controllers are not behind a proxy")?;
    let calm = in_one_instant(&town, "calm", count, std::future::ready(())).await?;
    let throttling = async {
        api.fault(Fault::Status(StatusCode::TOO_MANY_REQUESTS), |_| true);
        tokio::time::sleep(THROTTLES).await;
        api.heal();
    };
    let late = in_one_instant(&town, "throttled", count, throttling).await?;
    let lasts_ms = THROTTLES.as_secs_f64() * 1000.0;
    let what =
        format!("{count} end in one instant, throttled (429) for {} s → gone", THROTTLES.as_secs());
    Ok(vec![
        Figure::new(&what, "ms", late)
            .beside("the same with nothing in the way", calm)
            .reach(Part::Max, Reach::More(lasts_ms + 1000.0))
            .note(format!(
                "from expiresAt; it throttles from {} ms before",
                BEFORE.num_milliseconds()
            )),
    ])
}

/// Nobody runs when the time is up: from the start of a controller to the last binding gone.
pub(super) async fn down(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    let count = setting.size.of(1000);
    let bare_names = names("bare", count);
    bare::bind(&town, &bare_names).await?;
    let bare = bare::unbind(&town, &bare_names).await?;
    let seed = Seed::live(&town, "down", HELD).await?;
    let controller = &town.lapse.controllers[0].process;
    controller.kill();
    let names = seed.sow(count).await?;
    let stand = town.bindings.all_there(&names, Duration::from_secs(20)).await;
    ensure!(stand.iter().all(Option::is_some), "no watch has shown all bindings");
    let left = town.expires_at(&names[0]).await? - lapse_cluster::clock::now();
    tokio::time::sleep(left.to_std().unwrap_or_default()).await;
    let started = Moment::now();
    controller.start()?;
    let gone = town.bindings.all_gone(&names, Duration::from_secs(90)).await;
    let mut after = Vec::new();
    for (name, gone) in names.iter().zip(gone) {
        let gone = gone.with_context(|| format!("{name} has not ended"))?;
        after.push(gone.ms_after(started));
    }
    let last = after.iter().copied().fold(f64::NAN, f64::max);
    let what = format!("a controller is started, {count} rights over → the last is gone");
    Ok(vec![
        Figure::new(&what, "ms", vec![last]).beside(
            &format!("{count} bindings deleted by a bare client, {AT_ONCE} at once"),
            vec![bare],
        ),
        Figure::new("the start → each gone", "ms", after),
    ])
}
