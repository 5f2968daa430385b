//! Bodies in chunks (RFC 9112, 7.1), read strictly.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::BadAnswer;
use super::head::{self, EndOfHead};

/// Most bytes of chunk extensions in one body. Nobody needs them; they are read over.
const EXTENSION_BYTES: usize = 16 * 1024;
/// Most bytes of trailers.
const TRAILER_BYTES: usize = 16 * 1024;

/// Where in the body the reader is.
#[derive(Debug)]
enum Place {
    /// In the digits of a size, so many so far.
    Size {
        size: u64,
        digits: u8,
    },
    /// Between the size and the end of its line.
    Extension {
        size: u64,
        /// Only blanks so far, so that no extension may begin without a semicolon.
        blank: bool,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataEnd,
    Trailers(EndOfHead),
    Ended,
}

/// What the next part of a body is.
#[derive(Debug)]
pub(super) enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// More has to be read.
    Missing,
}

/// Reads a body in chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    extension_bytes: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            place: Place::Size { size: 0, digits: 0 },
            extension_bytes: 0,
        }
    }
}

impl Chunks {
    /// Takes the next part out of what was read.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Part, BadAnswer> {
        loop {
            match &mut self.place {
                Place::Data { left } => {
                    if read.is_empty() {
                        return Ok(Part::Missing);
                    }
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                    *left -= u64::try_from(length).unwrap_or(u64::MAX);
                    let data = read.split_to(length).freeze();
                    if *left == 0 {
                        self.place = Place::DataReturn;
                    }
                    return Ok(Part::Data(data));
                }
                Place::Trailers(end) => {
                    let Some(length) = end.find(read)? else {
                        return match read.len() {
                            TRAILER_BYTES.. => Err(BadAnswer("its trailers are too large")),
                            _ => Ok(Part::Missing),
                        };
                    };
                    if length > TRAILER_BYTES {
                        return Err(BadAnswer("its trailers are too large"));
                    }
                    self.place = Place::Ended;
                    let bytes = read.split_to(length).freeze();
                    if length > 2 {
                        return head::trailers(&bytes).map(Part::Trailers);
                    }
                }
                Place::Ended => return Ok(Part::End),
                _ => {
                    if self.read_over_line(read)? {
                        return Ok(Part::Missing);
                    }
                }
            }
        }
    }

    /// Reads the line of a size, or the end of a chunk's data; whether more has to be read.
    fn read_over_line(&mut self, read: &mut BytesMut) -> Result<bool, BadAnswer> {
        for at in 0..read.len() {
            self.step(read[at])?;
            if matches!(self.place, Place::Data { .. } | Place::Trailers(_)) {
                let _ = read.split_to(at + 1);
                return Ok(false);
            }
        }
        read.clear();
        Ok(true)
    }

    fn step(&mut self, byte: u8) -> Result<(), BadAnswer> {
        self.place = match (&self.place, byte) {
            (Place::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                // Sixteen digits are all that fit.
                if *digits == 16 {
                    return Err(BadAnswer("a chunk of it is too large"));
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Place::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (Place::Size { digits: 0, .. }, _) => return Err(BadAnswer("a chunk of it has no size")),
            (Place::Size { size, .. }, b'\r') => Place::SizeEnd { size: *size },
            (Place::Size { size, .. }, b' ' | b'\t') => Place::Extension {
                size: *size,
                blank: true,
            },
            (Place::Size { size, .. } | Place::Extension { size, blank: true }, b';') => Place::Extension {
                size: *size,
                blank: false,
            },
            (Place::Extension { size, .. }, b'\r') => Place::SizeEnd { size: *size },
            (Place::Extension { size, blank }, _) => {
                let is_blank = matches!(byte, b' ' | b'\t');
                if (*blank || byte < b' ' || byte == 0x7f) && !is_blank {
                    return Err(BadAnswer("the size of a chunk of it is malformed"));
                }
                self.extension_bytes += 1;
                if self.extension_bytes > EXTENSION_BYTES {
                    return Err(BadAnswer("the extensions of its chunks are too large"));
                }
                Place::Extension {
                    size: *size,
                    blank: *blank,
                }
            }
            (Place::SizeEnd { size: 0 }, b'\n') => Place::Trailers(EndOfHead::default()),
            (Place::SizeEnd { size }, b'\n') => Place::Data { left: *size },
            (Place::DataReturn, b'\r') => Place::DataEnd,
            (Place::DataEnd, b'\n') => Place::Size { size: 0, digits: 0 },
            _ => return Err(BadAnswer("a chunk of it is malformed")),
        };
        Ok(())
    }

    /// Whether all has come.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.place, Place::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole body, read in pieces of this many bytes; None where it is refused, or not whole.
    fn body(text: &[u8], piece: usize) -> Option<(Vec<u8>, usize, usize)> {
        let (mut chunks, mut read, mut data, mut trailers) = (Chunks::default(), BytesMut::new(), Vec::new(), 0);
        let mut pieces = text.chunks(piece);
        loop {
            match chunks.next(&mut read).ok()? {
                Part::Data(bytes) => data.extend_from_slice(&bytes),
                Part::Trailers(map) => trailers = map.len(),
                Part::End => return Some((data, trailers, read.len() + pieces.map(<[u8]>::len).sum::<usize>())),
                Part::Missing => read.extend_from_slice(pieces.next()?),
            }
        }
    }

    #[test]
    fn chunks_are_put_together_however_they_come() {
        let cases: [(&[u8], &[u8], usize, usize); 6] = [
            (b"0\r\n\r\n", b"", 0, 0),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc", 0, 0),
            (
                b"1\r\na\r\n00A \t\r\n0123456789\r\n000\r\n\r\nmore",
                b"a0123456789",
                0,
                4,
            ),
            (b"2;a=b;c=\"d\"\r\nab\r\n0;x\r\n\r\n", b"ab", 0, 0),
            (b"2 ; a\r\n\r\n\r\n0\r\nx: 1\r\ny: 2\r\n\r\n", b"\r\n", 2, 0),
            (b"1\r\na\r\n0\r\nx: 1\r\n\r\nHTTP", b"a", 1, 4),
        ];
        for (text, data, trailers, left) in cases {
            for piece in 1..=text.len() {
                let whole = body(text, piece);
                assert_eq!(whole, Some((data.to_vec(), trailers, left)), "{piece} of {text:?}");
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let refused: [&[u8]; 16] = [
            b"\r\n\r\n",
            b"-1\r\na\r\n",
            b"0x1\r\na\r\n0\r\n\r\n",
            b" 1\r\na\r\n0\r\n\r\n",
            b"1\na\r\n0\r\n\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"1 2\r\na\r\n0\r\n\r\n",
            b"1\r\r\na\r\n0\r\n\r\n",
            b"1;a\nb\r\na\r\n0\r\n\r\n",
            b"1;a\0\r\na\r\n0\r\n\r\n",
            b"00000000000000001\r\na\r\n0\r\n\r\n",
            b"0\r\nx: 1\n\r\n",
            b"0\r\nx : 1\r\n\r\n",
            b"0\r\nx\r\n\r\n",
            b"0\n\r\n",
        ];
        for text in refused {
            for piece in [1, text.len()] {
                assert_eq!(body(text, piece), None, "{text:?}");
            }
        }
        let extensions = [b"1;".to_vec(), vec![b'a'; EXTENSION_BYTES + 1]].concat();
        assert_eq!(body(&extensions, 1024), None);
        let trailers = [b"0\r\nx: ".to_vec(), vec![b'a'; TRAILER_BYTES + 1]].concat();
        assert_eq!(body(&trailers, 1024), None);
    }
}
