//! Builds all that the tests start and that is built in Go, so that no test waits for it: CI runs this while the tests compile.

use lapse_tools::Tools;

#[tokio::test]
async fn all_programs_of_the_tests_are_built() {
    Tools::everything().await.unwrap();
}
