//! The rules for outgoing connections: URLs that users enter and addresses that names resolve to. No I/O.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// The only port permitted without an entry.
const HTTPS_PORT: u16 = 443;

/// The permitted destinations. The transport checks every request, and again every address that a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Egress {
    /// All destinations: for a person at a shell, who could dial them without us.
    Anywhere,
    /// Public addresses and the operator's entries: for a service that dials addresses from its users.
    Guarded(Guard),
}

impl Egress {
    /// Returns whether a request to this URL may be sent, as far as is known before name resolution.
    pub fn permits_url(&self, url: &Url) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Guarded(guard) => guard.permits_url(url),
        }
    }

    /// Returns whether this address may be dialled for a host: a name that resolved to it, or the address itself.
    pub fn permits_address(&self, host: &str, port: u16, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Guarded(guard) => guard.permits_address(&plain(host), port, address),
        }
    }
}

/// The rules of a service, in this order:
///
/// 1. The addresses and names of cloud metadata services are refused, even if an entry allows them.
/// 2. The operator's entries are permitted, with http and https.
/// 3. Addresses that are not public are refused; loopback is permitted for development, to `localhost` and literals.
/// 4. Public addresses are permitted with https on its own port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The operator's entries, each independent of the others.
    pub allowed: Vec<AllowedHost>,
    /// Whether this machine is permitted, with http or https on any port.
    pub permits_loopback: bool,
}

impl Guard {
    fn permits_url(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return false;
        };
        let is_http = matches!(url.scheme(), "http" | "https");
        let is_bare = url.username().is_empty() && url.password().is_none();
        if !is_http || !is_bare {
            return false;
        }
        let (host, address) = match host {
            Host::Domain(name) => (plain(name), None),
            Host::Ipv4(address) => (address.to_string(), Some(IpAddr::V4(address))),
            Host::Ipv6(address) => (address.to_string(), Some(IpAddr::V6(address))),
        };
        if url.scheme() == "http" && !self.is_exempt(&host, port, address) {
            return false;
        }
        match address {
            Some(address) => self.permits_address(&host, port, address),
            None if port == 0 || is_metadata_name(&host) => false,
            None => !is_loopback_name(&host) || self.is_exempt(&host, port, None),
        }
    }

    fn permits_address(&self, host: &str, port: u16, address: IpAddr) -> bool {
        if port == 0 || is_metadata_name(host) || is_metadata(address) {
            return false;
        }
        if self.is_exempt(host, port, Some(address)) {
            return true;
        }
        port == HTTPS_PORT && is_public(address) && !is_loopback_name(host)
    }

    /// Returns whether an entry or the loopback rule permits this host or address, which need not be public.
    fn is_exempt(&self, host: &str, port: u16, address: Option<IpAddr>) -> bool {
        let is_allowed = |entry: &AllowedHost| entry.matches(host, port, address);
        if self.allowed.iter().any(is_allowed) {
            return true;
        }
        // A foreign name that resolves to this machine is an attack, not development.
        let is_this_machine = match address {
            Some(address) => {
                let is_literal = host.parse() == Ok(address);
                address.is_loopback() && (is_literal || is_loopback_name(host))
            }
            None => is_loopback_name(host),
        };
        self.permits_loopback && is_this_machine
    }
}

/// An entry of the operator: `api.example.com`, `*.example.com` or `10.1.2.3`, each optionally with `:port`, or a
/// network as `10.1.2.0/24`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    pattern: Pattern,
    /// `None` for all ports.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// This name.
    Name(String),
    /// Every subdomain of this name.
    Below(String),
    /// Every host at an address of this network.
    Network(IpNet),
}

impl AllowedHost {
    fn matches(&self, host: &str, port: u16, address: Option<IpAddr>) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        match &self.pattern {
            Pattern::Name(name) => host == name,
            Pattern::Below(parent) => host
                .strip_suffix(parent.as_str())
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            Pattern::Network(network) => address.is_some_and(|address| network.contains(&address)),
        }
    }
}

/// Explains the syntax of an entry. Messages put the refused text before it.
const ENTRY: &str = "write a host as api.example.com, *.example.com or 10.1.2.3, with :port for a single port, or a \
     network as 10.1.2.0/24";

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} cannot be allowed; {ENTRY}");
        if text.contains('/') {
            let pattern = Pattern::Network(parse_network(text)?);
            return Ok(Self {
                pattern,
                port: None,
            });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let pattern = Pattern::Network(address.into());
            return Ok(Self {
                pattern,
                port: None,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => {
                (host, Some(parse_port(port).ok_or_else(wrong)?))
            }
            _ => (text, None),
        };
        let pattern = parse_host(host).ok_or_else(wrong)?;
        Ok(Self { pattern, port })
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| is_number && port > 0)
}

