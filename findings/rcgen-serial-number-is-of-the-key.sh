#!/usr/bin/env bash
# rcgen 0.14.10: a certificate whose parameters have no `serial_number` gets one that is made from its public key alone. All
# certificates of a key have the same one, whoever issues them, whatever names and dates they have, today and after a
# restart.
#
# Expected: a number by chance. RFC 5280 wants it "unique for each certificate issued by a given CA", and a revocation list
# names a certificate by issuer and number only.
#
# So a certificate that is renewed with its key has the number of the one before: to revoke one of them revokes both. A CA that
# is issued anew with its key looks, by issuer and number, like the old one. And nothing of it shows in tests that make a
# key for each certificate.
#
# What to do: set `serial_number`, from a random source (RFC 5280 allows 20 bytes, the first bit 0), or a key for each
# certificate.
#
# Seen on 2026-12-01: what is below as `expected`.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/src"
cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
rcgen = { version = "=0.14.10", default-features = false, features = ["crypto", "ring"] }
x509-parser = "=0.18.1"
TOML
cat > "$folder/src/main.rs" <<'RUST'
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

fn parsed(certificate: &Certificate) -> X509Certificate<'_> {
    parse_x509_certificate(certificate.der()).unwrap().1
}

fn main() {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = Issuer::new(ca, ca_key);

    let issue = |name: &str, year: i32, key: &KeyPair| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(year, 1, 1);
        params.not_after = date_time_ymd(year + 1, 1, 1);
        params.signed_by(key, &issuer).unwrap()
    };
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let first = issue("web.shop", 2026, &key);
    let same = |title: &str, certificate: &Certificate| {
        println!("{title}: {}", parsed(&first).raw_serial() == parsed(certificate).raw_serial());
    };
    let renewed = issue("web.shop", 2027, &key);
    println!("certificates are the same: {}", first.der() == renewed.der());
    same("number of the one that renews it is the same", &renewed);
    same("number of one for another name is the same", &issue("db.shop", 2026, &key));
    same("number of one of another key is the same", &issue("web.shop", 2026, &other));

    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from_slice(parsed(&first).raw_serial()),
        revocation_time: date_time_ymd(2026, 12, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 12, 1),
        next_update: date_time_ymd(2026, 12, 2),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).unwrap();
    let list = CertificateRevocationList::from_der(list.der()).unwrap().1;
    let is_revoked = |certificate: &Certificate| {
        let certificate = parsed(certificate);
        list.iter_revoked_certificates().any(|one| one.raw_serial() == certificate.raw_serial())
    };
    println!("the first is revoked, and the one that renews it: {}", is_revoked(&renewed));
}
RUST
said="$(cd "$folder" && cargo run --quiet)"
expected='certificates are the same: false
number of the one that renews it is the same: true
number of one for another name is the same: true
number of one of another key is the same: false
the first is revoked, and the one that renews it: true'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
