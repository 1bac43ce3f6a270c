//! What is not permitted is not dialled: every connection is counted.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use crate::common::{SECRET, builder};
use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Check, Context, Egress, Failure, Guard, Kind, Outcome, Status, Transport};
use headwater_http::{Access, Prober, Records, Request, ReqwestTransport, Resolver};
use headwater_testkit::{Reply, Script};
use tokio::net::TcpListener;
use url::Url;

fn guarded(allowed: &[&str]) -> Egress {
    Egress::Guarded(Guard {
        allowed: allowed.iter().map(|entry| entry.parse().unwrap()).collect(),
        permits_loopback: false,
    })
}

fn development() -> Egress {
    Egress::Guarded(Guard {
        permits_loopback: true,
        ..Guard::default()
    })
}

/// Listens at every address of this machine, over both protocols, counts who comes and closes at once.
struct Door {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Door {
    async fn open() -> Self {
        let four = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = four.local_addr().unwrap().port();
        let mut listeners = vec![four];
        // Where there is no IPv6, nobody can come that way. Elsewhere this one has both, or the other address alone.
        listeners.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await);
        let connections = Arc::new(AtomicUsize::new(0));
        for listener in listeners {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move {
                while listener.accept().await.is_ok() {
                    connections.fetch_add(1, SeqCst);
                }
            });
        }
        Self { port, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// Answers lookups one after the other; the last answer stays.
struct Names {
    answers: Vec<Option<Vec<IpAddr>>>,
    lookups: Arc<AtomicUsize>,
}

impl Names {
    fn new(answers: &[Option<&[&str]>]) -> (Self, Arc<AtomicUsize>) {
        let addresses = |answer: &[&str]| answer.iter().map(|one| one.parse().unwrap()).collect();
        let answers = answers.iter().map(|answer| answer.map(addresses)).collect();
        let lookups = Arc::new(AtomicUsize::new(0));
        let names = Self {
            answers,
            lookups: Arc::clone(&lookups),
        };
        (names, lookups)
    }

    fn always(answer: &[&str]) -> Self {
        Self::new(&[Some(answer)]).0
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let lookup = self.lookups.fetch_add(1, SeqCst);
        let answer = &self.answers[lookup.min(self.answers.len() - 1)];
        answer
            .clone()
            .ok_or_else(|| io::Error::other("no such name"))
    }
}

/// Sends a request and says why it failed; none where it could not be sent.
async fn send(transport: &ReqwestTransport, url: &str) -> Option<Failure> {
    let mut request = http::Request::new(Bytes::new());
    *request.uri_mut() = url.parse().ok()?;
    let error = transport.send(request).await.err()?;
    assert_eq!(
        error.failure == Failure::NotAllowed,
        error.to_string().contains("permit"),
        "{error}"
    );
    Some(error.failure)
}

/// Spellings of hosts that nobody may dial, besides the plain addresses of all ranges.
const HOSTS: [&str; 101] = [
    // One number, in three bases.
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0",
    "3232235777",
    "2852039166",
    "0xa9fea9fe",
    "4294967295",
    // Short forms and mixed bases.
    "127.1",
    "127.0.1",
    "10.1",
    "192.168.257",
    "0x7f.1",
    "0177.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "00000177.0.0.1",
    "127.0.0.0x1",
    "0x7f.0.0.01",
    "169.254.43518",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "0x0",
    "00",
    "0.0",
    "0.0.0",
    "0x",
    // A dot at the end.
    "127.0.0.1.",
    "10.0.0.1.",
    "169.254.169.254.",
    "localhost.",
    "metadata.google.internal.",
    "0x7f.1.",
    // Percent-encoded.
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "%6cocalhost",
    "loc%61lhost",
    "1%327.0.0.1",
    "%30x7f000001",
    // Digits, letters and dots of other scripts.
    "１２７.0.0.1",
    "127。0。0。1",
    "127．0．0．1",
    "①②⑦.0.0.1",
    "ｌocalhost",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "localhost。",
    "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
    "𝟙27.0.0.1",
    // Names of this machine and of metadata.
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "LocalHost.",
    "a.localhost",
    "a.b.localhost",
    "A.LOCALHOST.",
    "metadata.google.internal",
    "METADATA.Google.Internal",
    "metadata",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
    // Spellings of IPv6.
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::0.0.0.1]",
    "[::]",
    "[0::0]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::7f00:1]",
    "[64:FF9B::127.0.0.1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::7f00:1]",
    "[64:ff9b:1:7f00:0:100::]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[2002:a9fe:a9fe::]",
    "[2002:c0a8:101::1]",
    "[2001::80ff:fffe]",
    "[2001:0:a9fe:a9fe::5601:5601]",
    "[fd00:ec2::254]",
    "[FD00:EC2::254]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::1%25lo]",
    "[::1%lo]",
    // User names in front, to look like another host.
    "api.example.com@127.0.0.1",
    "api.example.com:443@127.0.0.1",
    "user:word@localhost",
    "@127.0.0.1",
    "127.0.0.1@api.example.com",
];

/// The first, one in the middle and the last of each range that is not public.
const ADDRESSES: [&str; 84] = [
    "0.0.0.0",
    "0.1.2.3",
    "0.255.255.255",
    "10.0.0.0",
    "10.9.8.7",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.20.1.1",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.77",
    "192.0.2.255",
    "192.88.99.0",
    "192.88.99.1",
    "192.88.99.255",
    "192.168.0.0",
    "192.168.1.1",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.0.1",
    "198.19.255.255",
    "198.51.100.0",
    "198.51.100.9",
    "198.51.100.255",
    "203.0.113.0",
    "203.0.113.9",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.250",
    "239.255.255.255",
    "240.0.0.0",
    "250.1.2.3",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::2",
    "::7f00:1",
    "::ffff:0.0.0.0",
    "::ffff:127.0.0.2",
    "::ffff:255.255.255.255",
    "::ffff:0:0.0.0.0",
    "::ffff:0:10.0.0.1",
    "64:ff9b::",
    "64:ff9b::10.0.0.1",
    "64:ff9b::255.255.255.255",
    "64:ff9b:1::",
    "64:ff9b:1::a00:1",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    "100::",
    "2001::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::",
    "2001:db8::1",
    "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    "2002::",
    "2002:7f00:1::1",
    "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff::1",
    "5f00::1",
    "fc00::",
    "fd12::1",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::",
    "fe80::a9fe:a9fe",
    "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fec0::",
    "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "ff00::",
    "ff02::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// What stands before the host where it is neither https nor http.
const SCHEMES: [&str; 13] = [
    "file://",
    "ftp://",
    "gopher://",
    "ws://",
    "wss://",
    "dict://",
    "ldap://",
    "tftp://",
    "jar:http://",
    "data:text/plain,",
    "javascript:",
    "unix:",
    "unix://",
];

const PORTS: [&str; 4] = ["0", "65536", "-1", "99999"];

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok() && Url::parse(text).is_ok()
}

fn bracketed(address: &str) -> String {
    match address.contains(':') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    }
}

