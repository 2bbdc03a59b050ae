//! Stamping: who asks or decides is written into the object, and what was stamped is signed.

mod around;
mod case;
mod decision;
mod draft;
mod request;
mod review;

pub(crate) use around::holds_verb;
pub(crate) use case::check_name;
pub(crate) use decision::decision;
pub(crate) use request::request;
