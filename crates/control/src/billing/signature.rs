//! Signatures of what is sent: HMAC-SHA256 over instant and body, so that the receiver knows
//! that it comes from here, is whole, and is not an old one that somebody sends again.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::secrets::{Secret, hex};

/// The header that carries the signature.
pub(super) const HEADER: &str = "weir-signature";

/// The value of the header: `t=SECONDS,v1=HEX` over `SECONDS.BODY`.
pub(super) fn sign(secret: &Secret, at_s: i64, body: &[u8]) -> String {
    // Keys of any length are allowed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(at_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("t={at_s},v1={}", hex(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_other_programs_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac whsec_test
        let signed = sign(&Secret::new("whsec_test".to_owned()), 1_700_000_000, b"{\"a\":1}");
        assert_eq!(
            signed,
            "t=1700000000,v1=38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789"
        );
    }
}