#[tokio::test]
async fn nothing_of_the_list_is_dialled() {
    let door = Door::open().await;
    let here = Names::always(&["127.0.0.1", "::1"]);
    let transport = ReqwestTransport::with_resolver(&guarded(&[]), here).unwrap();
    let hosts = HOSTS.map(str::to_owned).into_iter();
    let hosts: Vec<String> = hosts.chain(ADDRESSES.map(bracketed)).collect();
    let urls = |scheme: &str| -> Vec<String> {
        let url = |host: &String| format!("{scheme}{host}:{}/", door.port);
        hosts.iter().map(url).collect()
    };
    let mut cases = urls("http://");
    cases.extend(urls("https://"));
    for host in ["127.0.0.1", "localhost", "[::1]", "api.example.com"] {
        cases.extend(SCHEMES.map(|scheme| format!("{scheme}{host}:{}/", door.port)));
        cases.extend(PORTS.map(|port| format!("https://{host}:{port}/")));
    }
    assert!(hosts.len() > 180 && cases.len() > 400, "{}", cases.len());
    let mut refused = 0;
    for case in &cases {
        match send(&transport, case).await {
            Some(Failure::NotAllowed) => refused += 1,
            // What is no URL gets no further than that.
            failure => assert!(!is_url(case), "{case}: {failure:?}"),
        }
    }
    assert!(refused > 300, "{refused}");
    assert_eq!(door.connections(), 0);

    // And without a port, so that the host is all that there is to refuse.
    for host in &hosts {
        let Ok(url) = Url::parse(&format!("https://{host}/")) else {
            continue;
        };
        assert!(!guarded(&[]).permits_url(&url), "{host}");
    }
}

