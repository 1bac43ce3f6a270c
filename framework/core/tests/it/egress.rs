//! Who may be dialled, without anybody being dialled.

use std::net::IpAddr;

use headwater_core::{AllowedHost, Egress, Guard};
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

/// Whether this URL, when its host is a name that resolves to the address, gets as far as a connection.
fn reaches(egress: &Egress, url: &str, resolved: Option<&str>) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let resolved = resolved.map(|address| address.parse::<IpAddr>().unwrap());
    egress.permits_url(&url)
        && resolved.is_none_or(|address| {
            let port = url.port_or_known_default().unwrap();
            egress.permits_address(url.host_str().unwrap(), port, address)
        })
}

/// Every range that is refused: the last address before it, its first, one in it, its last, the first one behind it. No
/// neighbour where that one is in another range.
const RANGES: [[&str; 5]; 34] = [
    ["", "0.0.0.0", "0.1.2.3", "0.255.255.255", "1.0.0.0"],
    [
        "9.255.255.255",
        "10.0.0.0",
        "10.9.8.7",
        "10.255.255.255",
        "11.0.0.0",
    ],
    [
        "100.63.255.255",
        "100.64.0.0",
        "100.99.1.1",
        "100.127.255.255",
        "100.128.0.0",
    ],
    [
        "126.255.255.255",
        "127.0.0.0",
        "127.0.0.1",
        "127.255.255.255",
        "128.0.0.0",
    ],
    [
        "169.253.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "169.255.0.0",
    ],
    [
        "172.15.255.255",
        "172.16.0.0",
        "172.20.1.1",
        "172.31.255.255",
        "172.32.0.0",
    ],
    [
        "191.255.255.255",
        "192.0.0.0",
        "192.0.0.192",
        "192.0.0.255",
        "192.0.1.0",
    ],
    [
        "192.0.1.255",
        "192.0.2.0",
        "192.0.2.77",
        "192.0.2.255",
        "192.0.3.0",
    ],
    [
        "192.88.98.255",
        "192.88.99.0",
        "192.88.99.1",
        "192.88.99.255",
        "192.88.100.0",
    ],
    [
        "192.167.255.255",
        "192.168.0.0",
        "192.168.1.1",
        "192.168.255.255",
        "192.169.0.0",
    ],
    [
        "198.17.255.255",
        "198.18.0.0",
        "198.19.0.1",
        "198.19.255.255",
        "198.20.0.0",
    ],
    [
        "198.51.99.255",
        "198.51.100.0",
        "198.51.100.9",
        "198.51.100.255",
        "198.51.101.0",
    ],
    [
        "203.0.112.255",
        "203.0.113.0",
        "203.0.113.9",
        "203.0.113.255",
        "203.0.114.0",
    ],
    [
        "223.255.255.255",
        "224.0.0.0",
        "239.255.255.250",
        "239.255.255.255",
        "",
    ],
    ["", "240.0.0.0", "250.1.2.3", "255.255.255.255", ""],
    [
        "100.63.255.255",
        "100.100.100.200",
        "100.100.100.200",
        "100.100.100.200",
        "",
    ],
    [
        "168.63.129.15",
        "168.63.129.16",
        "168.63.129.16",
        "168.63.129.16",
        "168.63.129.17",
    ],
    // Unspecified, loopback, compatible and mapped forms, translated ones.
    ["", "::", "::1", "::ffff", ""],
    ["", "::7f00:1", "::8.8.8.8", "::ffff:ffff", ""],
    [
        "",
        "::ffff:0.0.0.0",
        "::ffff:127.0.0.1",
        "::ffff:255.255.255.255",
        "",
    ],
    [
        "",
        "::ffff:0:0.0.0.0",
        "::ffff:0:127.0.0.1",
        "::ffff:0:255.255.255.255",
        "",
    ],
    // NAT64 of what is refused, then the prefix for local use.
    [
        "64:ff9b::9.255.255.255",
        "64:ff9b::10.0.0.0",
        "64:ff9b::10.1.2.3",
        "64:ff9b::10.255.255.255",
        "64:ff9b::11.0.0.0",
    ],
    [
        "64:ff9b::126.255.255.255",
        "64:ff9b::127.0.0.0",
        "64:ff9b::127.0.0.1",
        "64:ff9b::127.255.255.255",
        "64:ff9b::128.0.0.0",
    ],
    [
        "",
        "64:ff9b:1::",
        "64:ff9b:1::127.0.0.1",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        "",
    ],
    // Discarded, then everything before the public ones.
    ["", "100::", "100::1", "100::ffff:ffff:ffff:ffff", ""],
    [
        "",
        "1fff::",
        "1fff::1",
        "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2000::",
    ],
    // Teredo and the other protocols.
    [
        "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:200::",
    ],
    [
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::",
        "2001:db8::1",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
    ],
    // 6to4.
    [
        "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2002::",
        "2002:7f00:1::",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2003::",
    ],
    [
        "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff::",
        "3fff:1::1",
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff:1000::",
    ],
    [
        "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "4000::",
        "5f00::1",
        "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "",
    ],
    // Unique local, the metadata of two clouds among them.
    [
        "",
        "fc00::",
        "fd00:ec2::254",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "",
    ],
    // Link-local and site-local.
    [
        "",
        "fe80::",
        "fe80::a9fe:a9fe",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "",
    ],
    [
        "",
        "ff00::",
        "ff02::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "",
    ],
];

