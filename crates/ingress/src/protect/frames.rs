//! What a client sends over HTTP/2 beside requests: pings, settings, windows, and taking back what it asked
//! for. The protocol allows any number of them, and each costs something here ("ping flood", "settings
//! flood", CVE-2019-9512, 9513, 9515; "rapid reset", CVE-2023-44487). A client that sends more of them than
//! goes with what it asks is cut off.
//!
//! The parser below (`h2`) bounds what waits of them, not how many come. Only the heads of the frames are
//! looked at here, in passing.

/// Every connection begins with so many bytes that are no frame.
const PREFACE_BYTES: usize = 24;
/// The head of a frame, in bytes.
const HEAD_BYTES: usize = 9;
/// The same, where it is counted.
const HEAD_NOISE: u64 = 9;
/// Bytes beside requests that are borne at once.
const NOISE_BYTES: u64 = 512 << 10;
/// So many more of them are borne for each byte of a request or an answer.
const NOISE_FOR_EACH_BYTE: u64 = 8;
/// So many more are borne each second: pings that keep a connection alive for weeks.
const NOISE_BYTES_PER_S: u64 = 1 << 10;
/// Requests taken back that are borne at once, beside half of all requests.
const RESETS: u64 = 500;
/// So many more are borne each second.
const RESETS_PER_S: u64 = 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const ACKNOWLEDGES: u8 = 1;
const PADDED: u8 = 8;
/// Bytes that fill a frame up, at most, with the one that says how many.
const MOST_PADDING: u64 = 256;
/// The bits of a stream's number.
const STREAM: u32 = 0x7fff_ffff;

/// The frames of one client. Times are milliseconds by any clock that does not go back.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes that belong to the frame whose head was read last.
    rest: usize,
    head: [u8; HEAD_BYTES],
    read: usize,
    /// Bytes beside requests that nothing has made up for.
    noise: u64,
    /// Bytes that are still to be written in answer to them, so that they make up for nothing.
    owed: u64,
    /// Twice the number of requests taken back, less that of requests.
    resets: u64,
    /// The highest number of a stream that was opened.
    newest: u32,
    looked_ms: u64,
}

