//! What can be measured.

mod burst;
mod cli;
mod failover;
mod faults;
mod flood;
mod host;
mod live;
mod mass;
mod past;
mod rest;
mod single;
mod writes;

use anyhow::Result;
use clap::ValueEnum;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use super::figure::Figure;
use super::setting::Setting;

/// Something that can be measured, on a control plane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// One approval after the other.
    Approval,
    /// One Deny after the other.
    Deny,
    /// One End after the other.
    End,
    /// One expiry after the other.
    Expiry,
    /// What the controller writes.
    Writes,
    /// A list by `kubectl jit`.
    Cli,
    /// Many approvals at once.
    Burst,
    /// Fewer, by forty people.
    Burst400,
    /// Ends while many approvals are carried out.
    BusyEnds,
    /// Many ends in one instant.
    MassExpiry,
    /// Many ends in one instant, while the API server throttles.
    ThrottledExpiry,
    /// Many ends while no controller runs.
    DownExpiry,
    /// A leader that dies.
    Failover,
    /// Ends under each fault.
    Faults,
    /// Memory at rest.
    Rest,
    /// Many rights held.
    Live,
    /// Many rights over.
    Past,
    /// Requests as large as is let through.
    Flood,
    /// The gateway with many agents.
    Gateway,
    /// A right on a real host.
    Host,
}

impl Case {
    /// All of them, in the order in which they run.
    pub(super) const ALL: [Self; 20] = [
        Self::Approval,
        Self::Deny,
        Self::End,
        Self::Expiry,
        Self::Writes,
        Self::Cli,
        Self::Burst,
        Self::Burst400,
        Self::BusyEnds,
        Self::MassExpiry,
        Self::ThrottledExpiry,
        Self::DownExpiry,
        Self::Failover,
        Self::Faults,
        Self::Rest,
        Self::Live,
        Self::Past,
        Self::Flood,
        Self::Gateway,
        Self::Host,
    ];

    /// Those that were named, in the order in which they run; all if none was.
    pub(super) fn chosen(named: &[Self]) -> Vec<Self> {
        let is_chosen = |case: &Self| named.is_empty() || named.contains(case);
        Self::ALL.into_iter().filter(is_chosen).collect()
    }

    /// The name on the command line and in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Deny => "deny",
            Self::End => "end",
            Self::Expiry => "expiry",
            Self::Writes => "writes",
            Self::Cli => "cli",
            Self::Burst => "burst",
            Self::Burst400 => "burst400",
            Self::BusyEnds => "busy-ends",
            Self::MassExpiry => "mass-expiry",
            Self::ThrottledExpiry => "throttled-expiry",
            Self::DownExpiry => "down-expiry",
            Self::Failover => "failover",
            Self::Faults => "faults",
            Self::Rest => "rest",
            Self::Live => "live",
            Self::Past => "past",
            Self::Flood => "flood",
            Self::Gateway => "gateway",
            Self::Host => "host",
        }
    }

    /// What it measures.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Approval => {
                "an approver's call sent → binding seen, and the call itself; one after the other"
            }
            Self::Deny => "a Deny's call sent → binding gone",
            Self::End => "the requester's End's call sent → binding gone",
            Self::Expiry => "expiresAt → binding gone, one after the other",
            Self::Writes => "what the controller writes in a lifecycle, events apart",
            Self::Cli => "kubectl jit list and kubectl get accessrequests, start → first output",
            Self::Burst => "1,000 approvals at once → the last binding stands",
            Self::Burst400 => {
                "400 approvals of 40 people's requests at once → the last binding stands"
            }
            Self::BusyEnds => "how late rights end while 400 approvals are carried out",
            Self::MassExpiry => "1,000 rights end in one instant → the last binding is gone",
            Self::ThrottledExpiry => {
                "1,000 rights end in one instant while the API server throttles, beside the same without"
            }
            Self::DownExpiry => {
                "1,000 rights end while no controller runs: one is started → the last binding is gone"
            }
            Self::Faults => "how late rights end under each fault, beside the same without",
            Self::Failover => "how late a right ends when the leader of two is killed just before",
            Self::Rest => "memory with nothing going on",
            Self::Live => {
                "10,000 rights held and nothing going on: memory, writes, lists, share of a core, a sweep"
            }
            Self::Past => {
                "100,000 rights over, 1,000 held: start, memory, approvals, the sweep job; 1,000 policies"
            }
            Self::Flood => {
                "one requester stores 800 requests as large as is let through: others' approvals, memory"
            }
            Self::Gateway => {
                "10,000 agents connected: memory, share of a core, 1,000 orders, a restart"
            }
            Self::Host => {
                "a right on a real host, which takes root: given, ended, and what it costs the host"
            }
        }
    }

    /// Measures it. What was measured before something went wrong is among the figures.
    pub(super) async fn run(self, setting: &Setting, figures: &mut Vec<Figure>) -> Result<()> {
        let measuring: LocalBoxFuture<'_, Result<Vec<Figure>>> = match self {
            Self::Past => return past::run(setting, figures).await,
            Self::Flood => return flood::run(setting, figures).await,
            Self::Faults => return faults::run(setting, figures).await,
            Self::Gateway => return super::gateway::run(setting, figures).await,
            Self::Approval => single::approval(setting).boxed_local(),
            Self::Deny => single::deny(setting).boxed_local(),
            Self::End => single::end(setting).boxed_local(),
            Self::Expiry => single::expiry(setting).boxed_local(),
            Self::Writes => writes::run(setting).boxed_local(),
            Self::Cli => cli::run(setting).boxed_local(),
            Self::Burst => burst::run(setting, 1000).boxed_local(),
            Self::Burst400 => burst::run(setting, 400).boxed_local(),
            Self::BusyEnds => burst::busy_ends(setting).boxed_local(),
            Self::MassExpiry => mass::expiry(setting).boxed_local(),
            Self::ThrottledExpiry => mass::throttled(setting).boxed_local(),
            Self::DownExpiry => mass::down(setting).boxed_local(),
            Self::Failover => failover::run(setting).boxed_local(),
            Self::Rest => rest::run(setting).boxed_local(),
            Self::Live => live::run(setting).boxed_local(),
            Self::Host => host::run(setting).boxed_local(),
        };
        figures.extend(measuring.await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_known_by_the_name_that_it_reports() {
        for case in Case::value_variants() {
            let named = case.to_possible_value().unwrap();
            assert_eq!(named.get_name(), case.name());
            assert!(Case::ALL.contains(case), "{case:?}");
        }
        assert_eq!(Case::chosen(&[Case::End, Case::Deny]), [Case::Deny, Case::End]);
    }
}
