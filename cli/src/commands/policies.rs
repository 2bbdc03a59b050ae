//! What policies offer whoever asks.

use anstream::eprintln;

use crate::args::Format;
use crate::fault::Fault;
use crate::offers;
use crate::output::{Table, plain, say, whole};
use crate::session::Session;

pub(super) async fn run(session: &Session, format: Option<Format>) -> Result<(), Fault> {
    let told = offers::to_me(session).await?;
    match format {
        Some(Format::Name) => {
            return told
                .offers
                .iter()
                .try_for_each(|offered| say(&format!("jitpolicy.lapse.dev/{}", offered.policy)));
        }
        Some(format @ (Format::Json | Format::Yaml)) => return whole(&told, format),
        Some(Format::Wide | Format::Csv) | None => {}
    }
    if told.offers.is_empty() {
        eprintln!(
            "No policy offers you anything. Ask the owners of the policies which group you should be in."
        );
        return Ok(());
    }
    let is_wide = format == Some(Format::Wide);
    let mut header = vec!["POLICY", "OFFERS", "FOR", "APPROVAL"];
    if is_wide {
        header.extend(["EMERGENCY", "REASON", "TICKET", "PRIORITY"]);
    }
    let mut table = Table::new(&header);
    for offered in &told.offers {
        for (place, target) in offered.targets.iter().enumerate() {
            let once = |text: String| if place == 0 { text } else { String::new() };
            let mut row = vec![once(offered.policy.clone()), plain(target)];
            row.extend([once(offered.how_long()), once(plain(&offered.approval))]);
            if is_wide {
                let required = |is_required| if is_required { "required" } else { "" }.to_owned();
                let emergency = offered.emergency.map(|most| format!("up to {most}"));
                row.extend([
                    once(emergency.unwrap_or_default()),
                    once(required(offered.reason_required)),
                    once(required(offered.ticket_required)),
                    once(offered.priority.to_string()),
                ]);
            }
            table.row(row);
        }
    }
    table.print()?;
    if told.omitted > 0 {
        eprintln!("There are {} more, for which the answer has no room.", told.omitted);
    }
    Ok(())
}
