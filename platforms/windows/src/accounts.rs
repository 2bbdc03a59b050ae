//! Local users and groups.

use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{
    ERROR_FILE_NOT_FOUND, ERROR_INVALID_PARAMETER, ERROR_MEMBER_IN_ALIAS,
    ERROR_MEMBER_NOT_IN_ALIAS, ERROR_NO_SUCH_ALIAS, ERROR_NONE_MAPPED,
};
use windows_sys::Win32::NetworkManagement::NetManagement::{
    LOCALGROUP_MEMBERS_INFO_0, MAX_PREFERRED_LENGTH, NERR_GroupNotFound, NERR_UserNotFound,
    NetApiBufferFree, NetLocalGroupAddMembers, NetLocalGroupDelMembers, NetLocalGroupGetMembers,
    NetUserAdd, NetUserDel, NetUserGetInfo, NetUserSetInfo, UF_ACCOUNTDISABLE,
    UF_DONT_EXPIRE_PASSWD, UF_SCRIPT, USER_INFO_1, USER_INFO_4, USER_INFO_1008, USER_INFO_1017,
    USER_PRIV_USER,
};
use windows_sys::Win32::Security::{LookupAccountNameW, LookupAccountSidW};
use windows_sys::Win32::UI::Shell::DeleteProfileW;
use zeroize::Zeroizing;

use crate::failure::{Failure, check, check_bool, or_done};
use crate::text::{self, Sid, wide};

/// When an account expires that never does.
const NEVER: u32 = u32::MAX;
/// How long a name or the name of its domain may be, in units.
const LONGEST: usize = 512;
/// How long a SID may be, in words of four bytes.
const SID_WORDS: usize = 17;

/// A local user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its SID.
    pub sid: Vec<u8>,
    /// Whether it is switched off.
    pub is_off: bool,
    /// When it expires, in seconds since 1970.
    pub expires: Option<u32>,
    /// What is noted beside it.
    pub comment: String,
    flags: u32,
}

/// A name, and the name of where it is one: the host, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Where it is one.
    pub domain: String,
}

/// Memory that these calls give.
struct Buffer(*mut u8);

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it is null, or was given by a call of this family, and is read by nobody any more.
        unsafe { NetApiBufferFree(self.0.cast()) };
    }
}

/// Finds a user by its name.
pub fn user(name: &str) -> Result<Option<User>, Failure> {
    let (name, mut buffer) = (wide(name)?, Buffer(null_mut()));
    // SAFETY: the name has a zero at its end, and the buffer is a place for a pointer.
    let code = unsafe { NetUserGetInfo(null(), name.as_ptr(), 4, &raw mut buffer.0) };
    if code == NERR_UserNotFound {
        return Ok(None);
    }
    check("NetUserGetInfo", code)?;
    // SAFETY: it succeeded, so the buffer has what level 4 says.
    let found = unsafe { buffer.0.cast::<USER_INFO_4>().read_unaligned() };
    let flags = found.usri4_flags;
    // SAFETY: the buffer has the SID, and is there until this returns.
    let sid = unsafe { text::bytes_of(found.usri4_user_sid) };
    // SAFETY: the same of the comment.
    let comment = unsafe { text::at(found.usri4_comment) };
    Ok(Some(User {
        sid: sid.unwrap_or_default(),
        is_off: flags & UF_ACCOUNTDISABLE != 0,
        expires: Some(found.usri4_acct_expires).filter(|at| *at != NEVER),
        comment,
        flags,
    }))
}

fn set<T>(name: &str, level: u32, value: &T) -> Result<(), Failure> {
    let name = wide(name)?;
    let value = std::ptr::from_ref(value).cast::<u8>();
    // SAFETY: the name has a zero at its end, the callers below give what the level says, and it is only read.
    let code = unsafe { NetUserSetInfo(null(), name.as_ptr(), level, value, null_mut()) };
    check("NetUserSetInfo", code)
}

