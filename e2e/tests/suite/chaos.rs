//! A short random run. `CONTRIBUTING.md` names the command for a long one.

use clap::Parser as _;
use lapse_e2e::chaos::{self, Options};

/// On another seed each time: what it finds is printed with it. Beside other tests ends come later than by themselves.
#[tokio::test]
async fn whatever_happens_the_bindings_are_those_of_live_grants() {
    let options = Options::parse_from(["chaos", "--seconds", "20", "--margin", "5000"]);
    chaos::run(options).await.unwrap();
}
