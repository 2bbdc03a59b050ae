//! What becomes of a grant: given once, taken back whatever happens, and what can never happen.

mod activation;
mod columns;
mod drift;
mod ending;
mod host;
mod marker;
mod over;
mod properties;
mod review;
mod started;
