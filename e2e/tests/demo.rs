//! The demo fails when anything did not happen as told, so running it is a test.

use lapse_e2e::plane::Origin;

#[tokio::test]
async fn the_story_is_true() {
    lapse_e2e::demo::run(Origin::Source)
        .await
        .unwrap_or_else(|error| std::panic::panic_any(format!("{error:#}")));
}