fn literal(address: &str) -> String {
    match address.contains(':') {
        true => format!("https://[{address}]/"),
        false => format!("https://{address}/"),
    }
}

#[test]
fn each_range_is_refused_from_its_first_to_its_last_address_and_no_further() {
    let egress = guarded(&[]);
    for [before, first, inside, last, behind] in RANGES {
        for address in [first, inside, last] {
            assert!(!reaches(&egress, &literal(address), None), "{address}");
            let resolved = Some(address);
            assert!(
                !reaches(&egress, "https://api.example.com", resolved),
                "{address}"
            );
        }
        for address in [before, behind].into_iter().filter(|one| !one.is_empty()) {
            assert!(reaches(&egress, &literal(address), None), "{address}");
            let resolved = Some(address);
            assert!(
                reaches(&egress, "https://api.example.com", resolved),
                "{address}"
            );
        }
    }
}

#[test]
fn public_addresses_are_permitted_with_https_on_its_port_only() {
    let egress = guarded(&[]);
    let public = Some("93.184.216.34");
    for url in [
        "https://api.example.com",
        "https://api.example.com:443/v1",
        "https://API.Example.Com./",
    ] {
        assert!(reaches(&egress, url, public), "{url}");
    }
    for url in [
        "http://api.example.com",
        "http://api.example.com:443",
        "https://api.example.com:8443",
        "https://api.example.com:22",
        "https://api.example.com:0",
        "https://api.example.com:65536",
        "http://93.184.216.34",
        "https://93.184.216.34:6379",
        "https://user@api.example.com",
        "https://:word@api.example.com",
        "https://localhost",
        "file:///etc/passwd",
        "ftp://api.example.com",
        "gopher://api.example.com:443",
        "data:text/plain,x",
        "javascript:alert(1)",
        "ws://api.example.com",
        "wss://api.example.com",
        "unix:/run/docker.sock",
    ] {
        assert!(!reaches(&egress, url, public), "{url}");
    }
    let address = "93.184.216.34".parse().unwrap();
    assert!(!egress.permits_address("api.example.com", 0, address));
    assert!(!egress.permits_address("localhost", 443, address));
}

