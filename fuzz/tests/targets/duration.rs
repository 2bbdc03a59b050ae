//! Durations, such as `1h30m`.

use lapse_crds::GrantDuration;
use serde_json::json;

fn check(bytes: &[u8]) {
    let Some(text) = crate::text(bytes) else { return };
    let read: Result<GrantDuration, _> = text.parse();
    let by_json: Result<GrantDuration, _> = serde_json::from_value(json!(text));
    assert_eq!(read.as_ref().ok(), by_json.as_ref().ok(), "it is the same in an object");
    match read {
        Ok(duration) => {
            assert!((1..=8760 * 3600).contains(&duration.seconds()));
            assert_eq!(duration.to_string().parse(), Ok(duration), "what is printed is read");
            assert_eq!(duration.delta().num_seconds(), i64::from(duration.seconds()));
        }
        Err(error) => assert!(error.to_string().contains("write whole hours")),
    }
}

#[test]
fn duration() {
    lapse_fuzz::fuzz!("duration", check);
}
