//! Signs and checks the bytes of a StoredContract with the destination's provide secret.
//!
//! Two forms exist (`connect/transfer_contract_manager.go`). *Standard* is an HMAC over the contract. *Legacy* is the
//! contract followed by an HMAC over nothing: a constant per secret, so whoever has seen one contract of a destination
//! can forge the next. It is kept for clients older than 2026-05-13 and is never the default.

use aws_lc_rs::hmac;
use bytes::{BufMut, Bytes, BytesMut};
use subtle::ConstantTimeEq;

use crate::config::contracts::HmacForm;

/// Bytes of an HMAC-SHA256.
const HMAC_BYTES: usize = 32;

/// The value of `Contract.stored_contract_hmac` for `stored_bytes`, which must be sent exactly as signed. `secret` is
/// what the destination registered for the provide mode, of any length.
pub fn sign(form: HmacForm, secret: &[u8], stored_bytes: &[u8]) -> Bytes {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    match form {
        HmacForm::Standard => Bytes::copy_from_slice(hmac::sign(&key, stored_bytes).as_ref()),
        HmacForm::Legacy => {
            let mut signature = BytesMut::with_capacity(stored_bytes.len() + HMAC_BYTES);
            signature.put_slice(stored_bytes);
            signature.put_slice(hmac::sign(&key, &[]).as_ref());
            signature.freeze()
        }
    }
}

/// Whether `signature` is the signature of `stored_bytes` in this form; compared in constant time.
pub fn verify(form: HmacForm, secret: &[u8], stored_bytes: &[u8], signature: &[u8]) -> bool {
    sign(form, secret, stored_bytes).ct_eq(signature).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = "0a10000102030405060708090a0b0c0d0e0f10808040";
    const STANDARD: &str = "6771b3d57e801e249c4c9cfb056c139c68ea6c270c327ea2f74254705c21b8af";
    const LEGACY_TAIL: &str = "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb";

    fn secret() -> Vec<u8> {
        (0..32).collect()
    }

    #[test]
    fn signs_the_vectors_of_the_protocol() {
        let stored = hex::decode(STORED).unwrap();
        assert_eq!(hex::encode(sign(HmacForm::Standard, &secret(), &stored)), STANDARD);
        assert_eq!(hex::encode(sign(HmacForm::Legacy, &secret(), &stored)), format!("{STORED}{LEGACY_TAIL}"));
    }

    #[test]
    fn verifies_only_the_signed_bytes_under_the_signing_secret_and_form() {
        let stored = hex::decode(STORED).unwrap();
        for form in [HmacForm::Standard, HmacForm::Legacy] {
            let signature = sign(form, &secret(), &stored);
            assert!(verify(form, &secret(), &stored, &signature));
            assert!(!verify(form, b"another secret", &stored, &signature));
            assert!(!verify(form, &secret(), &stored[1..], &signature));
            assert!(!verify(form, &secret(), &stored, &signature[1..]));
            assert!(!verify(form, &secret(), &stored, &[]));
        }
        let legacy = sign(HmacForm::Legacy, &secret(), &stored);
        assert!(!verify(HmacForm::Standard, &secret(), &stored, &legacy));
    }

    #[test]
    fn a_legacy_signature_fits_any_contract_of_the_secret() {
        let seen = sign(HmacForm::Legacy, &secret(), b"one contract");
        let forged = [b"another contract", &seen[seen.len() - HMAC_BYTES..]].concat();
        assert!(verify(HmacForm::Legacy, &secret(), b"another contract", &forged));
    }
}
