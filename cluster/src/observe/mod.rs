//! What the engine decides from: single objects read live and in parallel, the rest from the index. Both programs look in the same way: the
//! controller before it gives, the webhook before it lets the controller give.

mod grant;
mod request;
mod said;

/// Why it could not be told how something stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// It could not be read, in words.
    #[error("{0}")]
    Unread(String),
    /// Another object has its name by now.
    #[error("{0} was made anew")]
    MadeAnew(String),
}
