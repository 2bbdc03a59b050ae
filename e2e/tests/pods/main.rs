//! The chart as pods on real nodes. The tests share one cluster and take turns, for there is one Lapse in a cluster.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::expect_used, reason = "it says which expectation of a test failed")]

mod image;
mod installed;
mod left;
mod releases;
mod spread;
mod started;
mod streams;
mod town;
