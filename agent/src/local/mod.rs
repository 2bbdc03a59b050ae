//! People on the host: the agent's socket, on which everybody may ask what they hold and end it.
//!
//! - [`protocol`]: what is said. Pure, and the client's, too.
//! - [`server`]: who may come in, and how many at once ([`slots`]); [`peers`]: who they are; [`shed`]: how the others are
//!   turned away. [`line`](mod@line): one line in, and out, in bounded time.
//! - [`desk`]: what is answered; `wanted`: which of what is theirs somebody means. What changes something goes through the worker, which is never waited for in its own thread.

pub mod desk;
#[cfg(test)]
mod fuzz;
pub mod held;
pub mod line;
pub mod peers;
pub mod protocol;
pub mod server;
mod shed;
pub mod slots;
mod wanted;
