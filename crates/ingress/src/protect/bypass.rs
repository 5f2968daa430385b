//! The way past a maintenance: a secret link sets a cookie, and who has it gets through. Nodes know
//! only the hash of the secret, and only for as long as the environment is closed.

use http::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use weir_model::protection::BYPASS_PATH;

/// The cookie that the link sets; no app sees it.
const COOKIE: &str = "weir-bypass";
/// Longest secret that is looked at, in bytes.
const SECRET_BYTES: usize = 128;

/// What the secret of an environment must hash to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bypass([u8; 32]);

impl Bypass {
    /// None where the hash is none.
    pub(crate) fn of(hash: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let text: &[u8; 64] = hash.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// Takes as long for every secret of the same length.
    fn admits(self, secret: &str) -> bool {
        if secret.len() > SECRET_BYTES {
            return false;
        }
        let hash: [u8; 32] = Sha256::digest(secret).into();
        let differences = hash.iter().zip(self.0).fold(0, |sum, (one, other)| sum | (one ^ other));
        differences == 0
    }

    /// What sets the cookie, if this path is the link.
    pub(crate) fn cookie(self, path: &str, secure: bool) -> Option<HeaderValue> {
        let secret = path.strip_prefix(BYPASS_PATH)?;
        if !self.admits(secret) {
            return None;
        }
        let only_tls = if secure { "; Secure" } else { "" };
        let cookie = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax{only_tls}");
        let mut cookie = HeaderValue::from_str(&cookie).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    /// Whether the request has the cookie, which is taken out of it.
    pub(crate) fn take(self, headers: &mut HeaderMap) -> bool {
        let Some(line) = headers.get(header::COOKIE) else {
            return false;
        };
        let Ok(text) = line.to_str() else { return false };
        let is_ours = |pair: &&str| {
            pair.split_once('=')
                .is_some_and(|(name, _)| name.trim_ascii() == COOKIE)
        };
        let pairs = || text.split(';').map(str::trim_ascii).filter(|pair| !pair.is_empty());
        let mut ours = pairs().filter(is_ours).filter_map(|pair| Some(pair.split_once('=')?.1));
        if !pairs().any(|pair| is_ours(&pair)) {
            return false;
        }
        let admitted = ours.any(|secret| self.admits(secret.trim_ascii()));
        let others: Vec<&str> = pairs().filter(|pair| !is_ours(pair)).collect();
        match HeaderValue::from_str(&others.join("; ")) {
            Ok(others) if !others.is_empty() => drop(headers.insert(header::COOKIE, others)),
            _ => drop(headers.remove(header::COOKIE)),
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc`.
    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_link_sets_a_cookie_that_is_for_weir_alone() {
        let bypass = Bypass::of(HASH).unwrap();
        let cookie = |path: &str, secure| {
            let cookie = bypass.cookie(path, secure)?;
            Some(cookie.to_str().unwrap().to_owned())
        };
        let plain = "weir-bypass=abc; Path=/; HttpOnly; SameSite=Lax";
        assert_eq!(cookie("/.weir/bypass/abc", false).as_deref(), Some(plain));
        assert_eq!(cookie("/.weir/bypass/abc", true), Some(format!("{plain}; Secure")));
        for wrong in [
            "/.weir/bypass/",
            "/.weir/bypass/abd",
            "/.weir/bypass/abc/",
            "/abc",
            "/x/.weir/bypass/abc",
        ] {
            assert_eq!(cookie(wrong, true), None, "{wrong}");
        }
    }

    #[test]
    fn the_cookie_lets_pass_and_is_taken_out() {
        let bypass = Bypass::of(HASH).unwrap();
        for (line, passes, left) in [
            ("weir-bypass=abc", true, None),
            ("a=1; weir-bypass=abc;b=2", true, Some("a=1; b=2")),
            ("weir-bypass=abd; weir-bypass=abc", true, None),
            ("a=1; weir-bypass=abd", false, Some("a=1")),
            ("a=weir-bypass=abc", false, Some("a=weir-bypass=abc")),
            ("a=1", false, Some("a=1")),
        ] {
            let mut headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(line).unwrap())]);
            assert_eq!(bypass.take(&mut headers), passes, "{line}");
            assert_eq!(headers.get(header::COOKIE).map(|line| line.to_str().unwrap()), left);
        }
        assert!(!bypass.take(&mut HeaderMap::new()));
    }

    #[test]
    fn a_hash_that_is_none_lets_nobody_pass() {
        for wrong in ["", "abc", &HASH[1..], &format!("{}g", &HASH[1..]), &format!("{HASH}00")] {
            assert!(Bypass::of(wrong).is_none(), "{wrong}");
        }
    }
}
