//! Says what a host with Windows or macOS can do. It is no agent: it gives and ends nothing.

use std::process::ExitCode;

use lapse_platforms::host::Probe;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments != ["probe"] {
        eprintln!("usage: lapse-agent-platform probe");
        return ExitCode::from(2);
    }
    match probe() {
        Ok(found) => {
            print!("{found}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(windows)]
fn probe() -> Result<Probe, String> {
    use lapse_platforms::files::HostFiles;
    use lapse_platforms::host::Host as _;
    use lapse_platforms::tools::HostTools;
    use lapse_platforms::windows::Windows;
    use lapse_platforms::windows::here::{HostCalls, folders};

    let (system, _) = folders().map_err(|error| error.to_string())?;
    let windows = Windows {
        calls: &HostCalls,
        tools: &HostTools,
        files: &HostFiles,
        system: system.into(),
        // Nothing is written, and nothing is started.
        folder: std::env::temp_dir(),
        program: String::new(),
    };
    Ok(windows.probe())
}

#[cfg(target_os = "macos")]
#[expect(clippy::unnecessary_wraps, reason = "on other platforms it may fail")]
fn probe() -> Result<Probe, String> {
    use lapse_platforms::files::HostFiles;
    use lapse_platforms::host::Host as _;
    use lapse_platforms::macos::Mac;
    use lapse_platforms::tools::HostTools;

    let folder = "/Library/LaunchDaemons".into();
    let mac = Mac { tools: &HostTools, files: &HostFiles, folder, program: String::new() };
    Ok(mac.probe())
}

#[cfg(not(any(windows, target_os = "macos")))]
fn probe() -> Result<Probe, String> {
    Err("this program is for Windows and macOS; on Linux call lapse-agent probe".to_owned())
}
