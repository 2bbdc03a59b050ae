//! The calls of Windows that Lapse makes, each as a safe function. Nothing here decides anything.
//!
//! This crate alone has unsafe code. On every other system it is empty.

#![cfg(windows)]

pub mod accounts;
pub mod failure;
pub mod files;
pub mod jobs;
pub mod security;
pub mod service;
pub mod sessions;
pub mod system;
mod text;
