//! A short random run. `CONTRIBUTING.md` names the command for a long one.

use clap::Parser as _;
use lapse_e2e::chaos::{self, Options};

/// The same things at the same times in each run: looking for others is what the command is for. Beside other tests ends
/// come later than by themselves.
#[tokio::test]
async fn whatever_happens_the_bindings_are_those_of_live_grants() {
    let options = ["chaos", "--seconds", "20", "--seed", "1", "--margin", "15000"];
    chaos::run(Options::parse_from(options)).await.unwrap();
}
