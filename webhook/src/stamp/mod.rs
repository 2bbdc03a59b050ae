//! Stamping: who asks or decides is written into the object, and what was stamped is signed.

mod allows;
mod alone;
mod around;
mod carried;
mod case;
mod decision;
mod draft;
mod offers;
mod opened;
mod origin;
mod request;
mod review;

pub(crate) use around::holds_verb;
pub(crate) use decision::decision;
pub(crate) use draft::sign_as_it_is;
pub(crate) use opened::check_name;
pub(crate) use request::request;