/// Switches a user off or on. One that is not there is a failure.
pub fn switch(name: &str, is_off: bool) -> Result<(), Failure> {
    let missing = Failure { call: "NetUserGetInfo", code: NERR_UserNotFound };
    let User { flags, .. } = user(name)?.ok_or(missing)?;
    let flags = if is_off { flags | UF_ACCOUNTDISABLE } else { flags & !UF_ACCOUNTDISABLE };
    set(name, 1008, &USER_INFO_1008 { usri1008_flags: flags })
}

/// Has a user expire at this time, in seconds since 1970; `None`: never.
pub fn expire(name: &str, at: Option<i64>) -> Result<(), Failure> {
    let out_of_range = Failure { call: "NetUserSetInfo", code: ERROR_INVALID_PARAMETER };
    let at = match at {
        None => NEVER,
        Some(at) => u32::try_from(at).ok().filter(|at| *at != NEVER).ok_or(out_of_range)?,
    };
    set(name, 1017, &USER_INFO_1017 { usri1017_acct_expires: at })
}

/// Makes a user that is switched off.
pub fn create(name: &str, comment: &str, password: &str) -> Result<(), Failure> {
    let (mut name, mut comment) = (wide(name)?, wide(comment)?);
    let mut password = Zeroizing::new(wide(password)?);
    let new = USER_INFO_1 {
        usri1_name: name.as_mut_ptr(),
        usri1_password: password.as_mut_ptr(),
        usri1_password_age: 0,
        usri1_priv: USER_PRIV_USER,
        usri1_home_dir: null_mut(),
        usri1_comment: comment.as_mut_ptr(),
        usri1_flags: UF_SCRIPT | UF_ACCOUNTDISABLE | UF_DONT_EXPIRE_PASSWD,
        usri1_script_path: null_mut(),
    };
    // SAFETY: it is what level 1 says, and all that it leads to is there until the call returns.
    let code = unsafe { NetUserAdd(null(), 1, (&raw const new).cast(), null_mut()) };
    check("NetUserAdd", code)
}

/// Removes a user. One that is not there is none to remove.
pub fn remove(name: &str) -> Result<(), Failure> {
    let name = wide(name)?;
    // SAFETY: the name has a zero at its end.
    let code = unsafe { NetUserDel(null(), name.as_ptr()) };
    or_done(check("NetUserDel", code), &[NERR_UserNotFound])
}

/// Removes the profile of the user with this SID, which is given as text. Who has none has none to remove.
pub fn remove_profile(sid: &str) -> Result<(), Failure> {
    let sid = wide(sid)?;
    // SAFETY: the text has a zero at its end; the others may be null.
    let is_ok = unsafe { DeleteProfileW(sid.as_ptr(), null(), null()) };
    or_done(check_bool("DeleteProfileW", is_ok), &[ERROR_FILE_NOT_FOUND])
}

/// What the user or the group of this SID is called.
pub fn name_of(sid: &[u8]) -> Result<Option<Name>, Failure> {
    let sid = Sid::of(sid)?;
    let (mut name, mut domain, mut kind) = ([0; LONGEST], [0; LONGEST], 0);
    let (mut long, mut wide_domain) = (512_u32, 512_u32);
    // SAFETY: both places have room for as many units as is said, and the SID is there until the call returns.
    let is_ok = unsafe {
        LookupAccountSidW(
            null(),
            sid.pointer(),
            name.as_mut_ptr(),
            &raw mut long,
            domain.as_mut_ptr(),
            &raw mut wide_domain,
            &raw mut kind,
        )
    };
    match check_bool("LookupAccountSidW", is_ok) {
        Err(failure) if failure.code == ERROR_NONE_MAPPED => Ok(None),
        Err(failure) => Err(failure),
        Ok(()) => {
            let text = |units: &[u16]| units.split(|unit| *unit == 0).next().map(text::of_units);
            let (name, domain) = (text(&name), text(&domain));
            Ok(Some(Name { name: name.unwrap_or_default(), domain: domain.unwrap_or_default() }))
        }
    }
}

