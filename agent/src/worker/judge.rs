//! What an order that is believed comes to.

use lapse_engine::order::VerifiedOrder;
use tracing::warn;

use crate::activity::under_of;
use crate::asked::Asked;
use crate::clock::Reading;
use crate::hands::Hands;
use crate::record::Record;
use crate::requests::refusal;
use crate::right::right_of;

/// What a verified order is on this host.
pub(super) fn judge(hands: &Hands, order: &VerifiedOrder, now: &Reading) -> Record {
    let (grant, uid) = (order.grant.clone(), order.spec.request.uid.clone());
    let asked = Asked::of(&order.spec);
    let right = right_of(hands.places(), order, now).map_err(|error| error.to_string());
    let right = right.and_then(|right| match refusal(hands.places(), &asked.request, right.uid) {
        None => Ok(right),
        Some(why) => Err(why.to_owned()),
    });
    let asked = Some(asked);
    match right {
        Ok(right) => {
            let under = Some(under_of(order));
            Record { under, asked, ..Record::received(grant, uid, right, now) }
        }
        Err(why) => {
            warn!(grant, why, "an order gives nothing here");
            Record { asked, ..Record::over(grant, uid, Some(why), now) }
        }
    }
}
