//! The content codings of a body: reads them from the headers and decodes gzip while the body arrives.

use std::{
    pin::Pin,
    task::{self, Poll, ready},
};

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use futures_core::Stream;
use headwater_core::{Body, Failure, TransportError};
use http::{HeaderMap, header};

/// The coding that requests accept.
pub(crate) const ACCEPTED: &str = "gzip";

/// The maximum number of nested compressions.
const MAX_LAYERS: usize = 2;
/// The decoded size of one piece, in bytes.
const PIECE: usize = 64 << 10;
/// The maximum window of a gzip member, as a power of two.
const WINDOW_BITS: u8 = 15;

/// The first byte of a member.
const MAGIC: u8 = 0x1f;

/// Registered codings that this crate does not decode. Other words in the header (`utf-8`, `none`) are mistakes of
/// services that send plain bodies.
const UNSUPPORTED: &[&str] = &[
    "aes128gcm",
    "br",
    "compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "pack200-gzip",
    "x-compress",
    "zstd",
];

/// Returns the decoded body. For an unsupported coding, its first piece is an error that names the coding. Removes the
/// headers that describe the encoded bytes.
pub(crate) fn decoded(headers: &mut HeaderMap, body: Body) -> Body {
    match layers(headers) {
        Ok(0) => body,
        Ok(layers) => {
            headers.remove(header::CONTENT_ENCODING);
            headers.remove(header::CONTENT_LENGTH);
            (0..layers).fold(body, |body, _| Box::pin(Gunzip::new(body)) as Body)
        }
        Err(detail) => Box::pin(BadEncoding(Some(detail))),
    }
}

/// Returns the number of gzip layers, or an error message for another coding.
fn layers(headers: &HeaderMap) -> Result<usize, String> {
    let mut layers = 0;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let Ok(value) = value.to_str() else { continue };
        for coding in value.split(',') {
            let coding = coding.trim().to_ascii_lowercase();
            match coding.as_str() {
                "gzip" | "x-gzip" => layers += 1,
                coding if UNSUPPORTED.contains(&coding) => {
                    return Err(format!(
                        "it is encoded as {coding}, though the request accepts only {ACCEPTED}"
                    ));
                }
                _ => {}
            }
        }
    }
    if layers > MAX_LAYERS {
        return Err(format!("it is compressed {layers} times"));
    }
    Ok(layers)
}

fn undecodable(detail: impl Into<String>) -> TransportError {
    TransportError {
        failure: Failure::Undecodable,
        before_send: false,
        detail: detail.into(),
    }
}

/// A body that cannot be read.
struct BadEncoding(Option<String>);

impl Stream for BadEncoding {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(|detail| Err(undecodable(detail))))
    }
}

/// A gzip body, decoded: all its members, one after the other.
struct Gunzip {
    body: Body,
    /// The received bytes that are not decoded yet.
    input: Bytes,
    inflate: Decompress,
    phase: GzipPhase,
}

#[derive(Clone, Copy, PartialEq)]
enum GzipPhase {
    /// Before the first byte. An empty body has no content.
    Start,
    Member,
    /// After a member: at the end, or before the next one.
    Between,
    /// After the last member. Some writers pad blocks with zeros.
    Padding,
    /// The end, or an error.
    Over,
}

impl Gunzip {
    fn new(body: Body) -> Self {
        Self {
            body,
            input: Bytes::new(),
            inflate: Decompress::new_gzip(WINDOW_BITS),
            phase: GzipPhase::Start,
        }
    }

    /// Decodes the input into `piece`, until the input is empty or the piece is full.
    fn decode(&mut self, piece: &mut Vec<u8>) -> Result<(), TransportError> {
        while !self.input.is_empty() && piece.len() < PIECE {
            match self.phase {
                GzipPhase::Start => self.phase = GzipPhase::Member,
                GzipPhase::Between if self.input[0] == 0 => self.phase = GzipPhase::Padding,
                GzipPhase::Between if self.input[0] != MAGIC => {
                    return Err(undecodable("other bytes follow its compressed bytes"));
                }
                GzipPhase::Between => {
                    self.inflate = Decompress::new_gzip(WINDOW_BITS);
                    self.phase = GzipPhase::Member;
                }
                GzipPhase::Padding if self.input.iter().all(|byte| *byte == 0) => {
                    self.input.clear();
                }
                GzipPhase::Padding => {
                    return Err(undecodable("other bytes follow its compressed bytes"));
                }
                GzipPhase::Member => self.inflate(piece)?,
                GzipPhase::Over => self.input.clear(),
            }
        }
        Ok(())
    }

    fn inflate(&mut self, piece: &mut Vec<u8>) -> Result<(), TransportError> {
        piece.reserve(PIECE - piece.len());
        let before = (self.inflate.total_in(), piece.len());
        let flush = FlushDecompress::None;
        let inflated = self.inflate.decompress_vec(&self.input, piece, flush);
        let taken = self.inflate.total_in() - before.0;
        self.input
            .advance(usize::try_from(taken).unwrap_or(usize::MAX));
        match inflated {
            Ok(Status::StreamEnd) => self.phase = GzipPhase::Between,
            Ok(_) if taken > 0 || piece.len() > before.1 => {}
            Ok(_) | Err(_) => return Err(undecodable("its compressed bytes are damaged")),
        }
        Ok(())
    }

    /// Returns the error of a body that ended inside a member.
    fn ended(&self) -> Option<TransportError> {
        // A body that was cut off on its way may be complete at the next request.
        (self.phase == GzipPhase::Member).then(|| TransportError {
            failure: Failure::Interrupted,
            before_send: false,
            detail: "the compressed body was cut short".to_owned(),
        })
    }
}