/// The SID of a user or a group of this name.
pub fn sid_of(name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let name = wide(name)?;
    let (mut sid, mut domain, mut kind) = ([0_u32; SID_WORDS], [0; LONGEST], 0);
    let (mut long, mut wide_domain) = (68_u32, 512_u32);
    // SAFETY: the name has a zero at its end, and both places have as much room as is said.
    let is_ok = unsafe {
        LookupAccountNameW(
            null(),
            name.as_ptr(),
            sid.as_mut_ptr().cast(),
            &raw mut long,
            domain.as_mut_ptr(),
            &raw mut wide_domain,
            &raw mut kind,
        )
    };
    match check_bool("LookupAccountNameW", is_ok) {
        Err(failure) if failure.code == ERROR_NONE_MAPPED => Ok(None),
        Err(failure) => Err(failure),
        // SAFETY: it succeeded, so there is a SID.
        Ok(()) => Ok(unsafe { text::bytes_of(sid.as_mut_ptr().cast()) }),
    }
}

/// The SIDs of who is in the local group of this name; `None` if there is no such group.
pub fn members(group: &str) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let (group, mut buffer) = (wide(group)?, Buffer(null_mut()));
    let (mut read, mut total) = (0, 0);
    // SAFETY: the name has a zero at its end, and the others are places for what is returned.
    let code = unsafe {
        NetLocalGroupGetMembers(
            null(),
            group.as_ptr(),
            0,
            &raw mut buffer.0,
            MAX_PREFERRED_LENGTH,
            &raw mut read,
            &raw mut total,
            null_mut(),
        )
    };
    if [NERR_GroupNotFound, ERROR_NO_SUCH_ALIAS].contains(&code) {
        return Ok(None);
    }
    check("NetLocalGroupGetMembers", code)?;
    let mut members = Vec::new();
    for index in 0..read as usize {
        let offset = index * size_of::<LOCALGROUP_MEMBERS_INFO_0>();
        // SAFETY: the buffer has as many of these as were read.
        let member =
            unsafe { buffer.0.add(offset).cast::<LOCALGROUP_MEMBERS_INFO_0>().read_unaligned() };
        // SAFETY: the buffer has the SID, and is there until this returns.
        members.extend(unsafe { text::bytes_of(member.lgrmi0_sid) });
    }
    Ok(Some(members))
}

/// Puts somebody into the local group of this name. Who is in it is in it.
pub fn join(group: &str, member: &[u8]) -> Result<(), Failure> {
    let (group, sid) = (wide(group)?, Sid::of(member)?);
    let member = LOCALGROUP_MEMBERS_INFO_0 { lgrmi0_sid: sid.pointer() };
    let member = (&raw const member).cast();
    // SAFETY: it is one of what level 0 says, and all that it leads to is there until the call returns.
    let code = unsafe { NetLocalGroupAddMembers(null(), group.as_ptr(), 0, member, 1) };
    or_done(check("NetLocalGroupAddMembers", code), &[ERROR_MEMBER_IN_ALIAS])
}

/// Takes somebody out of the local group of this name. Who is not in it is out of it.
pub fn leave(group: &str, member: &[u8]) -> Result<(), Failure> {
    let (group, sid) = (wide(group)?, Sid::of(member)?);
    let member = LOCALGROUP_MEMBERS_INFO_0 { lgrmi0_sid: sid.pointer() };
    let member = (&raw const member).cast();
    // SAFETY: it is one of what level 0 says, and all that it leads to is there until the call returns.
    let code = unsafe { NetLocalGroupDelMembers(null(), group.as_ptr(), 0, member, 1) };
    or_done(check("NetLocalGroupDelMembers", code), &[ERROR_MEMBER_NOT_IN_ALIAS])
}