impl Frames {
    /// Of a connection of which nothing was read yet.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            rest: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            read: 0,
            noise: 0,
            owed: 0,
            resets: 0,
            newest: 0,
            looked_ms: now_ms,
        }
    }

    /// So much was written to the client.
    pub(crate) fn went(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let answers = bytes.saturating_sub(self.owed);
        self.owed = self.owed.saturating_sub(bytes);
        self.makes_up(answers);
    }

    fn makes_up(&mut self, bytes: u64) {
        self.noise = self.noise.saturating_sub(bytes.saturating_mul(NOISE_FOR_EACH_BYTE));
    }

    /// These bytes came next.
    ///
    /// # Errors
    /// The client sends too much that is no request; what, in words.
    pub(crate) fn came(&mut self, mut bytes: &[u8], now_ms: u64) -> Result<(), &'static str> {
        let waited_ms = now_ms.saturating_sub(self.looked_ms);
        // What is too little to count is counted with the next.
        if waited_ms >= 1_000 {
            self.looked_ms = now_ms;
            let waited_s = waited_ms / 1_000;
            self.noise = self.noise.saturating_sub(waited_s.saturating_mul(NOISE_BYTES_PER_S));
            self.resets = self.resets.saturating_sub(waited_s.saturating_mul(2 * RESETS_PER_S));
        }
        while !bytes.is_empty() {
            let passed = self.rest.min(bytes.len());
            self.rest -= passed;
            bytes = &bytes[passed..];
            let taken = (HEAD_BYTES - self.read).min(bytes.len());
            self.head[self.read..self.read + taken].copy_from_slice(&bytes[..taken]);
            self.read += taken;
            bytes = &bytes[taken..];
            if self.read == HEAD_BYTES {
                self.read = 0;
                self.count();
            }
        }
        if self.noise > NOISE_BYTES {
            return Err("it sends much that belongs to no request");
        }
        if self.resets > 2 * RESETS {
            return Err("it takes back most of what it asks for");
        }
        Ok(())
    }

    fn count(&mut self) {
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.rest = usize::try_from(length).unwrap_or(usize::MAX);
        let whole = u64::from(length) + HEAD_NOISE;
        // What fills a frame up carries nothing.
        let padding = if flags & PADDED == 0 || kind == CONTINUATION {
            0
        } else {
            MOST_PADDING
        };
        let carried = u64::from(length).saturating_sub(padding);
        match kind {
            DATA | HEADERS | CONTINUATION if carried > 0 => {
                // Trailers are no other request.
                let stream = u32::from_be_bytes(stream) & STREAM;
                if kind == HEADERS && stream > self.newest {
                    self.newest = stream;
                    self.resets = self.resets.saturating_sub(1);
                }
                self.makes_up(carried);
            }
            _ => {
                if kind == RESET {
                    self.resets = self.resets.saturating_add(2);
                }
                if flags & ACKNOWLEDGES == 0 {
                    self.owed += match kind {
                        SETTINGS => HEAD_NOISE,
                        PING => whole,
                        _ => 0,
                    };
                }
                self.noise = self.noise.saturating_add(whole);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS_STREAM: u8 = 1;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.resize(HEAD_BYTES + length, 0xff);
        frame
    }

    /// After how many times of the same the client is cut off; it has asked once before.
    fn cut_off_after(frames: &[Vec<u8>], piece: usize, pause_ms: u64, answered: usize) -> Option<u32> {
        let bytes = [vec![0xff; PREFACE_BYTES], frame(SETTINGS, 18)].concat();
        let (mut watched, mut now_ms) = (Frames::new(0), 0);
        assert_eq!(watched.came(&bytes, 0), Ok(()));
        (0..200_000_u32).find(|round| {
            // Each time other streams.
            let mut frames = frames.to_vec();
            for (number, frame) in (1..).zip(&mut frames) {
                let stream = round * 8 + number;
                if frame[3] != HEADERS || frame[4] & ENDS_STREAM == 0 {
                    frame[5..HEAD_BYTES].copy_from_slice(&stream.to_be_bytes());
                }
            }
            let bytes = frames.concat();
            now_ms += pause_ms;
            watched.went(answered);
            bytes.chunks(piece).any(|piece| watched.came(piece, now_ms).is_err())
        })
    }

    #[test]
    fn who_sends_nothing_but_noise_is_cut_off_however_it_comes() {
        for piece in [1, 7, 9, 4_096] {
            let pings = cut_off_after(&[frame(PING, 8)], piece, 0, 17).unwrap();
            assert!((29_000..32_000).contains(&pings), "{pings}");
            let settings = cut_off_after(&[frame(SETTINGS, 0)], piece, 0, 9).unwrap();
            assert!((57_000..59_000).contains(&settings), "{settings}");
            // Frames of no known kind, and those that would carry something and do not.
            let unknown = cut_off_after(&[frame(0xbe, 1_000)], piece, 0, 0).unwrap();
            assert!(unknown < 600, "{unknown}");
            assert!(cut_off_after(&[frame(DATA, 0)], piece, 0, 0).is_some());
            let mut padded = frame(DATA, 1);
            padded[4] = PADDED;
            assert!(cut_off_after(&[padded], piece, 0, 0).is_some());
        }
    }

    #[test]
    fn noise_that_goes_with_requests_and_answers_is_borne() {
        // A small window opened for each kilobyte of an answer, or of nothing but time.
        assert_eq!(cut_off_after(&[frame(8, 4), frame(8, 4)], 100, 0, 1_024), None);
        assert_eq!(cut_off_after(&[frame(PING, 8)], 100, 100, 17), None);
        // An upload in small pieces, with a ping for each.
        let upload = [frame(DATA, 10), frame(PING, 8)];
        assert_eq!(cut_off_after(&upload, 100, 0, 17), None);
        assert_eq!(cut_off_after(&[frame(HEADERS, 30)], 100, 0, 0), None);
    }

    #[test]
    fn who_takes_back_most_of_what_it_asks_is_cut_off() {
        let taken_back = [frame(HEADERS, 30), frame(RESET, 4)];
        let requests = cut_off_after(&taken_back, 100, 0, 0).unwrap();
        assert!((900..1_100).contains(&requests), "{requests}");
        // Trailers make up for nothing.
        let mut trailers = frame(HEADERS, 30);
        trailers[4] = ENDS_STREAM;
        let requests = cut_off_after(&[frame(HEADERS, 30), trailers, frame(RESET, 4)], 100, 0, 0).unwrap();
        assert!((900..1_100).contains(&requests), "{requests}");
        // Half of them, or at leisure.
        let half = [frame(HEADERS, 30), frame(HEADERS, 30), frame(RESET, 4)];
        assert_eq!(cut_off_after(&half, 100, 0, 0), None);
        assert_eq!(cut_off_after(&taken_back, 100, 50, 0), None);
    }
}
