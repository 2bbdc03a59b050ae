//! As much of X.509's encoding as a client certificate with several organisations needs.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const GENERALIZED_TIME: u8 = 0x18;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// 2.5.4.3
pub(super) const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.4.10
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
/// 1.2.840.10045.4.3.2
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// 1.3.6.1.5.5.7.3.2
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// What a client certificate says.
pub(super) struct ClientCertificate<'a> {
    pub(super) serial: [u8; 16],
    pub(super) issuer: &'a str,
    pub(super) user: &'a str,
    pub(super) groups: &'a [&'a str],
    pub(super) public_key_info: &'a [u8],
}

/// The part of a certificate that is signed. It is valid from 2000 to 2100, so that no clock that a
/// test sets matters.
pub(super) fn client_certificate_body(certificate: &ClientCertificate) -> Vec<u8> {
    let mut serial = certificate.serial;
    // Positive, and of one length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut subject: Vec<(&[u8], &str)> =
        certificate.groups.iter().map(|group| (ORGANIZATION, *group)).collect();
    subject.push((COMMON_NAME, certificate.user));
    let usage = element(SEQUENCE, &element(OBJECT_IDENTIFIER, CLIENT_AUTH));
    let extension = sequence(&[
        element(OBJECT_IDENTIFIER, EXTENDED_KEY_USAGE),
        element(BOOLEAN, &[0xff]),
        element(OCTET_STRING, &usage),
    ]);
    sequence(&[
        element(0xa0, &element(INTEGER, &[2])),
        element(INTEGER, &serial),
        algorithm(),
        name(&[(COMMON_NAME, certificate.issuer)]),
        sequence(&[
            element(UTC_TIME, b"000101000000Z"),
            element(GENERALIZED_TIME, b"21000101000000Z"),
        ]),
        name(&subject),
        certificate.public_key_info.to_vec(),
        element(0xa3, &element(SEQUENCE, &extension)),
    ])
}

/// The certificate from its body and the signature over it.
pub(super) fn signed(body: &[u8], signature: &[u8]) -> Vec<u8> {
    let unused_bits = [&[0], signature].concat();
    sequence(&[body.to_vec(), algorithm(), element(BIT_STRING, &unused_bits)])
}

/// A distinguished name.
pub(super) fn name(attributes: &[(&[u8], &str)]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = attributes
        .iter()
        .map(|(kind, value)| {
            let pair = [element(OBJECT_IDENTIFIER, kind), element(UTF8_STRING, value.as_bytes())];
            element(SET, &sequence(&pair))
        })
        .collect();
    sequence(&parts)
}

/// PEM with lines of 64 characters.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem + &format!("-----END {label}-----\n")
}

fn algorithm() -> Vec<u8> {
    element(SEQUENCE, &element(OBJECT_IDENTIFIER, ECDSA_WITH_SHA256))
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    match significant.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_encoded_as_briefly_as_possible() {
        assert_eq!(element(OCTET_STRING, &[]), [4, 0]);
        assert_eq!(element(OCTET_STRING, &[7; 127])[..2], [4, 127]);
        assert_eq!(element(OCTET_STRING, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(element(OCTET_STRING, &[7; 300])[..4], [4, 0x82, 1, 44]);
    }
}
