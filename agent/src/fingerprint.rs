//! Which machine this is: what differs in a copy of it, and stays over restarts, new kernels and other network cards.

use std::fs;
use std::io::ErrorKind;

use lapse_engine::endpoint::hash_of_machine;

use crate::identity::IdentityError;
use crate::places::Places;

/// Where a machine has a number of its own, the best first: what its firmware or hypervisor says (SMBIOS, the
/// "System UUID"), what a board has, what Xen says to guests without firmware. A copy of a virtual machine is given another
/// one, as two machines of one number confuse the hypervisor, too. Network cards say less: they are exchanged, and copied.
const HARDWARE: [&str; 3] = [
    "/sys/class/dmi/id/product_uuid",
    "/sys/firmware/devicetree/base/serial-number",
    "/sys/hypervisor/uuid",
];

/// What systemd says of a host that is a container: the hardware is that of the machine under it, and it may move to
/// another.
const CONTAINER: &str = "/run/systemd/container";

/// What makers leave in place of a number: whole series of machines have it.
const FILLERS: [&str; 2] =
    ["03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009"];

/// How few different characters there are in what is no number.
const DULL: usize = 4;

/// Which machine this is: `sha256:` and a hash of its machine-id and of the number of its hardware, where it has one.
///
/// # Errors
/// If that cannot be told.
pub fn machine(places: &Places) -> Result<String, IdentityError> {
    let id = machine_id(places)?;
    let hardware = hardware(places)?.unwrap_or_default();
    Ok(hash_of_machine(&id, &hardware))
}

fn machine_id(places: &Places) -> Result<String, IdentityError> {
    let text = fs::read_to_string(places.at("/etc/machine-id"));
    let text = text.map_err(|error| IdentityError::Machine(error.to_string()))?;
    let id = text.trim();
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(IdentityError::Machine("it is no 32 hexadecimal digits".to_owned()));
    }
    Ok(id.to_owned())
}

/// The number of the hardware. One that cannot be read now is not none: the machine would seem to be another.
fn hardware(places: &Places) -> Result<Option<String>, IdentityError> {
    if places.at(CONTAINER).exists() {
        return Ok(None);
    }
    for path in HARDWARE {
        let text = match fs::read(places.at(path)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).to_ascii_lowercase(),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                let path = path.to_owned();
                return Err(IdentityError::Hardware { path, why: error.to_string() });
            }
        };
        let number = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        if is_number(number) {
            return Ok(Some(number.to_owned()));
        }
    }
    Ok(None)
}

fn is_number(text: &str) -> bool {
    let mut different: Vec<char> = text.chars().filter(char::is_ascii_alphanumeric).collect();
    different.sort_unstable();
    different.dedup();
    different.len() >= DULL && text.chars().any(|c| c.is_ascii_digit()) && !FILLERS.contains(&text)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";
    const OWN: &str = "4c4c4544-0044-4d10-8051-b9c04f4e4433";

    fn of(files: &[(&str, &str)]) -> Result<String, IdentityError> {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        for (path, text) in files {
            let path = places.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        machine(&places)
    }

    #[test]
    fn a_copy_is_another_machine_by_either_number() {
        let id = ("/etc/machine-id", ID);
        let own = of(&[id, (HARDWARE[0], OWN)]).unwrap();
        assert_eq!(own, of(&[id, (HARDWARE[0], &format!("{}\n", OWN.to_uppercase()))]).unwrap());
        assert_ne!(own, of(&[id, (HARDWARE[0], "4c4c4544-0044-4d10-8051-b9c04f4e4434")]).unwrap());
        assert_ne!(own, of(&[id]).unwrap());
        let other = ("/etc/machine-id", "1123456789abcdef0123456789abcdef");
        assert_ne!(own, of(&[other, (HARDWARE[0], OWN)]).unwrap());
    }

    #[rstest]
    #[case::zeros("00000000-0000-0000-0000-000000000000")]
    #[case::ones("ffffffff-ffff-ffff-ffff-ffffffffffff")]
    #[case::of_a_series("03000200-0400-0500-0006-000700080009")]
    #[case::words("To be filled by O.E.M.")]
    #[case::nothing("\n")]
    fn what_many_machines_say_is_no_number(#[case] said: &str) {
        let id = ("/etc/machine-id", ID);
        assert_eq!(of(&[id, (HARDWARE[0], said)]).unwrap(), of(&[id]).unwrap());
        // The next place is asked then.
        let board = (HARDWARE[1], "10000000abcd1234\0");
        let with_board = of(&[id, (HARDWARE[0], said), board]).unwrap();
        assert_eq!(with_board, of(&[id, board]).unwrap());
        assert_ne!(with_board, of(&[id]).unwrap());
    }

    #[test]
    fn a_container_may_move_to_another_machine() {
        let id = ("/etc/machine-id", ID);
        let inside = of(&[id, (CONTAINER, "lxc"), (HARDWARE[0], OWN)]).unwrap();
        assert_eq!(inside, of(&[id]).unwrap());
    }

    #[test]
    fn what_cannot_be_told_is_an_error() {
        assert!(of(&[("/etc/machine-id", "uninitialized\n")]).is_err());
        // A folder where a file should be cannot be read.
        let below = format!("{}/x", HARDWARE[0]);
        let error = of(&[("/etc/machine-id", ID), (&below, "")]).unwrap_err().to_string();
        assert!(error.starts_with(HARDWARE[0]), "{error}");
    }
}