fn parse_host(text: &str) -> Option<Pattern> {
    let unbracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = unbracketed {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(Pattern::Network(IpAddr::from(address).into()));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Pattern::Network(IpAddr::from(address).into()));
    }
    let (name, is_parent) = match text.strip_prefix("*.") {
        Some(parent) => (parent, true),
        None => (text, false),
    };
    // The parser turns odd spellings of addresses into addresses.
    let Ok(Host::Domain(name)) = Host::parse(name) else {
        return None;
    };
    let name = plain(&name);
    let is_name = !name.contains('*') && name.split('.').all(|label| !label.is_empty());
    is_name.then_some(if is_parent {
        Pattern::Below(name)
    } else {
        Pattern::Name(name)
    })
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Name(name) => f.write_str(name)?,
            Pattern::Below(parent) => write!(f, "*.{parent}")?,
            Pattern::Network(network) if network.prefix_len() < network.max_prefix_len() => {
                write!(f, "{network}")?;
            }
            Pattern::Network(network) => match (network.addr(), self.port) {
                (IpAddr::V6(address), Some(_)) => write!(f, "[{address}]")?,
                (address, _) => write!(f, "{address}")?,
            },
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

/// The first four groups; the others are zero.
const fn v6(groups: [u16; 4], length: u8) -> IpNet {
    let [a, b, c, d] = groups;
    let address = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

/// Parses a network. Its address has one spelling only: the parser of `ipnet` takes `010` for 10.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("{text:?} is not a network; {ENTRY}");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse().ok().filter(|_| is_number);
    let network = IpNet::new(address, length.ok_or_else(wrong)?).map_err(|_| wrong())?;
    if network.addr() != network.network() {
        return Err(format!(
            "{text:?} is an address inside of a network; begin with the network's first address"
        ));
    }
    Ok(network)
}

/// Returns a host in lower case, without the final dot of a full name and without the brackets of an address.
fn plain(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase()
}

fn is_loopback_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Names of cloud metadata services. The rule for link-local addresses refuses other names that resolve to one.
const METADATA_NAMES: [&str; 6] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.tencentyun.com",
];

fn is_metadata_name(host: &str) -> bool {
    METADATA_NAMES.contains(&host)
}

/// Addresses of cloud metadata services, which hand out credentials without a login: link-local for nearly all clouds,
/// and the exceptions.
const METADATA: [IpNet; 7] = [
    v4(169, 254, 0, 0, 16),
    v6([0xfe80, 0, 0, 0], 10),
    // Amazon, over IPv6.
    v6([0xfd00, 0x0ec2, 0, 0], 32),
    // Google, over IPv6.
    v6([0xfd20, 0x00ce, 0, 0], 32),
    // Alibaba.
    v4(100, 100, 100, 200, 32),
    // Oracle.
    v4(192, 0, 0, 192, 32),
    // Azure: a public number that belongs to the machine's host.
    v4(168, 63, 129, 16, 32),
];

fn is_metadata(address: IpAddr) -> bool {
    let hidden = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => hidden_v4(address).map(IpAddr::V4),
    };
    let addresses = [Some(address), hidden];
    let is_one = |address: IpAddr| METADATA.iter().any(|network| network.contains(&address));
    addresses.into_iter().flatten().any(is_one)
}

/// Returns the IPv4 address that a packet to this address reaches through a translator or a tunnel.
fn hidden_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // Compatible, mapped, translated.
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] | [0, 0, 0, 0, 0, 0xffff, high, low] => {
            Some(join(high, low))
        }
        // NAT64: the well-known prefix and the one for local use.
        [0x64, 0xff9b, 0 | 1, _, _, _, high, low] => Some(join(high, low)),
        // 6to4.
        [0x2002, high, low, ..] => Some(join(high, low)),
        // Teredo.
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        _ => None,
    }
}

/// The special-purpose addresses of IANA's registry, which are not public.
const NOT_PUBLIC_V4: [IpNet; 15] = [
    // This network.
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    // Behind a carrier's translator.
    v4(100, 64, 0, 0, 10),
    // Loopback.
    v4(127, 0, 0, 0, 8),
    // Link-local.
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    // Protocols.
    v4(192, 0, 0, 0, 24),
    // Documentation.
    v4(192, 0, 2, 0, 24),
    // Relays of 6to4.
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    // Benchmarks.
    v4(198, 18, 0, 0, 15),
    // Documentation.
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    // Multicast.
    v4(224, 0, 0, 0, 4),
    // Reserved, including broadcast.
    v4(240, 0, 0, 0, 4),
];

/// The range of public IPv6 addresses; unique local, link-local, site-local, multicast and every form of an IPv4
/// address lie outside.
const PUBLIC_V6: IpNet = v6([0x2000, 0, 0, 0], 3);

/// The special-purpose addresses in that range.
const NOT_PUBLIC_V6: [IpNet; 4] = [
    // Protocols: Teredo, benchmarks, identifiers that are not addresses.
    v6([0x2001, 0, 0, 0], 23),
    // Documentation.
    v6([0x2001, 0x0db8, 0, 0], 32),
    v6([0x3fff, 0, 0, 0], 20),
    // 6to4.
    v6([0x2002, 0, 0, 0], 16),
];

/// The prefix by which networks without IPv4 reach IPv4 services.
const NAT64: IpNet = v6([0x64, 0xff9b, 0, 0], 96);

fn is_public(address: IpAddr) -> bool {
    let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
    let IpAddr::V6(six) = address else {
        return !is_in(&NOT_PUBLIC_V4);
    };
    if NAT64.contains(&address) {
        return hidden_v4(six).is_some_and(|four| is_public(four.into()));
    }
    PUBLIC_V6.contains(&address) && !is_in(&NOT_PUBLIC_V6)
}
