//! What a path may mean to an app. Rules about `/admin` have to hold for `//admin`, `/x/../Admin`
//! and `/%61dmin`, too, because some apps take them for the same.

use std::borrow::Cow;

/// So often an app might decode it.
const MOST_DECODINGS: usize = 3;

/// The path as the most lenient of apps would read it: decoded, without empty and dotted segments,
/// without parameters (`;x=1`), in lower case, and with `/` in place of `\`.
pub(crate) fn lenient(path: &str) -> Cow<'_, str> {
    if is_plain(path) {
        return Cow::Borrowed(path);
    }
    let text = decoded_throughout(path).to_lowercase();
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            plain => segments.push(plain),
        }
    }
    Cow::Owned(format!("/{}", segments.join("/")))
}

/// Whether apps read it so differently that it may mean any path: it goes back up, or begins like
/// the name of a host. No browser sends that.
pub(crate) fn may_mean_any(path: &str) -> bool {
    if is_plain(path) {
        return false;
    }
    let text = decoded_throughout(path);
    let is_slash = |letter: char| matches!(letter, '/' | '\\');
    let goes_up = |segment: &str| segment.split(';').next().is_some_and(|name| name.trim() == "..");
    text.chars().take(2).filter(|letter| is_slash(*letter)).count() == 2 || text.split(is_slash).any(goes_up)
}

fn decoded_throughout(path: &str) -> String {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..MOST_DECODINGS {
        if !bytes.contains(&b'%') {
            break;
        }
        bytes = decoded(&bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether it can be read in one way only.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    let odd = |byte: &u8| matches!(byte, b'%' | b'\\' | b';' | b'A'..=b'Z' | 0x80..);
    bytes.first() == Some(&b'/') && !bytes.iter().any(odd) && !bytes.windows(2).any(|two| two == b"//" || two == b"/.")
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        out.push(match (first, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => *first,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_path_mean_the_same() {
        for spelling in [
            "/admin/x",
            "//admin/x",
            "/admin//x",
            "/./admin/x",
            "/y/../admin/x",
            "/../admin/x",
            "/%61dmin/x",
            "/%2561dmin/x",
            "/%2561dmin%2fx",
            "/admin%2Fx",
            "/admin%5cx",
            "\\admin\\x",
            "/Admin/X",
            "/admin;jsessionid=1/x",
            "/admin/x;y",
            "/y/%2e%2e/admin/x",
            "/y/.%2E/admin/x",
        ] {
            assert_eq!(lenient(spelling), "/admin/x", "{spelling}");
        }
    }

    #[test]
    fn what_apps_read_in_many_ways_may_mean_any_path() {
        for path in [
            "//x/admin",
            "/\\x/admin",
            "/%2fx/admin",
            "/a%2fb/../admin",
            "/a;%2fb/../admin",
            "/api//../admin",
            "/api/;/../admin",
            "/api/%252e/../admin",
            "/Admin/../x",
            "/%61dmin/../x",
            "/%61dmin/%252e%252e/x",
            "/y/..;a=b/x",
        ] {
            assert!(may_mean_any(path), "{path}");
        }
        for path in [
            "/",
            "/a//b",
            "/a/.b/..c/d..",
            "/%61dmin",
            "/a;b/c",
            "/.well-known/x",
            "*",
        ] {
            assert!(!may_mean_any(path), "{path}");
        }
    }

    #[test]
    fn plain_paths_stay_as_they_are_and_odd_ones_do_no_harm() {
        assert!(matches!(lenient("/api/v1/users/17"), Cow::Borrowed("/api/v1/users/17")));
        assert!(matches!(lenient("/files/a.txt"), Cow::Borrowed(_)));
        assert_eq!(lenient("*"), "/*");
        assert_eq!(lenient("/%"), "/%");
        assert_eq!(lenient("/%zz/%4"), "/%zz/%4");
        assert_eq!(lenient("/%ff"), "/\u{fffd}");
        assert_eq!(lenient(""), "/");
    }
}
