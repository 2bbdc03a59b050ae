//! Measures the whole product on a real control plane, beside a bare client that makes the same writes.

mod bare;
mod cases;
mod figure;
mod gateway;
mod machine;
mod options;
mod process;
mod report;
mod run;
mod seed;
mod seen;
mod setting;
mod stencil;
mod store;
mod town;

pub use options::Options;
pub use run::run;
pub use setting::Size;
