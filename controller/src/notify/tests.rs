//! Events where the store of events hangs, fails or refuses.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lapse_crds::JitPolicy;
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::fake::{api_server, refusal};

fn notice(reason: &str) -> Notice {
    Notice { warning: false, reason: reason.to_owned(), message: String::new() }
}

fn about() -> JitPolicy {
    serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "shop", "uid": "u"},
        "spec": {"requesters": [], "targets": []},
    }))
    .unwrap()
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_nobody_up_and_takes_no_more_than_its_bound() {
    let client = api_server(|_| std::future::pending());
    let dropped = Counter::default();
    let (notifier, writers) = Notifier::new(client, "test", dropped.clone());
    tokio::spawn(writers.run());
    let begun = Instant::now();
    let before = tokio::time::Instant::now();
    for number in 0..WAITING + AT_ONCE + 100 {
        notifier.tell(&about(), &notice(&format!("Reason{number}")), now());
    }
    assert_eq!((begun.elapsed(), before.elapsed()), (Duration::ZERO, Duration::ZERO));
    assert!(dropped.get() >= 100, "{}", dropped.get());
    assert!(notifier.shared.pending().len() <= WAITING + AT_ONCE);
    timeout(Duration::from_hours(2), notifier.finish()).await.expect("each is given up in the end");
    assert_eq!(dropped.get(), u64::try_from(WAITING + AT_ONCE + 100).unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_and_what_is_told_twice_is_written_once() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let client = api_server(move |_| {
        let number = count.fetch_add(1, SeqCst);
        async move {
            match number {
                0 => refusal(429, "TooManyRequests"),
                1 => (201, json!({"metadata": {}, "eventTime": null})),
                _ => refusal(403, "Forbidden"),
            }
        }
    });
    let dropped = Counter::default();
    let (notifier, writers) = Notifier::new(client, "test", dropped.clone());
    tokio::spawn(writers.run());
    notifier.tell(&about(), &notice("Granted"), now());
    notifier.tell(&about(), &notice("Granted"), now());
    timeout(Duration::from_mins(1), notifier.finish()).await.unwrap();
    assert_eq!((asked.load(SeqCst), dropped.get()), (2, 0));
    // What is refused is not tried again, and whoever has it told may.
    let telling = notifier.tell_once("overdue", about().object_ref(&()), &notice("Ended"), now());
    assert!(!telling.was_dropped());
    timeout(Duration::from_mins(1), notifier.finish()).await.unwrap();
    assert_eq!((asked.load(SeqCst), dropped.get()), (3, 1));
    assert!(telling.was_dropped());
}
