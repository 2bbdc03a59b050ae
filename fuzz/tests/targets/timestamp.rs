//! Times, such as `2026-11-21T12:00:00Z`.

use chrono::Datelike as _;
use lapse_crds::Timestamp;
use serde_json::json;

fn check(bytes: &[u8]) {
    let Some(text) = crate::text(bytes) else { return };
    let Ok(read) = serde_json::from_value::<Timestamp>(json!(text)) else { return };
    let printed = read.to_string();
    assert_eq!(serde_json::from_value::<Timestamp>(json!(printed)).unwrap(), read);
    // What the API server stores of it, and takes back in a status.
    assert!((0..=9999).contains(&read.time().year()), "{printed}");
    assert_eq!(printed.len(), "2026-11-21T12:00:00.000000Z".len());
    assert_eq!(Timestamp::new(read.time()), read);
}

#[test]
fn timestamp() {
    lapse_fuzz::fuzz!("timestamp", check);
}