#[test]
fn development_opens_this_machine_and_nothing_else() {
    let egress = development();
    for url in [
        "http://127.0.0.1:8080",
        "https://127.0.0.1",
        "http://127.200.1.1",
        "http://[::1]:9",
    ] {
        assert!(reaches(&egress, url, None), "{url}");
    }
    for (url, address) in [
        ("http://localhost:8080", "127.0.0.1"),
        ("https://localhost", "::1"),
        ("http://LOCALHOST.:1", "127.0.0.1"),
        ("http://api.localhost", "127.0.0.1"),
    ] {
        assert!(reaches(&egress, url, Some(address)), "{url}");
    }
    for (url, address) in [
        // What says that it is this machine has to be.
        ("http://localhost", "10.0.0.1"),
        ("https://localhost", "93.184.216.34"),
        // A name of somebody else's.
        ("https://api.example.com", "127.0.0.1"),
        ("http://api.example.com", "127.0.0.1"),
        ("https://localhost.example.com", "127.0.0.1"),
        ("https://notlocalhost", "127.0.0.1"),
    ] {
        assert!(!reaches(&egress, url, Some(address)), "{url}");
    }
    for url in [
        "http://0.0.0.0:8080",
        "http://[::]",
        "http://[::ffff:127.0.0.1]",
        "http://10.0.0.1",
        "https://169.254.169.254",
    ] {
        assert!(!reaches(&egress, url, None), "{url}");
    }
}

#[test]
fn an_entry_allows_what_it_names_and_nothing_beside_it() {
    // The entry, then URLs with what their hosts resolve to: permitted ones, refused ones.
    type Targets<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Targets<'_>, Targets<'_>); 9] = [
        (
            "api.corp.test",
            &[
                ("https://api.corp.test", "10.0.0.1"),
                ("http://API.corp.test.:81", "10.0.0.1"),
            ],
            &[
                ("https://x.api.corp.test", "10.0.0.1"),
                ("https://corp.test", "10.0.0.1"),
            ],
        ),
        (
            "api.corp.test:8443",
            &[
                ("https://api.corp.test:8443", "10.0.0.1"),
                ("https://api.corp.test", "93.184.216.34"),
            ],
            &[
                ("https://api.corp.test", "10.0.0.1"),
                ("https://api.corp.test:8444", "93.184.216.34"),
            ],
        ),
        (
            "*.corp.test",
            &[
                ("https://a.corp.test", "10.0.0.1"),
                ("https://a.b.corp.test:9", "fd12::1"),
            ],
            &[
                ("https://corp.test", "10.0.0.1"),
                ("https://evilcorp.test", "10.0.0.1"),
                ("https://corp.test.evil.test", "10.0.0.1"),
            ],
        ),
        (
            "*.Corp.Test.:8443",
            &[("http://a.corp.test:8443", "10.0.0.1")],
            &[
                ("http://a.corp.test", "10.0.0.1"),
                ("http://corp.test:8443", "10.0.0.1"),
            ],
        ),
        (
            "10.1.2.3",
            &[
                ("http://10.1.2.3", "10.1.2.3"),
                ("https://a.test:5", "10.1.2.3"),
            ],
            &[
                ("http://10.1.2.4", "10.1.2.4"),
                ("https://10.1.2.2", "10.1.2.2"),
                ("http://a.test", "10.1.2.3"),
                ("https://[::ffff:10.1.2.3]", "::ffff:10.1.2.3"),
                ("https://[64:ff9b::10.1.2.3]", "64:ff9b::10.1.2.3"),
            ],
        ),
        (
            "10.1.2.3:8080",
            &[
                ("http://10.1.2.3:8080", "10.1.2.3"),
                ("https://a.test:8080", "10.1.2.3"),
            ],
            &[
                ("http://10.1.2.3", "10.1.2.3"),
                ("https://a.test", "10.1.2.3"),
            ],
        ),
        (
            "10.1.2.0/24",
            &[
                ("https://a.test", "10.1.2.0"),
                ("http://10.1.2.255:8080", "10.1.2.255"),
            ],
            &[
                ("https://a.test", "10.1.1.255"),
                ("https://a.test", "10.1.3.0"),
                ("https://a.test", "a01:200::"),
            ],
        ),
        (
            "[fd12::1]:8080",
            &[("http://[fd12::1]:8080", "fd12::1")],
            &[
                ("http://[fd12::1]:8081", "fd12::1"),
                ("http://[fd12::2]:8080", "fd12::2"),
            ],
        ),
        (
            "fd12::/16",
            &[("https://a.test", "fd12:ffff::1")],
            &[
                ("https://a.test", "fd11:ffff::1"),
                ("https://a.test", "fd13::"),
            ],
        ),
    ];
    for (entry, permitted, refused) in cases {
        let egress = guarded(&[entry]);
        for (url, address) in permitted {
            assert!(
                reaches(&egress, url, Some(address)),
                "{entry} {url} {address}"
            );
            let both = guarded(&[entry, "other.test"]);
            assert!(
                reaches(&both, url, Some(address)),
                "{entry} {url} {address}"
            );
        }
        for (url, address) in refused {
            assert!(
                !reaches(&egress, url, Some(address)),
                "{entry} {url} {address}"
            );
        }
    }
}

