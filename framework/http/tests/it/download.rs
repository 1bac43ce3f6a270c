//! Answers of any size, taken over as they arrive.

use std::time::Duration;

use crate::common::{Piece, SECRET, Wire, builder, client};
use bytes::Bytes;
use headwater_core::{Egress, Error, Kind, Status};
use headwater_http::{Download, Request, Response, context};
use headwater_testkit::{Ending, Reply, Script};
use tokio::time::Instant;

fn document() -> Request {
    Request::get("/document").query("filter", "private")
}

/// How many bytes a download has, and how it ended.
async fn drain(mut download: Download) -> (usize, Result<(), Error>) {
    let mut length = 0;
    loop {
        match download.chunk().await {
            Ok(Some(chunk)) => length += chunk.len(),
            Ok(None) => return (length, Ok(())),
            Err(error) => return (length, Err(error)),
        }
    }
}

fn opened(answer: Result<Result<Download, Response>, Error>) -> Download {
    answer.unwrap().unwrap()
}

/// 64 MiB of spaces: one compressed mebibyte, again and again.
fn large_document() -> Vec<u8> {
    let mut block = Vec::with_capacity(64 << 10);
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
    let flush = flate2::FlushCompress::Full;
    deflate
        .compress_vec(&vec![b' '; 1 << 20], &mut block, flush)
        .unwrap();
    let mut document = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    document.extend(block.repeat(64));
    // An empty last block, the checksum and the length.
    document.extend([3, 0]);
    let mut checksum = flate2::Crc::new();
    (0..64).for_each(|_| checksum.update(&vec![b' '; 1 << 20]));
    document.extend(checksum.sum().to_le_bytes());
    document.extend((64_u32 << 20).to_le_bytes());
    document
}

/// The most memory this process ever had, in KiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_document_of_any_size_passes_through_little_memory() {
    let large = large_document();
    let script = Script::start(move |_| Reply::full(200, &[("content-encoding", "gzip")], &large));
    let script = script.await.unwrap();
    let context = context(&Egress::Anywhere).unwrap();
    let client = builder(&script.base_url(), &context).body_limit(1000);
    let client = client.build().unwrap();
    let before = peak_memory();
    let download = opened(client.download(&document()).await);
    assert_eq!(format!("{download:?}"), "Download(from Sample)");
    let (length, _) = drain(download).await;
    assert_eq!(length, 64 << 20);
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 16 << 10, "{} KiB more", after - before);
    }
}

#[tokio::test]
async fn a_document_that_cannot_be_decompressed_is_damaged_and_not_interrupted() {
    let reply = Reply::full(200, &[("content-encoding", "gzip")], b"not gzip at all");
    let script = Script::start(move |_| reply.clone()).await.unwrap();
    let download = opened(client(&script).download(&document()).await);
    let (length, ended) = drain(download).await;
    let error = ended.unwrap_err();
    assert_eq!((length, error.kind()), (0, Kind::DataInvalid));
    assert!(
        error.message().contains("cannot be decompressed"),
        "{error}"
    );
}

