//! Job objects: groups of processes that none of them can leave, and that end together.

use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::process::Child;
use std::ptr::null;

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND, ERROR_SUCCESS, INVALID_HANDLE_VALUE, SetLastError,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION,
    JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, OpenJobObjectW, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME,
};

use crate::failure::{Failure, check_bool};
use crate::text::wide;

/// How a program is created that is put into a job before it does anything: it stands still, and has no window.
pub const STANDING: u32 = CREATE_SUSPENDED | CREATE_NO_WINDOW;
/// To end what is in a job, and nothing else (winnt.h).
const JOB_OBJECT_TERMINATE: u32 = 8;
/// How what is in a job ends.
const KILLED: u32 = 137;

/// A job. When this is dropped, and so when this process dies, all that is in it ends.
#[derive(Debug)]
pub struct Job(OwnedHandle);

impl Job {
    /// Makes one; `None` if there is one of this name already, whoever has made it.
    pub fn create(name: &str) -> Result<Option<Self>, Failure> {
        let name = wide(name)?;
        // SAFETY: it takes a number alone. What failed before must not be taken for what is asked below.
        unsafe { SetLastError(ERROR_SUCCESS) };
        // SAFETY: the name has a zero at its end. Without attributes it is for the user that made it, and for administrators.
        let handle = unsafe { CreateJobObjectW(null(), name.as_ptr()) };
        let failure = Failure::last("CreateJobObjectW");
        if handle.is_null() {
            return Err(failure);
        }
        // SAFETY: it was opened here, and nobody else closes it.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        if failure.code == ERROR_ALREADY_EXISTS {
            return Ok(None);
        }
        job.limit()?;
        Ok(Some(job))
    }

    /// It ends with its last handle. Nothing may leave it, as nothing here allows that.
    fn limit(&self) -> Result<(), Failure> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags =
            JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION;
        let length = u32::try_from(size_of_val(&limits)).unwrap_or_default();
        // SAFETY: these are limits of this kind, of this length, and the handle is open.
        let is_ok = unsafe {
            SetInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                length,
            )
        };
        check_bool("SetInformationJobObject", is_ok)
    }

    /// Puts a process into it, and so all that it starts from now on.
    pub fn take(&self, child: &Child) -> Result<(), Failure> {
        // SAFETY: both handles are open.
        let is_ok =
            unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), child.as_raw_handle()) };
        check_bool("AssignProcessToJobObject", is_ok)
    }

    /// Ends all that is in it.
    pub fn end(&self) -> Result<(), Failure> {
        // SAFETY: the handle is open.
        check_bool("TerminateJobObject", unsafe {
            TerminateJobObject(self.0.as_raw_handle(), KILLED)
        })
    }
}

/// Ends all that is in the job of this name. If there is no such job, nothing is in it.
pub fn end(name: &str) -> Result<(), Failure> {
    let name = wide(name)?;
    // SAFETY: the name has a zero at its end.
    let handle = unsafe { OpenJobObjectW(JOB_OBJECT_TERMINATE, 0, name.as_ptr()) };
    if handle.is_null() {
        let failure = Failure::last("OpenJobObjectW");
        return if failure.code == ERROR_FILE_NOT_FOUND { Ok(()) } else { Err(failure) };
    }
    // SAFETY: it was opened here, and nobody else closes it.
    Job(unsafe { OwnedHandle::from_raw_handle(handle) }).end()
}

/// Lets a process go on that was created to stand still.
pub fn go_on(child: &Child) -> Result<(), Failure> {
    // SAFETY: it takes numbers alone.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(Failure::last("CreateToolhelp32Snapshot"));
    }
    // SAFETY: it was opened here, and nobody else closes it.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let length = u32::try_from(size_of::<THREADENTRY32>()).unwrap_or_default();
    let mut entry = THREADENTRY32 { dwSize: length, ..THREADENTRY32::default() };
    // SAFETY: the handle is open, and the entry says how long it is.
    let mut is_one = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) };
    while is_one != 0 {
        if entry.th32OwnerProcessID == child.id() {
            resume(entry.th32ThreadID)?;
        }
        // SAFETY: as before.
        is_one = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Ok(())
}

fn resume(thread: u32) -> Result<(), Failure> {
    // SAFETY: it takes numbers alone.
    let handle = unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, thread) };
    if handle.is_null() {
        return Err(Failure::last("OpenThread"));
    }
    // SAFETY: it was opened here, and nobody else closes it.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    // SAFETY: the handle is open, and may do that.
    if unsafe { ResumeThread(handle.as_raw_handle()) } == u32::MAX {
        return Err(Failure::last("ResumeThread"));
    }
    Ok(())
}
