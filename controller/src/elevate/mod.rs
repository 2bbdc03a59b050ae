//! How a right of one kind of target is given, taken and looked at, one file for each kind; and how what was
//! started under it is stopped.

mod delete_by_uid;
pub(crate) mod kubernetes;
pub(crate) mod started;
