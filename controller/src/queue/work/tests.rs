use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::TimeDelta;
use lapse_cluster::clock;
use lapse_cluster::process::{Heartbeat, register_build_info};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::super::{Done, Lane};
use super::*;
use crate::error::ReconcileError;

/// Five hundred rights end where somebody's admission webhook hangs, and one elsewhere.
#[tokio::test(start_paused = true)]
async fn ends_that_hang_keep_no_other_from_its_place() {
    const LIMIT: Duration = Duration::from_secs(10);
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
        let sender = sender.clone();
        async move {
            if job.item.to_string() == "denied" {
                sender.send(()).unwrap();
                return Ok(Done::Until(None));
            }
            tokio::time::sleep(LIMIT).await;
            Err(ReconcileError::Unknown("no answer".to_owned()))
        }
    });
    tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
    for round in 0..3 {
        for number in 0..500 {
            queue.now(Item::Grant(format!("hangs-{number}")), Lane::End);
        }
        queue.now(Item::Grant("denied".to_owned()), Lane::End);
        let begun = Instant::now();
        done.recv().await.unwrap();
        let took = begun.elapsed();
        println!("behind 500 that hang: {took:?}");
        assert!(took < Duration::from_secs(4), "in round {round} it waited for {took:?}");
        tokio::time::sleep(LIMIT / 2).await;
    }
    stop.cancel();
    assert!(workers.finish(LIMIT).await, "what goes on beside is finished, too");
}

/// Nobody listens where the API server was, and each look at them fails at once. Then somebody does.
#[tokio::test(start_paused = true)]
async fn ends_that_fail_at_once_are_tried_at_a_pace_and_keep_no_other() {
    const ENDS: usize = 2000;
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
    let (tries, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let is_down = Arc::new(AtomicBool::new(true));
    let (sender, mut denied) = tokio::sync::mpsc::unbounded_channel();
    let (counted, known, down) = (tries.clone(), told.clone(), is_down.clone());
    let workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
        let is_denied = job.item.to_string() == "denied";
        let fails = !is_denied && down.load(Ordering::Relaxed);
        counted.fetch_add(usize::from(fails), Ordering::Relaxed);
        known.fetch_add(usize::from(!is_denied && !fails), Ordering::Relaxed);
        if is_denied {
            sender.send(()).unwrap();
        }
        async move {
            if fails {
                return Err(ReconcileError::Unknown("nobody listens".to_owned()));
            }
            Ok(Done::Until(None))
        }
    });
    tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
    for number in 0..ENDS {
        queue.now(Item::Grant(format!("over-{number}")), Lane::End);
    }
    for second in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        queue.now(Item::Grant("denied".to_owned()), Lane::End);
        let begun = Instant::now();
        denied.recv().await.unwrap();
        let took = begun.elapsed();
        assert!(took <= FAILS_FOR, "after {second} s it waited for {took:?}");
    }
    let tries = tries.load(Ordering::Relaxed);
    assert!((ENDS + 1000..ENDS + 4000).contains(&tries), "{tries} tries in 10 s");
    is_down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(told.load(Ordering::Relaxed), ENDS);
    drop(workers);
}

/// Rights that could not be given are tried again, in all of the places of giving, and hang. Somebody denies another, and
/// that fails once.
#[tokio::test(start_paused = true)]
async fn gives_that_hang_keep_no_end_from_its_place() {
    const LIMIT: Duration = Duration::from_secs(10);
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let has_failed = Arc::new(Mutex::new(HashSet::new()));
    let workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
        let name = job.item.to_string();
        let (sender, is_first) = (sender.clone(), has_failed.lock().unwrap().insert(name.clone()));
        async move {
            match &*name {
                _ if is_first => {}
                "denied" => {
                    sender.send(()).unwrap();
                    return Ok(Done::Until(None));
                }
                _ => tokio::time::sleep(LIMIT).await,
            }
            Err(ReconcileError::Unknown("no answer".to_owned()))
        }
    });
    tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
    for number in 0..2 * Pool::Give.places() {
        queue.now(Item::Grant(format!("given-{number}")), Lane::Give);
    }
    tokio::time::sleep(LIMIT / 5).await;
    queue.now(Item::Grant("denied".to_owned()), Lane::End);
    let begun = Instant::now();
    done.recv().await.unwrap();
    let took = begun.elapsed();
    assert!(took <= Duration::from_secs(1), "behind what is given it waited for {took:?}");
    drop(workers);
}

