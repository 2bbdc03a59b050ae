//! Orders: a Grant that gives a right on a host is signed, once it was confirmed that the engine would write it.

use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::Request;
use crate::{confine, stamp};

/// Signs a Grant that is made, if it gives a right on a host: nothing else than what the engine would write is.
///
/// The same is confirmed again when all that changes objects has had its turn, and the signature with it.
pub(crate) async fn order(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    confine::order(admission, request).await?;
    // Whoever collects signatures by dry runs would have orders that nobody ever sees: those are not signed.
    let patch = stamp::sign_as_it_is(request, &*admission.keys()?)?;
    Ok(Admitted { patch: Some(patch), done: "ordered", ..Admitted::default() })
}
