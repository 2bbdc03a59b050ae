//! A host that was taken over and asks on and on: what it takes from the cluster, and so from other hosts.

use std::time::Instant;

use lapse_wire::{Withdraw, from_agent};

use super::ADMIN;
use super::asked::{answered, ended_there, host, world};

/// How much of a host is carried at once, and how much more each second.
const AT_ONCE: f64 = 20.0;
const EACH_SECOND: f64 = 0.1;

/// How much it may say is of the host, and not of each of its connections.
#[tokio::test]
async fn a_host_that_connects_again_says_no_more_than_before() {
    let world = world().await;
    let (mut agent, _before) = host(&world).await;
    agent.asks = true;
    // Each of these costs the cluster a call, by which it is refused.
    let end = serde_json::to_string(&ended_there(&agent, "al", "nothing")).unwrap();
    let end = from_agent::Message::Withdraw(Withdraw { json: end });
    let (began, mut carried) = (Instant::now(), 0_u32);
    for _ in 0..2 {
        let mut attached = agent.attach(&ADMIN).await.unwrap();
        attached.carries_to().await.unwrap();
        for _ in 0..30 {
            let answer = answered(&mut attached, end.clone()).await;
            carried += u32::from(!answer.error.contains("too much is requested"));
        }
    }
    let most = AT_ONCE + EACH_SECOND * began.elapsed().as_secs_f64();
    assert!(f64::from(carried) <= most, "{carried} were carried, and at most {most} may be");
    assert!(f64::from(carried) >= AT_ONCE, "{carried} were carried");
}
