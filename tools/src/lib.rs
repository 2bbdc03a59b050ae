//! What the control plane of the tests, the demo and the playground is made of: found, downloaded or built.
//!
//! It is a package of its own, with few dependencies, so that `cargo demo` starts to build the programs in Go while those in
//! Rust still compile.

mod address;
mod archive;
mod download;
mod go;
pub mod launch;
mod lock;
mod module;
mod origin;
pub mod programs;
mod progress;
mod tail;
mod tool;
mod tools;
mod unpack;
pub mod workspace;

pub use self::lock::lock;
pub use self::origin::Origin;
pub use self::progress::{Jobs, line};
pub use self::tool::Tool;
pub use self::tools::{Tools, link};
