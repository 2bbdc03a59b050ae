//! One thing after the other, with nothing else going on.

use anyhow::Result;
use serde_json::json;

use super::super::bare;
use super::super::figure::{Figure, Part, Reach};
use super::super::seen::Moment;
use super::super::setting::Setting;
use super::super::town::{LIMIT, Town, decide, names};

const PLAIN_WRITE: &str = "a config map's create sent → seen";
const PLAIN_DELETE: &str = "a config map's delete sent → seen";

/// From the approver's call to the binding; and the call itself.
pub(super) async fn approval(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    let (mut bound, mut calls, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for name in names("single", setting.size.of(100)) {
        town.pending(&name, "1h").await?;
        town.pause().await;
        plain.push(bare::create(&town, &name).await?);
        town.pause().await;
        let (sent, answered) = town.approve(&name).await?;
        bound.push(town.bindings.there(&name, LIMIT).await?.ms_after(sent));
        calls.push(answered.ms_after(sent));
        // What follows is not to be waited for by the next.
        town.decide(&name, &json!({"verdict": "Deny"})).await?;
        town.requests.in_state(&name, "Ended", LIMIT).await?;
    }
    let plain_calls = plain.iter().map(|plain| plain.call).collect();
    let plain_seen = plain.iter().map(|plain| plain.seen).collect();
    Ok(vec![
        Figure::new("approver's call sent → binding seen", "ms", bound)
            .beside(PLAIN_WRITE, plain_seen)
            .reach(Part::P50, Reach::Times(7.0)),
        Figure::new("the approver's call itself", "ms", calls)
            .beside("a config map's create, answered", plain_calls)
            .reach(Part::P50, Reach::Times(2.5)),
    ])
}

/// From a Deny to the binding gone.
pub(super) async fn deny(setting: &Setting) -> Result<Vec<Figure>> {
    taken_back(setting, "Deny").await
}

/// From an End to the binding gone.
pub(super) async fn end(setting: &Setting) -> Result<Vec<Figure>> {
    taken_back(setting, "End").await
}

async fn taken_back(setting: &Setting, verdict: &str) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    let (mut gone, mut plain) = (Vec::new(), Vec::new());
    for name in names("single", setting.size.of(100)) {
        town.given(&name, "1h").await?;
        town.requests.in_state(&name, "Active", LIMIT).await?;
        bare::create(&town, &name).await?;
        town.pause().await;
        plain.push(bare::delete(&town, &name).await?.seen);
        town.pause().await;
        // Requests are made by the first of the people.
        let who = if verdict == "End" { &town.people[0] } else { &town.boss };
        let (sent, _) = decide(who, &name, &json!({"verdict": verdict})).await?;
        gone.push(town.bindings.gone(&name, LIMIT).await?.ms_after(sent));
        town.requests.in_state(&name, "Ended", LIMIT).await?;
    }
    Ok(vec![
        Figure::new(&format!("call of {verdict} sent → binding gone"), "ms", gone)
            .beside(PLAIN_DELETE, plain)
            .reach(Part::P50, Reach::Times(5.0)),
    ])
}

/// From `expiresAt` to the binding gone.
pub(super) async fn expiry(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    let (mut late, mut plain) = (Vec::new(), Vec::new());
    for name in names("single", setting.size.of(100)) {
        town.given(&name, "1s").await?;
        bare::create(&town, &name).await?;
        plain.push(bare::delete(&town, &name).await?.seen);
        let gone = town.bindings.gone(&name, LIMIT).await?;
        late.push(lateness(&town, &name, gone).await?);
    }
    Ok(vec![
        Figure::new("expiresAt → binding gone", "ms", late)
            .beside(PLAIN_DELETE, plain)
            .reach(Part::P99, Reach::AtMost(30.0)),
    ])
}

/// How long after its time a right was seen to be gone, in milliseconds.
pub(super) async fn lateness(town: &Town, name: &str, gone: Moment) -> Result<f64> {
    let late = gone.wall - town.expires_at(name).await?;
    Ok(late.as_seconds_f64() * 1000.0)
}
