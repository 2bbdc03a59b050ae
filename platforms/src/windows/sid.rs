//! What Windows knows users and groups by, whatever they are called and in whichever language. Pure.

use std::fmt;

/// How many parts one may have.
const MOST: usize = 15;
/// The length of what comes before the parts, in bytes.
const HEAD: usize = 8;

/// A security identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    authority: u64,
    parts: Vec<u32>,
}

impl Sid {
    fn known(authority: u64, parts: &[u32]) -> Self {
        Self { authority, parts: parts.to_vec() }
    }

    /// The local group of the administrators.
    #[must_use]
    pub fn administrators() -> Self {
        Self::known(5, &[32, 544])
    }

    /// The local group of everybody who may log in.
    #[must_use]
    pub fn users() -> Self {
        Self::known(5, &[32, 545])
    }

    /// The system itself.
    #[must_use]
    pub fn system() -> Self {
        Self::known(5, &[18])
    }

    /// The installer of Windows, whose are the files of the system.
    #[must_use]
    pub fn trusted_installer() -> Self {
        let parts = [80, 956_008_885, 3_418_522_649, 1_831_038_044, 1_853_292_631, 2_271_478_464];
        Self::known(5, &parts)
    }

    /// Reads one as text, such as `S-1-5-32-544`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("S-1-")?.split('-');
        let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let authority = fields.next().filter(is_number)?.parse::<u32>().ok()?;
        let parts: Option<Vec<u32>> =
            fields.map(|field| Some(field).filter(is_number)?.parse().ok()).collect();
        let parts = parts.filter(|parts| (1..=MOST).contains(&parts.len()))?;
        Some(Self { authority: authority.into(), parts })
    }

    /// Reads one as Windows keeps it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let count = usize::from(head[1]);
        if head[0] != 1 || count == 0 || count > MOST || rest.len() != count * 4 {
            return None;
        }
        let authority = head[2..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let parts =
            rest.chunks_exact(4).filter_map(|part| Some(u32::from_le_bytes(part.try_into().ok()?)));
        Some(Self { authority, parts: parts.collect() })
    }

    /// Writes one as Windows keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // There are never more than `MOST`.
        let count = u8::try_from(self.parts.len()).unwrap_or_default();
        let mut bytes = vec![1, count];
        bytes.extend(&self.authority.to_be_bytes()[2..]);
        bytes.extend(self.parts.iter().flat_map(|part| part.to_le_bytes()));
        bytes
    }

    /// Whether this is the account that every Windows has from its installation on, and that may do everything.
    #[must_use]
    pub fn is_built_in_administrator(&self) -> bool {
        self.parts.first() == Some(&21) && self.parts.last() == Some(&500)
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.authority > u64::from(u32::MAX) {
            write!(f, "S-1-0x{:012X}", self.authority)?;
        } else {
            write!(f, "S-1-{}", self.authority)?;
        }
        self.parts.iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_administrators_are_known_in_every_language() {
        let bytes = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
        assert_eq!(Sid::administrators().to_bytes(), bytes);
        assert_eq!(Sid::administrators().to_string(), "S-1-5-32-544");
    }

    #[rstest]
    #[case::of_the_system("S-1-5-18")]
    #[case::of_a_user("S-1-5-21-1004336348-1177238915-682003330-1001")]
    #[case::of_the_installer("S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464")]
    fn one_is_read_as_it_is_written(#[case] text: &str) {
        let sid = Sid::read(text).unwrap();
        assert_eq!(sid.to_string(), text);
        assert_eq!(Sid::from_bytes(&sid.to_bytes()), Some(sid));
    }

    #[rstest]
    #[case("")]
    #[case("Administrators")]
    #[case("S-1-5")]
    #[case("S-1-5-")]
    #[case("S-1-5-+1")]
    #[case("S-2-5-18")]
    #[case("S-1-5-4294967296")]
    #[case("S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16")]
    fn what_is_none_is_not_read(#[case] text: &str) {
        assert_eq!(Sid::read(text), None);
    }

    #[rstest]
    #[case::nothing(&[])]
    #[case::a_head_alone(&[1, 1, 0, 0, 0, 0, 0, 5])]
    #[case::another_revision(&[2, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0])]
    #[case::too_long(&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, 0])]
    fn bytes_that_are_none_are_not_read(#[case] bytes: &[u8]) {
        assert_eq!(Sid::from_bytes(bytes), None);
    }

    #[test]
    fn the_built_in_administrator_is_known_by_its_number() {
        let is = |text| Sid::read(text).unwrap().is_built_in_administrator();
        assert!(is("S-1-5-21-1-2-3-500"));
        assert!(!is("S-1-5-21-1-2-3-1500") && !is("S-1-5-32-500"));
    }
}
