//! The second factor: codes of six digits that follow from a secret and the time (RFC 6238, with
//! SHA-1 and steps of 30 s, as all apps for it understand).

use hmac::{Hmac, Mac as _};
use qrcode::{Color, EcLevel, QrCode};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use weir_api::QrPicture;
use weir_model::UnixMillis;

use crate::api::ApiError;
use crate::secrets::{Sealer, Secret, random_bytes};

const STEP_MS: i64 = 30_000;
/// A code is taken so many steps before and after its time, for clocks that are not right.
const DRIFT: i64 = 1;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// How many recovery codes somebody gets.
const RECOVERY_CODES: usize = 10;

/// A new secret: 160 bits in base32.
pub(crate) fn new_secret() -> Secret {
    Secret::new(base32(&random_bytes::<20>()))
}

/// What apps read from a picture.
pub(crate) fn uri(secret: &Secret, email: &str, issuer: &str) -> String {
    let plain =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    format!(
        "otpauth://totp/{issuer}:{}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
        plain(email),
        secret.expose(),
        issuer = plain(issuer),
    )
}

/// The same as a picture: a QR code, dark where the path goes.
pub(crate) fn picture(uri: &str) -> Result<QrPicture, ApiError> {
    // What is in it is lost with the page; the correction of errors is for screens that reflect.
    let code = QrCode::with_error_correction_level(uri, EcLevel::M).map_err(ApiError::internal)?;
    let size = code.width();
    let mut path = String::new();
    for (row, modules) in code.to_colors().chunks(size).enumerate() {
        let mut column = 0;
        for run in modules.chunk_by(|one, other| one == other) {
            if run[0] == Color::Dark {
                path.push_str(&format!("M{column} {row}h{}v1h-{}z", run.len(), run.len()));
            }
            column += run.len();
        }
    }
    Ok(QrPicture {
        size: u32::try_from(size).map_err(ApiError::internal)?,
        path,
    })
}

/// The step of time whose code this is, if it is one of now.
pub(crate) fn step_of(secret: &Secret, code: &str, now_ms: UnixMillis) -> Option<i64> {
    let code: String = code.chars().filter(|character| !character.is_whitespace()).collect();
    let key = unbase32(secret.expose())?;
    let now = now_ms.div_euclid(STEP_MS);
    let mut found = None;
    // All of them, so that the time does not say which.
    for step in now - DRIFT..=now + DRIFT {
        let right = code_of(&key, step)?;
        if bool::from(right.as_bytes().ct_eq(code.as_bytes())) {
            found = Some(step);
        }
    }
    found
}

fn code_of(key: &[u8], step: i64) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    mac.update(&u64::try_from(step).ok()?.to_be_bytes());
    let sum = mac.finalize().into_bytes();
    let offset = usize::from(sum.last()? & 0x0f);
    let part: [u8; 4] = sum.get(offset..offset + 4)?.try_into().ok()?;
    let number = (u32::from_be_bytes(part) & 0x7fff_ffff) % 1_000_000;
    Some(format!("{number:06}"))
}

/// Recovery codes, each good once: 80 bits in four groups.
pub(crate) fn recovery_codes() -> Vec<Secret> {
    let code = |_| {
        let text = base32(&random_bytes::<10>()).to_lowercase();
        Secret::new(format!(
            "{}-{}-{}-{}",
            &text[..4],
            &text[4..8],
            &text[8..12],
            &text[12..]
        ))
    };
    (0..RECOVERY_CODES).map(code).collect()
}

/// What is kept of a recovery code. Only this Weir can make it.
pub(crate) fn recovery_hash(sealer: &Sealer, user: weir_model::UserId, code: &str) -> String {
    let plain: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect();
    sealer.fingerprint(&[b"recovery", user.to_string().as_bytes(), plain.as_bytes()])
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(5) {
        let mut block = [0_u8; 8];
        block[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(block);
        let characters = (group.len() * 8).div_ceil(5);
        for index in 0..characters {
            let five = usize::try_from(bits >> (35 - 5 * index) & 31).unwrap_or_default();
            text.push(char::from(ALPHABET[five]));
        }
    }
    text
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for character in text.bytes() {
        let five = ALPHABET
            .iter()
            .position(|letter| *letter == character.to_ascii_uppercase())?;
        bits = bits << 5 | u32::try_from(five).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six digits.
        let key = b"12345678901234567890";
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(code_of(key, seconds / 30).as_deref(), Some(code));
        }
        assert_eq!(base32(key), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(unbase32(&base32(key)).unwrap(), key);
        for length in 0..12 {
            let bytes: Vec<u8> = (0..length).map(|byte| 200 + byte).collect();
            assert_eq!(unbase32(&base32(&bytes)).unwrap(), bytes);
        }
    }

    #[test]
    fn a_code_is_of_its_half_minute_and_those_beside() {
        let secret = Secret::new(base32(b"12345678901234567890"));
        let now_ms = 59_000;
        assert_eq!(step_of(&secret, "287 082", now_ms), Some(1));
        assert_eq!(step_of(&secret, "287082", now_ms + 30_000), Some(1));
        assert_eq!(step_of(&secret, "287082", now_ms + 60_000), None);
        assert_eq!(step_of(&secret, "287083", now_ms), None);
        assert_eq!(step_of(&secret, "", now_ms), None);
    }

    #[test]
    fn recovery_codes_are_read_however_they_are_typed() {
        let sealer = Sealer::from_key([1; 32]);
        let codes = recovery_codes();
        assert_eq!(codes.len(), RECOVERY_CODES);
        let user = weir_model::UserId::from_parts(1, 1);
        let code = codes[0].expose();
        let typed = code.replace('-', " ").to_uppercase();
        assert_eq!(recovery_hash(&sealer, user, code), recovery_hash(&sealer, user, &typed));
        let other = weir_model::UserId::from_parts(1, 2);
        assert_ne!(recovery_hash(&sealer, user, code), recovery_hash(&sealer, other, code));
    }
}