#[test]
fn no_entry_opens_the_metadata_of_a_cloud() {
    let all = [
        "0.0.0.0/0",
        "::/0",
        "169.254.169.254",
        "169.254.0.0/16",
        "fd00:ec2::254",
        "100.100.100.200",
        "metadata",
        "metadata.google.internal",
        "*.google.internal",
        "*.internal",
        "any.test",
    ];
    let egress = Egress::Guarded(Guard {
        permits_loopback: true,
        allowed: all.iter().map(|entry| entry.parse().unwrap()).collect(),
    });
    // The entries do open the rest.
    assert!(reaches(&egress, "http://10.0.0.1", None));
    assert!(reaches(&egress, "http://any.test", Some("fd12::1")));
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::1",
        // Teredo has it with every bit turned.
        "2001::5601:5601",
    ] {
        assert!(!reaches(&egress, &literal(address), None), "{address}");
        assert!(
            !reaches(&egress, "http://any.test", Some(address)),
            "{address}"
        );
    }
    for name in [
        "metadata",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "instance-data.ec2.internal",
    ] {
        assert!(
            !reaches(&egress, &format!("http://{name}"), Some("10.0.0.1")),
            "{name}"
        );
    }
}

#[test]
fn anywhere_is_anywhere() {
    for url in [
        "http://169.254.169.254",
        "https://localhost:1",
        "http://10.0.0.1",
    ] {
        assert!(reaches(&Egress::Anywhere, url, None), "{url}");
    }
}

#[test]
fn an_entry_is_shown_as_it_is_written() {
    for text in [
        "api.example.com",
        "api.example.com:8443",
        "*.example.com",
        "*.example.com:1",
        "10.1.2.3",
        "10.1.2.3:80",
        "10.1.2.0/24",
        "0.0.0.0/0",
        "::1",
        "[::1]:8080",
        "fd00::/8",
        "localhost",
        "xn--mnchen-3ya.test",
    ] {
        let entry: AllowedHost = text.parse().unwrap();
        assert_eq!(entry.to_string(), text);
    }
    for (text, shown) in [
        ("API.Example.Com.", "api.example.com"),
        ("[::1]", "::1"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("münchen.test", "xn--mnchen-3ya.test"),
    ] {
        assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), shown);
    }
}

#[test]
fn an_entry_that_could_mean_more_than_it_says_is_refused() {
    for text in [
        "",
        "*",
        "*.",
        "*x.com",
        "x.*",
        "*.*",
        "a.*.com",
        "**.x.com",
        "*.*.com",
        "x.com:",
        "x.com:0",
        "x.com:65536",
        "x.com:+1",
        "x.com:http",
        ":80",
        "https://x.com",
        "x.com/path",
        "user@x.com",
        "x.com?y",
        "x y.com",
        "a..com",
        ".x.com",
        "10.1.2.0/33",
        "010.1.2.0/24",
        "10.1.2.0/",
        "10.1.2.0/+8",
        "10.1.2.0/24:80",
        "/24",
        "x.com/24",
        "fd00::/129",
        "10.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1",
        "::1]",
        "[10.1.2.3]",
        "fe80::1%eth0",
    ] {
        let error = text.parse::<AllowedHost>().unwrap_err();
        assert!(error.contains("write a host as"), "{text}: {error}");
    }
    let error = "10.1.2.3/24".parse::<AllowedHost>().unwrap_err();
    assert!(error.contains("first address"), "{error}");
}
