//! End to end, on one control plane that the tests share: the chart by the real Helm, real people with
//! certificates, and the programs under the chart's service accounts. What came out is checked by what
//! people can and cannot do.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod applying;
mod approval;
mod attacks;
mod beside;
mod chaos;
mod chart;
mod cli;
mod columns;
mod crash;
mod deletion;
mod disguised;
mod documents;
mod duties;
mod emergency;
mod ends;
mod entered;
mod events;
mod examples;
mod extension;
mod faults;
mod flow;
mod gitops;
mod guard;
mod hardened;
mod hosts;
mod impersonation;
mod late;
mod least;
mod lifecycle;
mod many;
mod messages;
mod metrics;
mod monitoring;
mod not_installed;
mod older;
mod omitted;
mod poison;
mod policies;
mod rbac;
mod rendered;
mod reserved;
mod retention;
mod rights;
mod rules;
mod servers;
mod silence;
mod size;
mod stages;
mod started;
mod stolen;
mod told;
mod too_old;
mod traces;
mod tutorial;
mod unallowed;
mod uninstall;
mod upgraded;
mod waiting;
mod warnings;
mod ways;
mod widened;
mod world;
