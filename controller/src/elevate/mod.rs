//! How a right of one kind of target is given, taken and looked at. One file for each kind.

pub(crate) mod kubernetes;
