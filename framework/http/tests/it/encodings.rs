//! Compressed answers, in every way that services and the gateways before them send them.

use std::io::Write;

use crate::common::{builder, client};
use headwater_core::{Egress, Error, Kind, Outcome};
use headwater_http::{Prober, Records, Request, Response, context};
use headwater_testkit::{Ending, Reply, Script};

const TEXT: &str = r#"{"things":[{"id":1},{"id":2}]}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The text as so many members.
fn members(count: usize) -> Vec<u8> {
    let length = TEXT.len().div_ceil(count);
    TEXT.as_bytes().chunks(length).flat_map(gzip).collect()
}

async fn answered(reply: Reply) -> (Result<Response, Error>, usize) {
    let script = Script::start(move |_| reply.clone()).await.unwrap();
    let answer = client(&script).send(&Request::get("/things")).await;
    (answer, script.requests().len())
}

#[tokio::test]
async fn an_answer_is_decoded_however_its_encoding_is_spelt() {
    for encoding in [
        "gzip",
        "GZIP",
        "Gzip",
        "x-gzip",
        "gzip, identity",
        "identity, gzip",
    ] {
        for body in [members(1), members(2), members(7)] {
            let reply = Reply::full(200, &[("content-encoding", encoding)], &body);
            let (answer, _) = answered(reply.clone()).await;
            assert_eq!(answer.unwrap().body, TEXT, "{encoding}");
            // An export's document as well.
            let script = Script::start(move |_| reply.clone()).await.unwrap();
            let request = Request::get("/things");
            let mut download = client(&script).download(&request).await.unwrap().unwrap();
            let mut read = Vec::new();
            while let Some(piece) = download.chunk().await.unwrap() {
                read.extend_from_slice(&piece);
            }
            assert_eq!(read, TEXT.as_bytes(), "{encoding}");
        }
    }
    for encoding in ["identity", "Identity", "", "utf-8"] {
        let reply = Reply::full(200, &[("content-encoding", encoding)], TEXT.as_bytes());
        assert_eq!(answered(reply).await.0.unwrap().body, TEXT, "{encoding}");
    }
}

#[tokio::test]
async fn an_encoding_that_is_not_known_is_named() {
    for encoding in ["br", "zstd", "deflate", "gzip, br"] {
        let reply = Reply::full(
            200,
            &[("content-encoding", encoding)],
            b"\x0b\x02\x80{}\x03",
        );
        let (answer, requests) = answered(reply.clone()).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), requests), (Kind::DataInvalid, 1));
        let named = encoding.rsplit(", ").next().unwrap();
        assert!(
            error.message().contains(&format!("encoded as {named}")),
            "{error}"
        );
        let script = Script::start(move |_| reply.clone()).await.unwrap();
        let request = Request::get("/things");
        let mut download = client(&script).download(&request).await.unwrap().unwrap();
        let error = download.chunk().await.unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(error.message().contains(named), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_asked_for_again() {
    let whole = members(2);
    let cut = whole[..whole.len() - 3].to_vec();
    let headers = [("content-encoding", "gzip")];
    let replies = [
        Reply::full(200, &headers, &cut),
        Reply::full(200, &headers, &whole),
    ];
    let script = Script::start(move |request| replies[request.index.min(1)].clone());
    let script = script.await.unwrap();
    let answer = client(&script).send(&Request::get("/things")).await;
    assert_eq!(answer.unwrap().body, TEXT);

    let reply = Reply::full(200, &headers, &cut);
    let (answer, requests) = answered(reply).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), requests), (Kind::Unavailable, 5));
    assert!(error.message().contains("cut short"), "{error}");
    let broken = Reply::full(200, &headers, &whole).cut(4, Ending::Close);
    assert_eq!(
        answered(broken).await.0.unwrap_err().kind(),
        Kind::Unavailable
    );
}

#[tokio::test]
async fn a_refusal_is_one_whatever_its_body_is_encoded_as() {
    for (encoding, body) in [("br", &b"\x0b\x02\x80{}\x03"[..]), ("gzip", b"not gzip")] {
        let reply = Reply::full(404, &[("content-encoding", encoding)], body);
        assert_eq!(answered(reply).await.0.unwrap_err().kind(), Kind::NotFound);
    }
    let zipped = gzip(br#"{"message":"no such thing"}"#);
    let reply = Reply::full(404, &[("content-encoding", "X-GZIP")], &zipped);
    let error = answered(reply).await.0.unwrap_err();
    assert!(error.message().ends_with("no such thing"), "{error}");
}

#[tokio::test]
async fn a_bomb_of_many_members_ends_at_the_limit() {
    let body = gzip(&vec![b' '; 1 << 20]).repeat(64);
    let reply = Reply::full(200, &[("content-encoding", "gzip")], &body);
    let script = Script::start(move |_| reply.clone()).await.unwrap();
    let context = context(&Egress::Anywhere).unwrap();
    let client = builder(&script.base_url(), &context).body_limit(3 << 20);
    let error = client.build().unwrap().send(&Request::get("/things")).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::DataInvalid);
    assert!(
        error.message().contains("the limit of 3145728 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn a_probe_names_the_encoding_as_well() {
    let reply = Reply::full(200, &[("content-encoding", "br")], b"\x0b\x02\x80{}\x03");
    let script = Script::start(move |_| reply.clone()).await.unwrap();
    let client = client(&script);
    let prober = Prober {
        client: &client,
        address: "/base_url",
    };
    let verdict = prober
        .first(&Request::get("/things"), Records::Lists(&["/things"]))
        .await;
    let check = verdict.checks.last().unwrap();
    assert_eq!(
        (&*check.name, check.outcome, &*check.code),
        ("api", Outcome::Failed, "undecodable")
    );
    assert!(check.message.contains("encoded as br"), "{}", check.message);
}