#[tokio::test]
async fn the_same_addresses_are_dialled_where_they_are_permitted() {
    let door = Door::open().await;
    for (egress, host) in [
        (development(), "127.0.0.1"),
        (development(), "2130706433"),
        (development(), "localhost"),
        (guarded(&["127.0.0.1"]), "0x7f.1"),
        (guarded(&["api.example.com"]), "api.example.com"),
        (Egress::Anywhere, "api.example.com"),
        (Egress::Anywhere, "[::ffff:127.0.0.1]"),
    ] {
        let before = door.connections();
        let here = Names::always(&["127.0.0.1"]);
        let transport = ReqwestTransport::with_resolver(&egress, here).unwrap();
        let failure = send(&transport, &format!("http://{host}:{}/", door.port)).await;
        assert_eq!(failure, Some(Failure::Interrupted), "{host}");
        assert_eq!(door.connections(), before + 1, "{host}");
    }
}

#[tokio::test]
async fn one_forbidden_address_of_a_name_is_enough() {
    let door = Door::open().await;
    let entries = ["127.0.0.1", "::1"];
    for answer in [
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.2", "127.0.0.1"],
        ["::1", "127.0.0.3"],
        ["127.0.0.1", "169.254.169.254"],
        ["127.0.0.1", "::ffff:127.0.0.1"],
    ] {
        let names = Names::always(&answer);
        let transport = ReqwestTransport::with_resolver(&guarded(&entries), names).unwrap();
        let failure = send(
            &transport,
            &format!("https://api.example.com:{}", door.port),
        )
        .await;
        assert_eq!(failure, Some(Failure::NotAllowed), "{answer:?}");
    }
    for answer in [["93.184.216.34", "10.0.0.1"], ["fd12::1", "93.184.216.34"]] {
        let transport =
            ReqwestTransport::with_resolver(&guarded(&[]), Names::always(&answer)).unwrap();
        let failure = send(&transport, "https://api.example.com").await;
        assert_eq!(failure, Some(Failure::NotAllowed), "{answer:?}");
    }
    let mut many = vec!["127.0.0.1"; 1000];
    many.push("127.0.0.2");
    let transport =
        ReqwestTransport::with_resolver(&guarded(&entries), Names::always(&many)).unwrap();
    let failure = send(
        &transport,
        &format!("https://api.example.com:{}", door.port),
    )
    .await;
    assert_eq!(failure, Some(Failure::NotAllowed));
    assert_eq!(door.connections(), 0);
}

#[tokio::test]
async fn what_is_dialled_is_what_was_checked() {
    let permitted = Door::open().await;
    // A second look at the name would see the other answer, and find it refused: each connection has one lookup.
    let (names, lookups) = Names::new(&[Some(&["127.0.0.1"]), Some(&["127.0.0.2"])]);
    let transport = ReqwestTransport::with_resolver(&guarded(&["127.0.0.1"]), names).unwrap();
    let url = format!("https://rebind.example.com:{}", permitted.port);
    assert_ne!(send(&transport, &url).await, Some(Failure::NotAllowed));
    assert_eq!((permitted.connections(), lookups.load(SeqCst)), (1, 1));
    assert_eq!(send(&transport, &url).await, Some(Failure::NotAllowed));
    assert_eq!((permitted.connections(), lookups.load(SeqCst)), (1, 2));
}

#[tokio::test]
async fn a_lookup_that_fails_opens_nothing() {
    let door = Door::open().await;
    let (names, _) = Names::new(&[None, Some(&["127.0.0.1"])]);
    let transport = ReqwestTransport::with_resolver(&guarded(&[]), names).unwrap();
    let url = format!("https://api.example.com:{}", door.port);
    assert_eq!(send(&transport, &url).await, Some(Failure::NameUnknown));
    assert_eq!(send(&transport, &url).await, Some(Failure::NotAllowed));
    let transport = ReqwestTransport::with_resolver(&guarded(&[]), Names::always(&[])).unwrap();
    assert!(send(&transport, &url).await.is_some());
    assert_eq!(door.connections(), 0);
}

