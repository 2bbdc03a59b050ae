//! What this runs on, and its clock.

use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, MAX_PATH};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WRITE, REG_OPTION_NON_VOLATILE, REG_OPTION_VOLATILE,
    REG_SZ, RRF_RT_REG_SZ, RegCloseKey, RegCreateKeyExW, RegGetValueW, RegSetValueExW,
};
use windows_sys::Win32::System::SystemInformation::{
    GetSystemDirectoryW, GetTickCount64, GetWindowsDirectoryW,
};
use windows_sys::core::{s, w};

use crate::accounts;
use crate::failure::{Failure, check};
use crate::text::{of_units, wide};

/// A name that no group has: Windows lets none have these characters.
const NO_GROUP: &str = "lapse:no/such*group";
/// Where it says what the host is.
const PRODUCT: (&str, &str) = (r"SYSTEM\CurrentControlSet\Control\ProductOptions", "ProductType");
/// What it says of one whose accounts are those of a domain.
const CONTROLLER: &str = "LanmanNT";
/// Where a word is kept that is gone after a restart.
const BOOT: (&str, &str) = (r"SOFTWARE\Lapse\Boot", "Id");

/// By what it can be seen that this is not Windows, if it is not. Wine has an export that says so; where that is hidden,
/// its calls for groups still give themselves away, as they succeed for a group that cannot be there.
#[must_use]
pub fn imitation() -> Option<&'static str> {
    // SAFETY: the name has a zero at its end, and this library is never unloaded.
    let library = unsafe { GetModuleHandleW(w!("ntdll.dll")) };
    if !library.is_null() {
        // SAFETY: the library is there, and the name has a zero at its end.
        let export = unsafe { GetProcAddress(library, s!("wine_get_version")) };
        if export.is_some() {
            return Some("ntdll.dll exports wine_get_version");
        }
    }
    let is_found = accounts::members(NO_GROUP).is_ok_and(|members| members.is_some());
    is_found.then_some("NetLocalGroupGetMembers succeeds for a group that cannot be there")
}

/// Whether the accounts of this host are those of a domain: it has none of its own then.
pub fn is_domain_controller() -> Result<bool, Failure> {
    Ok(registered(PRODUCT)?.as_deref() == Some(CONTROLLER))
}

/// Where the programs of Windows are, and where Windows is.
pub fn folders() -> Result<(String, String), Failure> {
    let mut units = [0; MAX_PATH as usize];
    // SAFETY: there is room for as many units as is said.
    let long = unsafe { GetSystemDirectoryW(units.as_mut_ptr(), MAX_PATH) };
    let system = folder("GetSystemDirectoryW", &units, long)?;
    // SAFETY: the same.
    let long = unsafe { GetWindowsDirectoryW(units.as_mut_ptr(), MAX_PATH) };
    Ok((system, folder("GetWindowsDirectoryW", &units, long)?))
}

fn folder(call: &'static str, units: &[u16], long: u32) -> Result<String, Failure> {
    let text = units.get(..long as usize).filter(|text| !text.is_empty());
    text.map(of_units).ok_or_else(|| Failure::last(call))
}

/// Milliseconds since Windows started, those of its sleep included.
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: it takes nothing.
    unsafe { GetTickCount64() }
}

/// A word that is the same until Windows starts again, and another one after that: this one, if nobody was given one yet.
pub fn boot_id(fresh: &str) -> Result<String, Failure> {
    if let Some(known) = registered(BOOT)? {
        return Ok(known);
    }
    let (path, name) = BOOT;
    // What lasts cannot be made below what does not, so what is above lasts.
    drop(key(r"SOFTWARE\Lapse", REG_OPTION_NON_VOLATILE)?);
    let key = key(path, REG_OPTION_VOLATILE)?;
    let (name, text) = (wide(name)?, wide(fresh)?);
    let length = u32::try_from(size_of_val(&text[..])).unwrap_or_default();
    // SAFETY: the key is open, the name has a zero at its end, and the text is as long as is said.
    let code =
        unsafe { RegSetValueExW(key.0, name.as_ptr(), 0, REG_SZ, text.as_ptr().cast(), length) };
    check("RegSetValueExW", code)?;
    // Whoever came first or last: all read the same from now on.
    Ok(registered(BOOT)?.unwrap_or_else(|| fresh.to_owned()))
}

/// A key that is open.
struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: it was opened here, and nobody else closes it.
        unsafe { RegCloseKey(self.0) };
    }
}

fn key(path: &str, how: u32) -> Result<Key, Failure> {
    let (path, mut key) = (wide(path)?, null_mut());
    // SAFETY: the path has a zero at its end, and the key is a place for what is returned.
    let code = unsafe {
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            0,
            null(),
            how,
            KEY_READ | KEY_WRITE,
            null(),
            &raw mut key,
            null_mut(),
        )
    };
    check("RegCreateKeyExW", code)?;
    Ok(Key(key))
}

fn registered((path, name): (&str, &str)) -> Result<Option<String>, Failure> {
    let (path, name, mut units) = (wide(path)?, wide(name)?, [0_u16; 256]);
    let mut length = u32::try_from(size_of_val(&units)).unwrap_or_default();
    // SAFETY: both names have a zero at their end, and there is as much room as is said.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ,
            null_mut(),
            units.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if code == ERROR_FILE_NOT_FOUND {
        return Ok(None);
    }
    check("RegGetValueW", code)?;
    Ok(units.split(|unit| *unit == 0).next().map(of_units))
}
