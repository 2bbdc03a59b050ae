//! Checks by Prometheus' own tool.

use lapse_tools::{Tool, Tools};

use super::command::{Answer, run};

/// Runs the pinned promtool with a text on its standard input. It is built at its first use.
///
/// # Errors
/// If it cannot be built or started.
pub async fn promtool(args: &[&str], input: Option<&str>) -> anyhow::Result<Answer> {
    let tools = Tools::promtool().await?;
    run(tools.path(Tool::Promtool), args, &[], input).await
}
