//! Signatures of what is sent: HMAC-SHA256 over instant and body, so that the receiver knows
//! that it comes from here, is whole, and is not an old one that somebody sends again. What comes
//! in from outside systems is signed in the same way.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use subtle::ConstantTimeEq as _;

use crate::secrets::{Secret, hex};

/// The header that carries the signature.
pub(super) const HEADER: &str = "weir-signature";
/// How far apart the clocks of both sides may be.
pub(super) const TOLERANCE_S: u64 = 300;

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

/// Whether something was signed with this secret, and lately. Fails with words, which say more
/// about the time only to those who know the secret.
pub(super) fn check(secret: &Secret, header: Option<&str>, now_s: i64, body: &[u8]) -> Result<(), String> {
    let header = header.ok_or_else(|| format!("the header {HEADER} is missing"))?;
    let parts: Vec<(&str, &str)> = header
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .collect();
    let signed_s = parts.iter().find(|(name, _)| *name == "t");
    let signed_s: Option<i64> = signed_s.and_then(|(_, value)| value.parse().ok());
    let signed_s = signed_s.ok_or_else(|| format!("the header {HEADER} is not of the form t=SECONDS,v1=HEX"))?;
    let expected = sign(secret, signed_s, body);
    let matches = |given: &str| bool::from(expected.as_bytes().ct_eq(format!("t={signed_s},v1={given}").as_bytes()));
    let mut given = parts.iter().filter(|(name, _)| *name == "v1");
    // Several, while the other side changes its secret.
    if !given.any(|(_, value)| matches(value)) {
        return Err("the signature does not fit the body and the secret".to_owned());
    }
    if now_s.abs_diff(signed_s) > TOLERANCE_S {
        return Err(format!(
            "it was signed at {signed_s} and now is {now_s}: that is more than {TOLERANCE_S} s apart"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/reference/webhooks.md");

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn only_what_was_signed_lately_with_the_secret_passes() {
        let (now_s, body) = (1_700_000_000, b"{\"a\":1}");
        let signed = |at_s| sign(&secret("right"), at_s, body);
        let checked = |header: &str| check(&secret("right"), Some(header), now_s, body);
        for at_s in [now_s, now_s - 300, now_s + 300] {
            assert_eq!(checked(&signed(at_s)), Ok(()), "{at_s}");
        }
        for at_s in [now_s - 301, now_s + 301, i64::MIN, i64::MAX] {
            assert!(checked(&signed(at_s)).unwrap_err().contains("apart"), "{at_s}");
        }
        let good = signed(now_s);
        let hash = good.rsplit('=').next().unwrap();
        for header in [format!("t={now_s},v1=00,v1={hash}"), format!("v1={hash}, t={now_s}")] {
            assert_eq!(checked(&header), Ok(()), "{header}");
        }
        for header in [
            String::new(),
            "t=1".to_owned(),
            format!("t={now_s}"),
            format!("t={now_s},v1="),
            format!("t={now_s},v0={hash}"),
            format!("t={},v1={hash}", now_s + 1),
            format!("t=x,v1={hash}"),
            sign(&secret("wrong"), now_s, body),
        ] {
            assert!(checked(&header).is_err(), "{header}");
        }
        assert!(check(&secret("right"), Some(&good), now_s, b"{\"a\":2}").is_err());
        assert!(check(&secret("right"), None, now_s, body).is_err());
    }

    /// The value behind a label of the worked example of the page.
    fn example(label: &str) -> &'static str {
        let line = PAGE.lines().find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("the page has no example of `{label}`"))
    }

    #[test]
    fn the_example_in_the_reference_is_right() {
        let secret = secret(example("secret:    "));
        let at_s: i64 = example("time:      ").parse().unwrap();
        let body = example("body:      ");
        assert_eq!(sign(&secret, at_s, body.as_bytes()), example("signature: "));
        let id = example("read back: ");
        assert_eq!(
            sign(&secret, at_s, id.as_bytes()),
            example("signature of a read-back: ")
        );
    }

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