impl Stream for Gunzip {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut piece = Vec::new();
        let failed = loop {
            if let Err(error) = this.decode(&mut piece) {
                break error;
            }
            if piece.len() >= PIECE {
                return Poll::Ready(Some(Ok(piece.into())));
            }
            if this.phase == GzipPhase::Over {
                return Poll::Ready(None);
            }
            // Delivers decoded bytes before it waits for more.
            let next = match this.body.as_mut().poll_next(cx) {
                Poll::Pending if !piece.is_empty() => return Poll::Ready(Some(Ok(piece.into()))),
                polled => ready!(polled),
            };
            match next {
                Some(Ok(input)) => this.input = input,
                Some(Err(error)) => break error,
                None => match this.ended() {
                    Some(error) => break error,
                    None => {
                        this.phase = GzipPhase::Over;
                        let last = (!piece.is_empty()).then(|| Ok(piece.into()));
                        return Poll::Ready(last);
                    }
                },
            }
        };
        this.phase = GzipPhase::Over;
        this.input.clear();
        Poll::Ready(Some(Err(failed)))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A body that arrives in pieces, each after a wait.
    struct DelayedChunks(Vec<Bytes>, bool);

    impl Stream for DelayedChunks {
        type Item = Result<Bytes, TransportError>;

        fn poll_next(
            mut self: Pin<&mut Self>,
            cx: &mut task::Context<'_>,
        ) -> Poll<Option<Self::Item>> {
            self.1 = !self.1;
            if self.1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(self.0.pop().map(Ok))
        }
    }

    async fn read(
        headers: &[&'static str],
        sent: &[u8],
        step: usize,
    ) -> Result<Vec<u8>, TransportError> {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(header::CONTENT_ENCODING, value.parse().unwrap());
        }
        let mut pieces: Vec<Bytes> = sent.chunks(step).map(Bytes::copy_from_slice).collect();
        pieces.reverse();
        let mut body = decoded(&mut map, Box::pin(DelayedChunks(pieces, false)));
        let mut read = Vec::new();
        while let Some(piece) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
            read.extend_from_slice(&piece?);
        }
        assert!(poll_fn(|cx| body.as_mut().poll_next(cx)).await.is_none());
        Ok(read)
    }

    #[tokio::test]
    async fn every_spelling_of_gzip_is_taken_off() {
        let text = b"{\"items\":[1,2,3]}".repeat(20_000);
        let once = gzip(&text);
        let twice = gzip(&once);
        for (headers, sent) in [
            (&["gzip"][..], &once),
            (&["GZIP"], &once),
            (&["x-gzip"], &once),
            (&["X-GZip"], &once),
            (&["gzip, identity"], &once),
            (&["identity,gzip"], &once),
            (&[" gzip ,"], &once),
            (&["identity", "gzip"], &once),
            (&["gzip, gzip"], &twice),
            (&["gzip", "x-gzip"], &twice),
            (&["identity"], &text),
            (&["utf-8"], &text),
            (&["none"], &text),
            (&[""], &text),
            (&[], &text),
        ] {
            for step in [1000, 1 << 20] {
                assert!(
                    read(headers, sent, step).await.unwrap() == text,
                    "{headers:?}"
                );
            }
        }
        for (header, named) in [
            ("br", "br"),
            ("ZSTD", "zstd"),
            ("deflate", "deflate"),
            ("gzip, br", "br"),
            ("gzip, gzip, gzip", "3 times"),
        ] {
            let error = read(&[header], &once, 1000).await.unwrap_err();
            assert_eq!(error.failure, Failure::Undecodable);
            assert!(error.detail.contains(named), "{error}");
        }
    }

    #[tokio::test]
    async fn members_follow_each_other_wherever_the_pieces_end() {
        let parts: [&[u8]; 4] = [b"[1", b"", b",2,3", b"]"];
        let sent: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
        let padded = [&sent[..], &[0; 700]].concat();
        for step in 1..80 {
            assert_eq!(read(&["gzip"], &sent, step).await.unwrap(), b"[1,2,3]");
            assert_eq!(read(&["gzip"], &padded, step).await.unwrap(), b"[1,2,3]");
        }
        assert_eq!(read(&["gzip"], b"", 1).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn what_is_cut_short_or_damaged_is_an_error_at_every_byte() {
        let one = gzip(b"{\"a\":[1,2,3]}");
        let two = [one.clone(), one.clone()].concat();
        for cut in 1..two.len() {
            let read = read(&["gzip"], &two[..cut], 7).await;
            match cut == one.len() {
                true => assert!(read.is_ok()),
                false => assert_eq!(read.unwrap_err().failure, Failure::Interrupted, "{cut}"),
            }
        }
        for checked in one.len() - 8..one.len() {
            let mut damaged = two.clone();
            damaged[checked] ^= 0xff;
            let error = read(&["gzip"], &damaged, 7).await.unwrap_err();
            assert_eq!(error.failure, Failure::Undecodable, "{checked}");
        }
        for behind in [&b"x"[..], b"\0\0x", b"{}"] {
            let sent = [&one[..], behind].concat();
            let error = read(&["gzip"], &sent, 1 << 20).await.unwrap_err();
            assert_eq!(error.failure, Failure::Undecodable);
        }
        let error = read(&["gzip"], b"not gzip at all", 4).await.unwrap_err();
        assert_eq!(error.failure, Failure::Undecodable);
    }
}
