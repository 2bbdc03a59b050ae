//! From a connection to an answer.

mod check;
mod http;
mod listen;
mod tls;

pub(crate) use check::check;
#[cfg(test)]
pub(crate) use http::router_of_nobody;
pub(crate) use listen::serve;
pub(crate) use tls::tls_config;

#[cfg(test)]
mod tests;
