//! Validating: what will be stored is what was stamped, and policies can work.

mod policy;
mod signed;

pub(crate) use policy::policy;
pub(crate) use signed::signed;
