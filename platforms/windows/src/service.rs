//! A service, as the manager of services knows it.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use windows_service::service::{
    ServiceAccess, ServiceAction, ServiceActionType, ServiceControl, ServiceControlAccept,
    ServiceErrorControl, ServiceExitCode, ServiceFailureActions, ServiceFailureResetPeriod,
    ServiceInfo, ServiceStartType, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{Result, define_windows_service, service_dispatcher};

/// What a service is.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// Its name.
    pub name: &'a str,
    /// What people see.
    pub display_name: &'a str,
    /// What it does, in words.
    pub description: &'a str,
    /// The program.
    pub program: &'a Path,
    /// How it is called.
    pub arguments: &'a [&'a str],
    /// After how long it is started again when it has ended by itself.
    pub restarts_after: Duration,
    /// After how long without that an earlier end counts no more.
    pub forgets_after: Duration,
}

/// Registers a service that starts with Windows, as the system.
pub fn install(service: &Service<'_>) -> Result<()> {
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&str>, access)?;
    let info = ServiceInfo {
        name: service.name.into(),
        display_name: service.display_name.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: service.program.to_owned(),
        launch_arguments: service.arguments.iter().map(OsString::from).collect(),
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    };
    // To have it started again it must be allowed to start it.
    let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    let created = manager.create_service(&info, access)?;
    created.set_description(service.description)?;
    let restart =
        ServiceAction { action_type: ServiceActionType::Restart, delay: service.restarts_after };
    created.update_failure_actions(ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(service.forgets_after),
        reboot_msg: None,
        command: None,
        actions: Some(vec![restart.clone(), restart.clone(), restart]),
    })
}

/// Has the manager forget a service, once it has ended.
pub fn uninstall(name: &str) -> Result<()> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)?;
    manager.open_service(name, ServiceAccess::DELETE)?.delete()
}

/// What a service does until it is told to stop.
type Work = Box<dyn Fn(&Receiver<()>) + Send + Sync>;

static RUNNING: OnceLock<(String, Work)> = OnceLock::new();

define_windows_service!(service_main, work);

/// Runs as the service of this name, until its work returns. It is told by the channel when it is to stop.
pub fn run(name: &str, work: impl Fn(&Receiver<()>) + Send + Sync + 'static) -> Result<()> {
    // A process is one service.
    let _ = RUNNING.set((name.to_owned(), Box::new(work)));
    service_dispatcher::start(name, service_main)
}

fn work(_: Vec<OsString>) {
    let Some((name, work)) = RUNNING.get() else { return };
    let (sender, stop) = channel();
    let handler = move |control| match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop | ServiceControl::Shutdown => {
            // It may be stopping already.
            let _ = sender.send(());
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let Ok(handle) = service_control_handler::register(name, handler) else { return };
    if say(handle, ServiceState::Running).is_err() {
        return;
    }
    work(&stop);
    let _ = say(handle, ServiceState::Stopped);
}

fn say(handle: ServiceStatusHandle, state: ServiceState) -> Result<()> {
    let is_running = state == ServiceState::Running;
    let accepts = ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN;
    handle.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: if is_running { accepts } else { ServiceControlAccept::empty() },
        exit_code: ServiceExitCode::Win32(0),
        checkpoint: 0,
        wait_hint: Duration::ZERO,
        process_id: None,
    })
}
