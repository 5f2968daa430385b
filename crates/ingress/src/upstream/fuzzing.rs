//! What an instance sends, read in pieces: for `fuzz/`, and for the tests that repeat what it found.

use bytes::BytesMut;

use super::chunks::{Chunks, Part};
use super::head::{self, EndOfHead, Framing};

/// What was made of an answer, as far as it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    heads: Vec<(u16, usize)>,
    body: Vec<u8>,
    trailers: usize,
    ended: bool,
    refused: bool,
}

/// Reads heads until one is final, then its body, in pieces of this many bytes.
fn read(bytes: &[u8], piece: usize) -> Told {
    let (mut told, mut read, mut pieces) = (Told::default(), BytesMut::new(), bytes.chunks(piece.max(1)));
    let mut end = EndOfHead::default();
    let framing = loop {
        // As in an exchange: what has not come is not looked at.
        match if read.is_empty() {
            Ok(None)
        } else {
            head::read(&mut read, &mut end, false)
        } {
            Ok(Some(head)) => {
                told.heads.push((head.status.as_u16(), head.headers.len()));
                if !head.status.is_informational() {
                    break head.framing;
                }
                end = EndOfHead::default();
            }
            Ok(None) => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None => return told,
            },
            Err(_) => {
                told.refused = true;
                return told;
            }
        }
    };
    match framing {
        Framing::Length(length) => {
            pieces.for_each(|piece| read.extend_from_slice(piece));
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            told.ended = read.len() >= length;
            told.body = read[..length.min(read.len())].to_vec();
        }
        Framing::UntilClose => {
            pieces.for_each(|piece| read.extend_from_slice(piece));
            told.body = read.to_vec();
        }
        Framing::Chunked => chunks(&mut told, read, pieces),
    }
    told
}

fn chunks<'a>(told: &mut Told, mut read: BytesMut, mut pieces: impl Iterator<Item = &'a [u8]>) {
    let mut chunks = Chunks::default();
    loop {
        match chunks.next(&mut read) {
            Ok(Part::Data(data)) => told.body.extend_from_slice(&data),
            Ok(Part::Trailers(trailers)) => told.trailers = trailers.len(),
            Ok(Part::End) => {
                assert!(chunks.has_ended(), "an end that is none");
                told.ended = true;
                return;
            }
            Ok(Part::Missing) => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None => return,
            },
            Err(_) => {
                told.refused = true;
                return;
            }
        }
    }
}

/// What an instance sends is read alike, however it comes.
///
/// # Panics
/// When it is not.
pub(crate) fn answer(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let (whole, drips) = (read(bytes, bytes.len()), read(bytes, usize::from(piece % 32) + 1));
    assert_eq!(whole.refused, drips.refused, "refused depending on how it comes");
    if !whole.refused {
        assert_eq!(whole, drips, "read depending on how it comes");
    }
}
