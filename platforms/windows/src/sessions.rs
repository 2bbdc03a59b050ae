//! Who is logged on, and what runs.

use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{
    ERROR_CTX_WINSTATION_NOT_FOUND, ERROR_FILE_NOT_FOUND, ERROR_INVALID_PARAMETER,
};
use windows_sys::Win32::System::RemoteDesktop::{
    WTS_CURRENT_SERVER_HANDLE, WTS_INFO_CLASS, WTS_PROCESS_INFOW, WTS_SESSION_INFOW, WTSDomainName,
    WTSEnumerateProcessesW, WTSEnumerateSessionsW, WTSFreeMemory, WTSLogoffSession,
    WTSQuerySessionInformationW, WTSSendMessageW, WTSUserName,
};
use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_TERMINATE, TerminateProcess};
use windows_sys::Win32::UI::WindowsAndMessaging::{MB_ICONINFORMATION, MB_OK};

use crate::failure::{Failure, check_bool, or_done};
use crate::text;

/// How what is killed ends.
const KILLED: u32 = 137;

/// A session, and who is logged on in it. Nobody has an empty name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: u32,
    /// The name of the user.
    pub user: String,
    /// Where that is one.
    pub domain: String,
}

/// A process, and the SID of who it runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// The SID.
    pub user: Vec<u8>,
}

/// Memory that these calls give.
struct Memory<T>(*mut T);

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: it is null, or was given by a call of this family, and is read by nobody any more.
        unsafe { WTSFreeMemory(self.0.cast()) };
    }
}

/// What is said of a session; `None` if it is gone.
fn said_of(session: u32, what: WTS_INFO_CLASS) -> Option<String> {
    let (mut memory, mut length) = (Memory(null_mut::<u16>()), 0);
    // SAFETY: the last two are places for what is returned.
    let is_ok = unsafe {
        WTSQuerySessionInformationW(
            WTS_CURRENT_SERVER_HANDLE,
            session,
            what,
            &raw mut memory.0,
            &raw mut length,
        )
    };
    // SAFETY: it succeeded, so this leads to text with a zero at its end, which is there until this returns.
    (is_ok != 0).then(|| unsafe { text::at(memory.0) })
}

/// The sessions that there are.
pub fn list() -> Result<Vec<Session>, Failure> {
    let (mut memory, mut count) = (Memory(null_mut::<WTS_SESSION_INFOW>()), 0);
    // SAFETY: the last two are places for what is returned.
    let is_ok = unsafe {
        WTSEnumerateSessionsW(WTS_CURRENT_SERVER_HANDLE, 0, 1, &raw mut memory.0, &raw mut count)
    };
    check_bool("WTSEnumerateSessionsW", is_ok)?;
    let mut sessions = Vec::new();
    for index in 0..count as usize {
        // SAFETY: there are as many of these as was said.
        let id = unsafe { memory.0.add(index).read_unaligned() }.SessionId;
        // One that ended meanwhile is none.
        let Some(user) = said_of(id, WTSUserName) else { continue };
        let domain = said_of(id, WTSDomainName).unwrap_or_default();
        sessions.push(Session { id, user, domain });
    }
    Ok(sessions)
}

/// Ends a session and waits for its end. One that is gone has ended.
pub fn log_off(session: u32) -> Result<(), Failure> {
    // SAFETY: it takes numbers alone.
    let is_ok = unsafe { WTSLogoffSession(WTS_CURRENT_SERVER_HANDLE, session, 1) };
    let gone = [ERROR_FILE_NOT_FOUND, ERROR_CTX_WINSTATION_NOT_FOUND];
    or_done(check_bool("WTSLogoffSession", is_ok), &gone)
}

/// Shows a message in a session, and does not wait until it is read.
pub fn tell(session: u32, title: &str, message: &str) -> Result<(), Failure> {
    let (title, message): (Vec<u16>, Vec<u16>) =
        (title.encode_utf16().collect(), message.encode_utf16().collect());
    let bytes = |units: &[u16]| u32::try_from(size_of_val(units)).unwrap_or_default();
    let mut response = 0;
    // SAFETY: both texts are as long as is said, and the last place is one for what is returned.
    let is_ok = unsafe {
        WTSSendMessageW(
            WTS_CURRENT_SERVER_HANDLE,
            session,
            title.as_ptr(),
            bytes(&title),
            message.as_ptr(),
            bytes(&message),
            MB_OK | MB_ICONINFORMATION,
            0,
            &raw mut response,
            0,
        )
    };
    check_bool("WTSSendMessageW", is_ok)
}

/// The processes that there are and that run as somebody.
pub fn processes() -> Result<Vec<Process>, Failure> {
    let (mut memory, mut count) = (Memory(null_mut::<WTS_PROCESS_INFOW>()), 0);
    // SAFETY: the last two are places for what is returned.
    let is_ok = unsafe {
        WTSEnumerateProcessesW(WTS_CURRENT_SERVER_HANDLE, 0, 1, &raw mut memory.0, &raw mut count)
    };
    check_bool("WTSEnumerateProcessesW", is_ok)?;
    let mut processes = Vec::new();
    for index in 0..count as usize {
        // SAFETY: there are as many of these as was said.
        let found = unsafe { memory.0.add(index).read_unaligned() };
        // SAFETY: this is null or leads to a SID, which is there until this returns.
        let user = unsafe { text::bytes_of(found.pUserSid) };
        processes.extend(user.map(|user| Process { id: found.ProcessId, user }));
    }
    Ok(processes)
}

/// Kills a process that runs as the user with this SID. One that is gone is killed.
pub fn kill(process: u32, user: &[u8]) -> Result<(), Failure> {
    // SAFETY: it takes numbers alone.
    let handle = unsafe { OpenProcess(PROCESS_TERMINATE, 0, process) };
    if handle.is_null() {
        return or_done(Err(Failure::last("OpenProcess")), &[ERROR_INVALID_PARAMETER]);
    }
    // SAFETY: it was opened here, and nobody else closes it.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    // While it is open its number is nobody else's: whose it is now, it stays.
    let is_theirs = |found: &Process| found.id == process && found.user == user;
    if !processes()?.iter().any(is_theirs) {
        return Ok(());
    }
    // SAFETY: the handle is open, and may end what it stands for.
    check_bool("TerminateProcess", unsafe { TerminateProcess(handle.as_raw_handle(), KILLED) })
}
