//! The demo fails when anything did not happen as told, so running it is a test.

#[tokio::test]
async fn the_story_is_true() {
    lapse_e2e::demo::run()
        .await
        .unwrap_or_else(|error| std::panic::panic_any(format!("{error:#}")));
}