/// A policy changes that bears on thousands of rights, and what has to be looked up for that hangs. Somebody denies one.
#[tokio::test(start_paused = true)]
async fn looks_that_hang_keep_no_end_from_its_place() {
    const LIMIT: Duration = Duration::from_secs(10);
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
        let sender = sender.clone();
        async move {
            if job.lane == Lane::End {
                sender.send(()).unwrap();
                return Ok(Done::Until(None));
            }
            tokio::time::sleep(LIMIT).await;
            Ok(Done::UnsureUntil(clock::now() + TimeDelta::seconds(1)))
        }
    });
    tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
    for number in 0..3000 {
        queue.now(Item::Grant(format!("held-{number}")), Lane::Held);
    }
    for second in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        queue.now(Item::Grant("denied".to_owned()), Lane::End);
        let begun = Instant::now();
        done.recv().await.unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "after {second} s it waited for {took:?}");
    }
    drop(workers);
}

/// As while all policies are not known, say: each look fails at once, and each is repeated within a second.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_looked_for_at_a_pace_and_at_once_when_it_can_be() {
    const RIGHTS: usize = 2000;
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
    let (looks, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let is_down = Arc::new(AtomicBool::new(true));
    let (counted, known, hidden) = (looks.clone(), told.clone(), is_down.clone());
    let workers = queue.work(&metrics, &Work::default(), &stop, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let is_down = hidden.load(Ordering::Relaxed);
        known.fetch_add(usize::from(!is_down), Ordering::Relaxed);
        async move {
            Ok(if is_down {
                Done::UnsureUntil(clock::now() + TimeDelta::seconds(1))
            } else {
                Done::Until(None)
            })
        }
    });
    tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
    for number in 0..RIGHTS {
        queue.now(Item::Grant(format!("held-{number}")), Lane::Held);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let looks = looks.load(Ordering::Relaxed) - RIGHTS;
    assert!((500..=1100).contains(&looks), "{looks} looks in 10 s");
    is_down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(told.load(Ordering::Relaxed), RIGHTS, "each, within a moment");
    drop(workers);
}

/// Of two thousand rights it cannot be told whether they end, for a policy that cannot be read, say. Somebody denies one of
/// them, and something that must be looked up for that fails once.
#[tokio::test(start_paused = true)]
async fn a_deny_that_could_not_be_told_waits_behind_none_that_only_may_end() {
    const RIGHTS: usize = 2000;
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
        let (sender, lane) = (sender.clone(), job.lane);
        async move {
            if job.item.to_string() == "denied" && lane != Lane::End {
                sender.send(()).unwrap();
                return Ok(Done::Until(None));
            }
            Ok(Done::UnsureUntil(clock::now() + TimeDelta::seconds(1)))
        }
    });
    tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
    for number in 0..RIGHTS {
        queue.now(Item::Grant(format!("held-{number}")), Lane::Held);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    queue.now(Item::Grant("denied".to_owned()), Lane::End);
    let begun = Instant::now();
    done.recv().await.unwrap();
    let took = begun.elapsed();
    assert!(took <= Duration::from_secs(2), "it waited for {took:?}");
    drop(workers);
}

#[tokio::test]
async fn a_panic_is_counted_and_stops_no_other() {
    let mut registry = Registry::default();
    register_build_info(&mut registry);
    let metrics = Arc::new(Metrics::register(&mut registry));
    let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let mut workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
        let sender = sender.clone();
        async move {
            assert_ne!(job.item.to_string(), "odd", "a mistake");
            sender.send(job.item).unwrap();
            Ok(Done::Until(None))
        }
    });
    // More of them than there are places.
    for _ in 0..=Pool::End.places() {
        queue.now(Item::Grant("odd".to_owned()), Lane::End);
        queue.now(Item::Grant("fix".to_owned()), Lane::End);
        tokio::select! {
            item = done.recv() => assert_eq!(item, Some(Item::Grant("fix".to_owned()))),
            ended = workers.ended() => panic!("{ended}"),
        }
    }
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let counted = text.lines().find(|line| line.starts_with(r#"lapse_panics_total{kind="Grant"}"#));
    assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{text}");
}
