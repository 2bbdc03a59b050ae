//! An application: one program as root, with exactly the arguments and the environment that were approved, in a unit of its
//! own. Its holder asks for it on the socket, and hands over what it reads and writes; nothing of that goes through the agent.
//!
//! - [`handed`]: what was handed over. [`room`]: how many run at once.
//! - [`start`]: has systemd start a unit, and waits for its end or for its holder to hang up.
//! - [`inside`]: what runs in the unit. It looks whether it may once it is where an end kills it: an end first says that
//!   nothing may start, and then kills what is there. So it is seen by the end, or sees it; nobody waits for a lock.
//! - [`held`]: which right it is, and whether it is in force.

pub mod handed;
pub mod held;
pub mod inside;
pub mod room;
pub mod start;
