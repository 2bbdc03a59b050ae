//! What is known of people while they hold a right.

mod marker;

pub use marker::{mark, marker_role};
