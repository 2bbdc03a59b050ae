//! Validating: what will be stored is what was stamped, and policies can work.

mod approvers;
mod ends;
mod policy;
mod signed;

pub(crate) use ends::deletion;
pub(crate) use policy::policy;
pub(crate) use signed::signed;
