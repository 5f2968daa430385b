//! Paths in a volume: bytes, checked once, and their form in texts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::FileError;

/// Longest path, in bytes; the kernel takes none that is longer.
const PATH_BYTES: usize = 4000;
/// Longest name, in bytes.
const NAME_BYTES: usize = 255;

/// A path below the root of a volume: no part is empty, `.` or `..`, none has a `/` or a byte 0 in
/// it. The empty one is the root. What it leads through is checked by the kernel when it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path as the API has it: it begins with `/`, and bytes are written as `%XX` where they
    /// are not printable ASCII, and where they are `%`.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(bad("a path begins with `/`", text));
        };
        let mut path = Self::root();
        if rest.is_empty() {
            return Ok(path);
        }
        for part in rest.split('/') {
            let name =
                decode(part).ok_or_else(|| bad("every byte that is not printable ASCII is written as %XX", text))?;
            path = path.join(&name).map_err(|_| bad("a part of it is no name", text))?;
        }
        Ok(path)
    }

    /// The path of something in the folder that this is.
    pub fn join(&self, name: &[u8]) -> Result<Self, FileError> {
        let wrong = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
        if wrong || name.len() > NAME_BYTES {
            return Err(bad("it has a part that is no name", &String::from_utf8_lossy(name)));
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        if bytes.len() > PATH_BYTES {
            return Err(bad(&format!("it is longer than {PATH_BYTES} bytes"), &shown(&bytes)));
        }
        Ok(Self(bytes))
    }

    /// A path as it stands in an archive: relative, with `./` before it and `/` behind it or without.
    pub fn in_archive(raw: &[u8]) -> Result<Self, FileError> {
        if raw.starts_with(b"/") {
            return Err(bad("it begins with `/`; names in an archive are relative", &shown(raw)));
        }
        let mut path = Self::root();
        for part in raw.split(|byte| *byte == b'/') {
            if !part.is_empty() && part != b"." {
                path = path
                    .join(part)
                    .map_err(|_| bad("a part of it is no name", &shown(raw)))?;
            }
        }
        Ok(path)
    }

    /// This path and another one below it.
    pub fn append(&self, below: &Self) -> Result<Self, FileError> {
        below.parts().try_fold(self.clone(), |path, name| path.join(name))
    }

    /// The names in it, the first folder first.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// The folder that it is in, and its name there; `None` for the root.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        let cut = self.0.iter().rposition(|byte| *byte == b'/');
        Some(match cut {
            Some(cut) => (Self(self.0[..cut].to_vec()), &self.0[cut + 1..]),
            None => (Self::root(), &self.0),
        })
    }

    /// Whether it is the other one or lies in it.
    pub fn is_in(&self, other: &Self) -> bool {
        other.0.is_empty() || self.0 == other.0 || self.0.strip_prefix(&other.0[..]).is_some_and(|rest| rest[0] == b'/')
    }

    /// Bytes that it takes in memory.
    pub(super) fn length(&self) -> usize {
        self.0.len()
    }

    /// As the kernel takes it, from the root of the volume.
    pub(super) fn relative(&self) -> &[u8] {
        if self.0.is_empty() { b"." } else { &self.0 }
    }

    /// As archives take it.
    pub(super) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// As [`TreePath::parse`] reads it.
    pub fn encoded(&self) -> String {
        let mut text = String::with_capacity(self.0.len() + 1);
        text.push('/');
        for byte in &self.0 {
            match byte {
                b'%' => text.push_str("%25"),
                0x21..=0x7e => text.push(char::from(*byte)),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text
    }

    /// For people: what is not UTF-8 is replaced.
    pub fn shown(&self) -> String {
        format!("/{}", shown(&self.0))
    }
}

/// Bytes for people, whole.
pub(super) fn whole(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Bytes for people, as messages have them: their beginning.
pub(super) fn shown(bytes: &[u8]) -> String {
    let flat = whole(bytes);
    match flat.char_indices().nth(200) {
        Some((cut, _)) => format!("{}…", &flat[..cut]),
        None => flat,
    }
}

fn bad(rule: &str, path: &str) -> FileError {
    FileError::BadPath(format!("`{}`: {rule}", shown(path.as_bytes())))
}

fn decode(part: &str) -> Option<Vec<u8>> {
    let bytes = part.as_bytes();
    let (mut name, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
                let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                name.push(u8::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?);
                at += 3;
            }
            0x20..=0x7e => {
                name.push(byte);
                at += 1;
            }
            _ => return None,
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_bytes_and_come_back_as_they_were_written() {
        for text in [
            "/",
            "/a",
            "/a/b%20c",
            "/%25",
            "/%FF%00".trim_end_matches("%00"),
            "/%D1%84",
            "/...",
        ] {
            assert_eq!(TreePath::parse(text).unwrap().encoded(), text);
        }
        assert_eq!(TreePath::parse("/a b").unwrap().encoded(), "/a%20b");
        assert_eq!(TreePath::parse("/%ff").unwrap().shown(), "/\u{fffd}");
    }

    #[test]
    fn what_leads_elsewhere_is_no_path() {
        let long = format!("/{}", "x".repeat(256));
        let deep = "/y".repeat(2001);
        let wrong = [
            "", "a", "//", "/a/", "/a//b", "/.", "/..", "/a/../b", "/%2e%2e", "/a%2Fb", "/a%00", "/%", "/%1", "/%zz",
            "/%+1", "/\u{e9}", "/a\n", &long, &deep,
        ];
        for text in wrong {
            assert!(matches!(TreePath::parse(text), Err(FileError::BadPath(_))), "{text:?}");
        }
    }

    #[test]
    fn names_in_archives_are_relative() {
        let path = |raw: &[u8]| TreePath::in_archive(raw).map(|path| path.encoded());
        assert_eq!(path(b"./a/b/").unwrap(), "/a/b");
        assert_eq!(path(b"./").unwrap(), "/");
        for raw in [&b"/etc/passwd"[..], b"../a", b"a/../../b", b"a\0b"] {
            assert!(path(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_path_knows_what_it_is_in() {
        let path = |text| TreePath::parse(text).unwrap();
        assert!(path("/a/b").is_in(&path("/a")));
        assert!(path("/a").is_in(&path("/a")));
        assert!(path("/a").is_in(&path("/")));
        assert!(!path("/ab").is_in(&path("/a")));
        assert_eq!(path("/a/b").split(), Some((path("/a"), &b"b"[..])));
        assert_eq!(path("/a").split(), Some((path("/"), &b"a"[..])));
        assert_eq!(path("/").split(), None);
    }
}
