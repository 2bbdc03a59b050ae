//! Who may do what.

use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW, SDDL_REVISION_1,
    SE_FILE_OBJECT,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, CheckTokenMembership, DACL_SECURITY_INFORMATION, GetAce,
    OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES,
};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;

use crate::failure::{Failure, check, check_bool, or_done};
use crate::text::{self, Sid, wide};

/// For the system and the administrators, with all that is made inside; for nobody else.
const PRIVATE: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
/// An entry that allows something (winnt.h), without and with a condition.
const ALLOWS: [u8; 2] = [0, 9];

/// Whose a file is, and what its list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The SID of its owner.
    pub owner: Vec<u8>,
    /// Its list; `None`: there is none.
    pub entries: Option<Vec<Entry>>,
}

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of which kind it is (winnt.h).
    pub kind: u8,
    /// For what it counts.
    pub flags: u8,
    /// What is allowed; of an entry that allows something.
    pub mask: u32,
    /// To whom; the same.
    pub sid: Option<Vec<u8>>,
}

/// What `LocalFree` frees.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it is null, or was given by one of the calls below, and is read by nobody any more.
        unsafe { LocalFree(self.0) };
    }
}

/// Whether this runs with the rights of who is known by this SID.
pub fn is_one_of(sid: &[u8]) -> Result<bool, Failure> {
    let (sid, mut is_one) = (Sid::of(sid)?, 0);
    // SAFETY: without a token it is that of this thread; the SID is there until the call returns.
    let is_ok = unsafe { CheckTokenMembership(null_mut(), sid.pointer(), &raw mut is_one) };
    check_bool("CheckTokenMembership", is_ok)?;
    Ok(is_one != 0)
}

/// Who may do what with a file or a folder.
pub fn access(path: &str) -> Result<Access, Failure> {
    let path = wide(path)?;
    let (mut owner, mut list): (PSID, *mut ACL) = (null_mut(), null_mut());
    let mut descriptor = Descriptor(null_mut());
    // SAFETY: the path has a zero at its end, and the others are null or places for what is returned.
    let code = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            &raw mut list,
            null_mut(),
            &raw mut descriptor.0,
        )
    };
    check("GetNamedSecurityInfoW", code)?;
    // SAFETY: it leads into the descriptor, which is there until this returns.
    let owner = unsafe { text::bytes_of(owner) }.unwrap_or_default();
    // SAFETY: the same of the list.
    let entries = unsafe { entries(list) }?;
    Ok(Access { owner, entries })
}

/// # Safety
/// The pointer is null, or leads to a list that stays as it is until this returns.
unsafe fn entries(list: *const ACL) -> Result<Option<Vec<Entry>>, Failure> {
    if list.is_null() {
        return Ok(None);
    }
    // SAFETY: it leads to a list.
    let count = unsafe { list.read_unaligned() }.AceCount;
    let mut entries = Vec::new();
    for index in 0..u32::from(count) {
        let mut found = null_mut();
        // SAFETY: the list has an entry of this number, and the last is a place for what is returned.
        check_bool("GetAce", unsafe { GetAce(list, index, &raw mut found) })?;
        // SAFETY: each entry begins with this.
        let ACE_HEADER { AceType: kind, AceFlags: flags, AceSize: _ } =
            unsafe { found.cast::<ACE_HEADER>().read_unaligned() };
        let (mut mask, mut sid) = (0, None);
        if ALLOWS.contains(&kind) {
            let entry = found.cast::<ACCESS_ALLOWED_ACE>();
            // SAFETY: an entry of these kinds is one of these, and its SID begins where it says.
            mask = unsafe { (&raw const (*entry).Mask).read_unaligned() };
            // SAFETY: the same.
            sid = unsafe { text::bytes_of((&raw mut (*entry).SidStart).cast()) };
        }
        entries.push(Entry { kind, flags, mask, sid });
    }
    Ok(Some(entries))
}

/// Makes a folder for the system and the administrators alone. One that is there is left as it is.
pub fn private_folder(path: &str) -> Result<(), Failure> {
    let (path, text) = (wide(path)?, wide(PRIVATE)?);
    let mut descriptor = Descriptor(null_mut());
    // SAFETY: the text has a zero at its end, and the others are null or places for what is returned.
    let is_ok = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor.0,
            null_mut(),
        )
    };
    check_bool("ConvertStringSecurityDescriptorToSecurityDescriptorW", is_ok)?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or_default(),
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    // SAFETY: the path has a zero at its end, and the descriptor is there until the call returns.
    let is_ok = unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) };
    or_done(check_bool("CreateDirectoryW", is_ok), &[ERROR_ALREADY_EXISTS])
}