#[tokio::test]
async fn only_a_success_is_a_document() {
    for (status, is_accepted) in [(400, true), (404, true), (302, true), (400, false)] {
        let reply = Reply::full(status, &[("x-why", "gone")], br#"{"message":"canary"}"#);
        let script = Script::start(move |_| reply.clone()).await.unwrap();
        let request = if is_accepted {
            document().accept(&[302, 400, 404])
        } else {
            document()
        };
        match client(&script).download(&request).await {
            Ok(answer) => {
                assert!(is_accepted);
                let response = answer.unwrap_err();
                assert_eq!(response.status.as_u16(), status);
                assert_eq!(response.headers["x-why"], "gone");
                assert_eq!(response.body, r#"{"message":"canary"}"#);
            }
            Err(error) => {
                assert!(!is_accepted);
                assert!(error.message().ends_with(": canary"), "{error}");
            }
        }
        assert_eq!(script.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_document_that_does_not_begin_is_asked_for_again() {
    for first in [
        Reply::raw("", Ending::Close),
        Reply::raw("", Ending::Reset),
        Reply::json(500, "{}"),
        Reply::json(503, "{}"),
    ] {
        let script = Script::start(move |request| match request.index {
            0 => first.clone(),
            _ => Reply::json(200, "[]"),
        });
        let script = script.await.unwrap();
        let download = opened(client(&script).download(&document()).await);
        let (length, ended) = drain(download).await;
        ended.unwrap();
        assert_eq!((length, script.requests().len()), (2, 2));
    }
}

fn assert_broken_off(error: &Error) {
    assert_eq!(
        (error.kind(), error.status()),
        (Kind::Unavailable, Status::Temporary)
    );
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("broke off"), "{shown}");
    for hidden in [SECRET, "private", "http://", "https://"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
}

#[tokio::test]
async fn a_document_that_breaks_off_is_an_error_after_what_arrived() {
    let whole = "x".repeat(100_000);
    for ending in [Ending::Close, Ending::Reset] {
        let reply = Reply::json(200, &whole).cut(50_000, ending);
        let script = Script::start(move |_| reply.clone()).await.unwrap();
        let download = opened(client(&script).download(&document()).await);
        let (length, ended) = drain(download).await;
        assert_broken_off(&ended.unwrap_err());
        assert!(length <= 50_000, "{length}");
        assert_eq!(script.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_may_take_hours_but_never_pause_for_long() {
    const PIECE: usize = 32_000;
    let data = || Piece::Data(Bytes::from_static(&[b'x'; PIECE]));
    let wire = Wire::new(move |_, _| {
        let slow = (0..500).flat_map(|_| [data(), Piece::Pause(Duration::from_secs(29))]);
        Wire::pieces(200, &[], slow.collect())
    });
    let start = Instant::now();
    let download = opened(wire.client().download(&document()).await);
    let (length, ended) = drain(download).await;
    ended.unwrap();
    assert_eq!(length, 500 * PIECE);
    assert_eq!(start.elapsed().as_secs(), 500 * 29);

    // A byte now and then is no document.
    let wire = Wire::new(move |_, _| {
        let drop = || Piece::Data(Bytes::from_static(b"x"));
        let drips = (0..500).flat_map(|_| [drop(), Piece::Pause(Duration::from_secs(5))]);
        Wire::pieces(200, &[], drips.collect())
    });
    let start = Instant::now();
    let download = opened(wire.client().download(&document()).await);
    let (_, ended) = drain(download).await;
    assert_broken_off(&ended.unwrap_err());
    assert_eq!(start.elapsed().as_secs(), 60);

    let wire = Wire::new(move |_, _| {
        let pause = Piece::Pause(Duration::from_secs(3600));
        Wire::pieces(200, &[], vec![data(), pause, data()])
    });
    let start = Instant::now();
    let download = opened(wire.client().download(&document()).await);
    let (length, ended) = drain(download).await;
    assert_broken_off(&ended.unwrap_err());
    assert_eq!((length, start.elapsed().as_secs()), (PIECE, 30));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_does_not_end_is_given_up() {
    // As slow as is let pass, and as fast as can be.
    let drip = || Piece::Data(Bytes::from_static(&[b'x'; 40_000]));
    let slow = move || {
        let pieces = (0..4_000).flat_map(|_| [drip(), Piece::Pause(Duration::from_secs(25))]);
        pieces.collect::<Vec<_>>()
    };
    let block = Bytes::from(vec![0; 1 << 30]);
    let fast = move || vec![Piece::Data(block.clone()); 1_030];
    for (pieces, most) in [
        (
            Box::new(slow) as Box<dyn Fn() -> Vec<Piece> + Send + Sync>,
            200 << 20,
        ),
        (Box::new(fast), 1 << 40),
    ] {
        let wire = Wire::new(move |_, _| Wire::pieces(200, &[], pieces()));
        let start = Instant::now();
        let download = opened(wire.client().download(&document()).await);
        let (length, ended) = drain(download).await;
        let error = ended.unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid, "{error}");
        assert!(error.to_string().contains("does not end"), "{error}");
        assert!(length <= most, "{length}");
        assert!(start.elapsed() < Duration::from_secs(86_400 + 60));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_has_room_for_one_large_answer_at_a_time() {
    let lengths = [3 << 20, 3 << 20, 1 << 20, 3 << 20];
    let wire = Wire::new(move |nth, _| Wire::reply(200, &[], &" ".repeat(lengths[nth])));
    let client = wire.client();
    let ask = async || {
        let start = Instant::now();
        let response = client.send(&document()).await.unwrap();
        (response, start.elapsed() >= Duration::from_secs(5))
    };
    let (first, has_waited) = ask().await;
    assert!(!has_waited);
    // What holds the first one may need the second one.
    let (second, has_waited) = ask().await;
    assert!(has_waited);
    let (small, has_waited) = ask().await;
    assert!(!has_waited);
    drop((first, second));
    let (last, has_waited) = ask().await;
    assert!(!has_waited);
    assert_eq!((small.body.len(), last.body.len()), (1 << 20, 3 << 20));
}
