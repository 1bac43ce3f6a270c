//! The registry, and what its connectors' values show and keep.

use std::sync::Arc;

use async_trait::async_trait;
use headwater_core::{
    About, AnyStream, Connector, Context, Error, Hint, Kind, Note, Page, Position, Probe,
    Registration, Registry, Result, Secret, Source, Stream, StreamSpec, Timestamp, Wait,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Config {
    /// The key.
    #[schemars(title = "Key", transform = Hint::order(1))]
    key: Secret,
}

/// A connector that differs from others by its id.
macro_rules! connector {
    ($name:ident, $id:literal) => {
        struct $name;

        impl Connector for $name {
            type Config = Config;

            const ABOUT: About = About {
                id: $id,
                name: $id,
                summary: "",
                docs: "",
                guide: &[],
            };

            fn catalog() -> Vec<StreamSpec> {
                Vec::new()
            }

            fn open(_: &Config, _: &Context) -> Result<Arc<dyn Source>> {
                Err(Error::new(Kind::Unsupported, "nothing to open"))
            }
        }
    };
}

connector!(Pear, "pear");
connector!(Apple, "apple");
connector!(Plum, "plum");
connector!(OtherPear, "pear");

fn orchard() -> Registry {
    let entries = [
        Registration::of::<Pear>(),
        Registration::of::<Apple>(),
        Registration::of::<Plum>(),
    ];
    Registry::from_entries(entries).unwrap()
}

#[test]
fn an_empty_registry_is_refused_with_the_way_out() {
    for registry in [Registry::from_entries([]), Registry::collect()] {
        let error = registry.unwrap_err();
        assert_eq!(error.kind(), Kind::Unexpected);
        assert!(
            error.message().contains("name each one in the bundle"),
            "{error}"
        );
    }
}

#[test]
fn two_connectors_of_one_id_are_refused_by_name() {
    let entries = [
        Registration::of::<Pear>(),
        Registration::of::<Plum>(),
        Registration::of::<OtherPear>(),
    ];
    let error = Registry::from_entries(entries).unwrap_err();
    assert!(
        error
            .message()
            .contains("two connectors have the id \"pear\""),
        "{error}"
    );
}

#[test]
fn connectors_come_sorted_by_id() {
    let registry = orchard();
    let ids: Vec<&str> = registry
        .iter()
        .map(|connector| connector.about().id)
        .collect();
    assert_eq!(ids, ["apple", "pear", "plum"]);
    assert_eq!(format!("{registry:?}"), r#"{"apple", "pear", "plum"}"#);
}

#[test]
fn an_unknown_id_is_answered_with_the_nearest_or_with_all() {
    let registry = orchard();
    for (id, hint) in [
        ("aple", "did you mean apple?"),
        ("Pear", "did you mean pear?"),
        ("plumm", "did you mean plum?"),
        ("cucumber", "there are apple, pear, plum"),
    ] {
        let error = registry.get(id).map(|found| found.about().id).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(
            error.message(),
            format!("there is no connector {id:?}; {hint}")
        );
    }
}

#[test]
fn nothing_that_is_printed_shows_a_secret() {
    let registry = orchard();
    let pear = registry.get("pear").unwrap();
    let validated = pear.validate(json!({ "key": "canary-7f3a" })).unwrap();
    assert_eq!(format!("{validated:?}"), "ValidConfig(pear, [redacted])");
    let secret = Secret::new("canary-7f3a");
    let error = Error::new(Kind::Unexpected, format!("{secret}")).with("key", &secret);
    let shown = format!("{secret:?} {secret:#?} {error} {error:?} {}", json!(secret));
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_config_opens_only_its_own_connector() {
    struct Unreachable;

    #[async_trait]
    impl headwater_core::Transport for Unreachable {
        async fn send(
            &self,
            _: http::Request<bytes::Bytes>,
        ) -> Result<http::Response<headwater_core::Body>, headwater_core::TransportError> {
            unreachable!("opening sends nothing")
        }
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Nothing {}

    struct Melon;

    impl Connector for Melon {
        type Config = Nothing;

        const ABOUT: About = About {
            id: "melon",
            ..Plum::ABOUT
        };

        fn catalog() -> Vec<StreamSpec> {
            Vec::new()
        }

        fn open(_: &Nothing, _: &Context) -> Result<Arc<dyn Source>> {
            Err(Error::new(Kind::Unsupported, "nothing to open"))
        }
    }

    let context = Context::new(Unreachable);
    let registry =
        Registry::from_entries([Registration::of::<Melon>(), Registration::of::<Pear>()]).unwrap();
    let pear = registry.get("pear").unwrap();
    let config = pear.validate(json!({ "key": "canary-7f3a" })).unwrap();
    let opened = |id: &str| {
        let connector = registry.get(id).unwrap();
        connector.open(&config, &context).map(drop).unwrap_err()
    };
    assert_eq!(opened("pear").kind(), Kind::Unsupported);
    let error = opened("melon");
    assert_eq!(error.kind(), Kind::Unexpected);
    assert_eq!(error.message(), "a config of pear was passed to melon");
}

/// A stream that counts to three.
struct Counter(StreamSpec);

#[derive(Clone, Serialize, Deserialize)]
struct Count {
    n: u8,
}

#[async_trait]
impl Stream for Counter {
    type Partition = ();
    type Token = Count;
    type Bookmark = Count;
    const VERSION: u32 = 3;

    fn spec(&self) -> &StreamSpec {
        &self.0
    }

    fn plan(&self, _: Option<Count>, _: Timestamp) -> Result<Vec<()>> {
        Ok(vec![()])
    }

    async fn fetch(&self, (): (), token: Option<Count>) -> Result<Page<Count, Count>> {
        let n = token.map_or(0, |count| count.n) + 1;
        let mut page = Page::empty();
        if n < 3 {
            page.next = Some(Count { n });
        } else {
            page.bookmark = Some(Count { n });
        }
        Ok(page)
    }
}

fn counter() -> Arc<dyn AnyStream> {
    Arc::new(Counter(StreamSpec {
        name: "counts",
        description: "A count.",
        key: &["n"],
        cursor: None,
        incremental: true,
        schema: || json!({}),
    }))
}

fn position(value: Value) -> Position {
    serde_json::from_value(value).unwrap()
}

/// Runs a future that never waits.
fn now<F: Future>(future: F) -> F::Output {
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn positions_survive_being_written_down_at_every_page() {
    let stream = counter();
    let mut partitions = stream.plan(None, Timestamp::UNIX_EPOCH).unwrap();
    let partition = partitions.pop().unwrap();
    let mut token = None;
    let mut pages = 0;
    let bookmark = loop {
        let page = now(stream.fetch(partition.clone(), token)).unwrap();
        pages += 1;
        let Some(next) = page.next else {
            break page.bookmark.unwrap();
        };
        let text = serde_json::to_string(&next).unwrap();
        token = Some(serde_json::from_str(&text).unwrap());
    };
    assert_eq!(pages, 3);
    assert_eq!(
        json!(bookmark),
        json!({ "version": 3, "value": { "n": 3 } })
    );
    assert_eq!(
        stream
            .plan(Some(bookmark), Timestamp::UNIX_EPOCH)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_state_of_another_version_is_refused_with_both_ways_out() {
    for (version, age) in [(2, "an older version"), (4, "a newer version")] {
        let old = position(json!({ "version": version, "value": { "n": 1 } }));
        let planned = counter()
            .plan(Some(old.clone()), Timestamp::UNIX_EPOCH)
            .unwrap_err();
        let unit = position(json!({ "version": 3, "value": null }));
        let fetched = now(counter().fetch(unit, Some(old))).unwrap_err();
        for error in [planned, fetched] {
            assert_eq!(error.kind(), Kind::ConfigInvalid);
            for part in [
                "stream counts",
                age,
                "use that version",
                "remove the stream",
            ] {
                assert!(error.message().contains(part), "{error}");
            }
        }
    }
}

#[test]
fn a_damaged_state_is_refused_and_names_its_stream() {
    for damaged in [
        json!(null),
        json!({}),
        json!({ "n": "one" }),
        json!({ "n": 256 }),
        json!([[]]),
    ] {
        let state = position(json!({ "version": 3, "value": damaged }));
        let error = counter()
            .plan(Some(state), Timestamp::UNIX_EPOCH)
            .unwrap_err();
        assert_eq!(error.kind(), Kind::ConfigInvalid);
        assert!(
            error
                .message()
                .contains("state of stream counts is damaged"),
            "{error}"
        );
    }
    let token = position(json!({ "version": 3, "value": 1 }));
    let error = now(counter().fetch(token, None)).unwrap_err();
    assert!(error.message().contains("damaged"), "{error}");
}

/// A stream with companions, whose one page has everything that a page can have.
struct Rich([StreamSpec; 1], [StreamSpec; 2]);

#[async_trait]
impl Stream for Rich {
    type Partition = u8;
    type Token = Count;
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.0[0]
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.1
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<u8>> {
        Ok(vec![1])
    }

    async fn fetch(&self, _: u8, _: Option<Count>) -> Result<Page<Count, ()>> {
        let record = 0..2;
        let mut page = Page::new("{}{}{}".into(), vec![record]);
        page.companions = vec![("users", vec![2..4, 4..6]), ("teams", vec![])];
        page.next = Some(Count { n: 1 });
        page.notes = vec![Note {
            code: "odd",
            message: "it is odd".to_owned(),
        }];
        page.wait = Some(Wait::NextRun(Error::new(Kind::Unavailable, "later")));
        Ok(page)
    }

    fn jobs(&self, partition: &u8, token: Option<&Count>) -> u64 {
        u64::from(*partition) + token.map_or(10, |count| u64::from(count.n))
    }

    async fn release(&self, partition: u8, token: Count) -> Result<bool> {
        Ok(partition == token.n)
    }
}

fn named(name: &'static str) -> StreamSpec {
    StreamSpec {
        name,
        ..counter().spec().clone()
    }
}

fn rich() -> Arc<dyn AnyStream> {
    Arc::new(Rich([named("entries")], [named("users"), named("teams")]))
}

#[test]
fn a_host_sees_all_that_a_page_has() {
    let page = now(rich().fetch(position(json!({ "version": 1, "value": 1 })), None)).unwrap();
    assert_eq!(page.iter().len(), 1);
    let (name, places) = &page.companions[0];
    assert_eq!((*name, page.spans(places).len()), ("users", 2));
    assert_eq!(page.companions[1], ("teams", vec![]));
    assert_eq!(page.notes[0].code, "odd");
    assert!(matches!(&page.wait, Some(Wait::NextRun(error)) if error.message() == "later"));
    assert!(page.next.is_some() && page.bookmark.is_none());
}

#[test]
fn jobs_and_releases_are_asked_of_the_typed_stream() {
    let at = |value: Value| position(json!({ "version": 1, "value": value }));
    let (stream, one, token) = (rich(), at(json!(1)), at(json!({ "n": 1 })));
    assert_eq!(stream.jobs(&one, None).unwrap(), 11);
    assert_eq!(stream.jobs(&one, Some(&token)).unwrap(), 2);
    assert!(now(stream.release(one.clone(), token.clone())).unwrap());
    assert!(!now(stream.release(at(json!(2)), token)).unwrap());
    let newer = position(json!({ "version": 2, "value": { "n": 1 } }));
    for refused in [
        stream.jobs(&one, Some(&newer)).unwrap_err(),
        now(stream.release(one, newer)).unwrap_err(),
    ] {
        assert!(refused.message().contains("stream entries"), "{refused}");
    }
    // Nothing to count and nothing to let go of, unless a stream says otherwise.
    let unit = position(json!({ "version": 3, "value": null }));
    let count = position(json!({ "version": 3, "value": { "n": 1 } }));
    assert_eq!(counter().jobs(&unit, Some(&count)).unwrap(), 0);
    assert!(!now(counter().release(unit, count)).unwrap());
}

#[test]
fn a_stream_is_found_by_the_name_of_its_companion() {
    struct Two;

    #[async_trait]
    impl Source for Two {
        async fn probe(&self, _: &mut Probe) {}

        fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
            vec![counter(), rich()]
        }
    }

    assert_eq!(counter().names(), ["counts"]);
    assert_eq!(rich().names(), ["entries", "users", "teams"]);
    for (name, stream) in [
        ("counts", "counts"),
        ("entries", "entries"),
        ("teams", "entries"),
    ] {
        assert_eq!(Two.stream(name).unwrap().spec().name, stream);
    }
    let error = Two.stream("team").err().unwrap();
    assert_eq!(
        error.message(),
        "there is no stream \"team\"; there are counts, entries, users, teams"
    );
    assert!(now(Two.allowances()).unwrap().is_empty());
}
