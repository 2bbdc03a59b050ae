//! Whether the admission objects of the chart stand as it has them. Nothing can refuse that somebody changes one or
//! takes it away, who may write admission policies: the API server calls neither webhooks nor policies for them. So
//! it is noticed.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use kube::Client;
use lapse_cluster::{CallError, standing_admission};
use lapse_engine::admission::{AdmissionFaults, ExpectedAdmission, faults};
use tracing::{error, info};

/// The admission objects that ought to stand, and what was last said of them.
pub(crate) struct Guards {
    expected: Vec<ExpectedAdmission>,
    told: AdmissionFaults,
}

impl Guards {
    /// Those that the chart wrote down in a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("reading admission objects {}", path.display()))?;
        let expected = serde_json::from_str(&text);
        let expected = expected.with_context(|| format!("admission objects {}", path.display()))?;
        Ok(Self { expected, told: AdmissionFaults::default() })
    }

    /// What is gone or changed. Says which, when that changes.
    pub(crate) async fn look(&mut self, client: &Client) -> Result<&AdmissionFaults, CallError> {
        let found = faults(&self.expected, &standing_admission(client).await?);
        if found != self.told {
            let AdmissionFaults { missing, changed } = &found;
            if found == AdmissionFaults::default() {
                info!("every admission policy stands again");
            } else {
                error!(
                    ?missing,
                    ?changed,
                    "admission is not as the chart has it: delete what is changed, and run helm upgrade"
                );
            }
            self.told = found;
        }
        Ok(&self.told)
    }
}