#[tokio::test]
async fn each_port_of_a_name_is_judged_for_itself() {
    let (open, closed) = (Door::open().await, Door::open().await);
    let entry = format!("api.example.com:{}", open.port);
    let here = Names::always(&["127.0.0.1"]);
    let transport = ReqwestTransport::with_resolver(&guarded(&[&entry]), here).unwrap();
    let at = |port| format!("https://api.example.com:{port}");
    let (open_url, closed_url) = (at(open.port), at(closed.port));
    // At the same time, for one resolver serves both.
    let (opened, refused) =
        tokio::join!(send(&transport, &open_url), send(&transport, &closed_url));
    assert_ne!(opened, Some(Failure::NotAllowed));
    assert_eq!(refused, Some(Failure::NotAllowed));
    assert_eq!((open.connections(), closed.connections()), (1, 0));
}

/// The report of a probe of this address, as far as it comes before the credentials.
async fn probed(transport: &ReqwestTransport, base: &str) -> Vec<Check> {
    let client = builder(base, &Context::new(transport.clone()))
        .build()
        .unwrap();
    let prober = Prober {
        client: &client,
        address: "/base_url",
    };
    let items = Records::Lists(&["/items"]);
    let verdict = prober.first(&Request::get("/items"), items).await;
    let credentials = Check::skipped("credentials");
    assert_eq!(verdict.access, Access::Unknown(Box::new(credentials)));
    verdict.checks
}

#[tokio::test]
async fn every_refused_address_has_the_same_checks() {
    let names = Names::always(&["10.77.77.77"]);
    let transport = ReqwestTransport::with_resolver(&guarded(&[]), names).unwrap();
    let checks = probed(&transport, "https://10.66.66.66").await;
    let outline: Vec<_> = checks
        .iter()
        .map(|check| (&*check.name, &*check.code))
        .collect();
    assert_eq!(
        outline,
        [
            ("address", "not_allowed"),
            ("reachable", "skipped"),
            ("tls", "skipped"),
            ("api", "skipped")
        ]
    );
    let check = &checks[0];
    assert_eq!(
        (check.outcome, check.kind),
        (Outcome::Failed, Some(Kind::ConfigInvalid))
    );
    assert_eq!(check.pointers, ["/base_url"]);
    assert_eq!(
        check.message,
        "this installation does not permit the address"
    );
    assert!(
        check.remedy.as_ref().unwrap().contains("--allow-host"),
        "{check:?}"
    );
    assert!(check.latency.is_none());
    for base in [
        "https://169.254.169.254/latest",
        "https://[::1]:8443",
        "https://metadata.google.internal",
        "https://intranet.example.com",
        "https://93.184.216.34:25",
        "https://localhost:9200",
    ] {
        assert_eq!(probed(&transport, base).await, checks, "{base}");
    }
    let shown = format!("{checks:?}");
    for hidden in ["10.77", "10.66", SECRET] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[tokio::test]
async fn a_read_of_a_refused_address_says_so_and_is_not_tried_again() {
    let transport =
        ReqwestTransport::with_resolver(&guarded(&[]), Names::always(&["10.77.77.77"])).unwrap();
    for base in ["https://10.66.66.66", "https://api.example.com"] {
        let context = Context::new(transport.clone());
        let client = builder(base, &context).build().unwrap();
        let request = Request::get("/document");
        let errors = [
            client.send(&request).await.err(),
            client.download(&request).await.err(),
        ];
        for error in errors.map(Option::unwrap) {
            assert_eq!(
                (error.kind(), error.status()),
                (Kind::ConfigInvalid, Status::Permanent)
            );
            let shown = format!("{error} {error:?}");
            assert!(
                shown.contains("does not permit the address") && shown.contains("--allow-host"),
                "{shown}"
            );
            assert!(!shown.contains("10."), "{shown}");
        }
        assert_eq!(context.meter.requests(), 2);
    }
}

#[tokio::test]
async fn a_redirect_leads_to_no_other_door() {
    let door = Door::open().await;
    let location = format!("http://127.0.0.1:{}/latest", door.port);
    let script = Script::start(move |_| Reply::full(302, &[("location", &location)], b""))
        .await
        .unwrap();
    let transport = ReqwestTransport::new(&development()).unwrap();
    let client = builder(&script.base_url(), &Context::new(transport))
        .build()
        .unwrap();
    let error = client
        .download(&Request::get("/document"))
        .await
        .unwrap_err();
    assert!(error.message().contains("redirect"), "{error}");
    assert_eq!((script.requests().len(), door.connections()), (1, 0));
}
