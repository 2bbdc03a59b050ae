//! A real control plane and real hosts as a library, and on them the benchmarks, the demo, the playground and the end-to-end tests.

pub mod audit;
pub mod bench;
pub mod chaos;
pub mod chart_docs;
pub mod demo;
pub mod host;
pub mod node;
pub mod plane;
pub mod playground;
