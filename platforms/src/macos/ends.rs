//! What launchd runs: the agent, and for each order a job by which it ends, whether the agent lives or not. The calendar of
//! launchd is that of the host's own time zone, and makes up for no start that was missed while the host was off. So the job looks
//! every half a minute, and at each start of the host, whether the order is over by any clock.

use std::path::{Path, PathBuf};

use crate::files::{self, Files};
use crate::order::OrderId;
use crate::tools::{Tools, succeed};
use crate::xml::escape;

const LAUNCHCTL: &str = "/bin/launchctl";
/// What the agent is called.
pub const AGENT: &str = "dev.lapse.agent";
/// How often an order is looked at, in seconds.
const PACE: u32 = 30;
/// Everybody may read it; launchd takes none that others than root may write.
const MODE: u32 = 0o644;

/// What the job of an order is called.
#[must_use]
pub fn label(id: &OrderId) -> String {
    format!("dev.lapse.end.{id}")
}

/// The property list of the agent: it starts with the host, and again when it ends.
#[must_use]
pub fn agent_text(program: &str) -> String {
    text(AGENT, &[program, "serve"], "\t<key>KeepAlive</key>\n\t<true/>\n")
}

/// The property list of the job by which an order ends.
#[must_use]
pub fn end_text(id: &OrderId, program: &str) -> String {
    let when = format!("\t<key>StartInterval</key>\n\t<integer>{PACE}</integer>\n");
    text(&label(id), &[program, "expire", &id.to_string()], &when)
}

fn text(label: &str, arguments: &[&str], more: &str) -> String {
    let lines = arguments.iter().map(|text| format!("\t\t<string>{}</string>\n", escape(text)));
    let arguments = lines.collect::<Vec<_>>().concat();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>{label}</string>
	<key>ProgramArguments</key>
	<array>
{arguments}	</array>
	<key>RunAtLoad</key>
	<true/>
{more}</dict>
</plist>
"#,
        label = escape(label)
    )
}

/// What launchd has of orders.
pub(super) struct Jobs<'a> {
    pub(super) tools: &'a dyn Tools,
    pub(super) files: &'a dyn Files,
    /// Where launchd reads the jobs of the host.
    pub(super) folder: &'a Path,
}

impl Jobs<'_> {
    fn path(&self, id: &OrderId) -> PathBuf {
        self.folder.join(format!("{}.plist", label(id)))
    }

    fn is_loaded(&self, id: &OrderId) -> Result<bool, String> {
        let target = format!("system/{}", label(id));
        let ended = self.tools.run(Path::new(LAUNCHCTL), &["print", &target], "");
        Ok(ended.map_err(|error| format!("looking for the job {target}: {error}"))?.is_ok())
    }

    fn unload(&self, id: &OrderId) -> Result<(), String> {
        let target = format!("system/{}", label(id));
        // One that is not there cannot be, which is no harm.
        let ended = self.tools.run(Path::new(LAUNCHCTL), &["bootout", &target], "");
        ended.map(drop).map_err(|error| format!("removing the job {target}: {error}"))
    }

    /// Has launchd look at an order. What it does already is not done again: it would end the program that this may be.
    pub(super) fn arm(&self, id: &OrderId, program: &str) -> Result<(), String> {
        let (path, text) = (self.path(id), end_text(id, program));
        let found = files::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let is_written = found.as_deref() == Some(text.as_bytes());
        if is_written && self.is_loaded(id)? {
            return Ok(());
        }
        self.unload(id)?;
        let written = self.files.replace(&path, text.as_bytes(), MODE);
        written.map_err(|error| format!("writing {}: {error}", path.display()))?;
        let (what, file) = (format!("starting the job {}", label(id)), path.display().to_string());
        let call = (Path::new(LAUNCHCTL), &["bootstrap", "system", &file][..]);
        succeed(self.tools, &what, call, "")?;
        let is_loaded = self.is_loaded(id)?;
        is_loaded.then_some(()).ok_or_else(|| format!("{what}: it is not there all the same"))
    }

    /// Has launchd look at it no more. The file goes first: that the job goes may end the program that this is.
    pub(super) fn disarm(&self, id: &OrderId) -> Result<(), String> {
        let path = self.path(id);
        let removed = self.files.remove(&path);
        removed.map_err(|error| format!("removing {}: {error}", path.display()))?;
        self.unload(id)?;
        let is_loaded = self.is_loaded(id)?;
        (!is_loaded).then_some(()).ok_or_else(|| format!("the job {} is still there", label(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_of_an_order_looks_at_each_start_and_every_half_a_minute() {
        let id = OrderId::read(&"a".repeat(32)).unwrap();
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>dev.lapse.end.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</string>
	<key>ProgramArguments</key>
	<array>
		<string>/Library/R&amp;D/lapse-agent</string>
		<string>expire</string>
		<string>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>StartInterval</key>
	<integer>30</integer>
</dict>
</plist>
"#;
        assert_eq!(end_text(&id, "/Library/R&D/lapse-agent"), expected);
    }

    #[test]
    fn the_agent_starts_with_the_host_and_again() {
        let text = agent_text("/Library/PrivilegedHelperTools/dev.lapse.agent");
        assert!(text.contains("<key>Label</key>\n\t<string>dev.lapse.agent</string>"), "{text}");
        assert!(text.contains("\t<key>RunAtLoad</key>\n\t<true/>\n"), "{text}");
        assert!(text.contains("\t<key>KeepAlive</key>\n\t<true/>\n"), "{text}");
        assert!(text.contains("\t\t<string>serve</string>\n\t</array>"), "{text}");
    }
}
