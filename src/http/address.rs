//! Where a request comes from: the TCP peer, or what a trusted proxy says about it.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::config::address_range::AddressRange;

const UR_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-ur-forwarded-for");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_SOURCE_PORT: HeaderName = HeaderName::from_static("x-forwarded-source-port");

/// The peer of the TCP connection; the listener puts it into the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// A trusted proxy sent a forwarding header that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The forwarding header {0} is malformed.")]
pub struct ForwardingError(&'static str);

/// The client's address: `peer`, unless a range of `trusted` holds it and a forwarding header names another.
/// Port 0 when the proxy does not tell the port. IPv4-mapped IPv6 is unmapped.
///
/// `X-UR-Forwarded-For` (`ip:port`, one value) wins over `X-Forwarded-For`, which is walked from the right: the
/// first address that is not itself a trusted proxy is the client (`server/session/client_session.go` refuses lists).
pub fn client_address(
    headers: &HeaderMap,
    peer: SocketAddr,
    trusted: &[AddressRange],
) -> Result<SocketAddr, ForwardingError> {
    let peer = canonical(peer);
    if !is_trusted(peer.ip(), trusted) {
        return Ok(peer);
    }
    if headers.contains_key(UR_FORWARDED_FOR) {
        return single(headers).ok_or(ForwardingError("X-UR-Forwarded-For"));
    }
    let Some(hops) = hops(headers)? else { return Ok(peer) };
    let client = hops.iter().rev().find(|hop| !is_trusted(hop.ip(), trusted)).or(hops.first()).copied().unwrap_or(peer);
    let port = headers.get(FORWARDED_SOURCE_PORT).map(|value| value.to_str().ok()?.trim().parse().ok());
    match port {
        Some(Some(port)) => Ok(SocketAddr::new(client.ip(), port)),
        Some(None) => Err(ForwardingError("X-Forwarded-Source-Port")),
        None => Ok(client),
    }
}

/// The address that the account website shows: `peer`, or what a trusted proxy names first in `X-Forwarded-For`,
/// whoever stands between. For show only, because anyone can put a first entry there.
pub fn leftmost_address(headers: &HeaderMap, peer: SocketAddr, trusted: &[AddressRange]) -> IpAddr {
    let peer = canonical(peer).ip();
    let is_trusted = trusted.iter().any(|range| range.contains(peer));
    let named = is_trusted.then(|| hops(headers).ok().flatten()?.first().map(SocketAddr::ip)).flatten();
    named.unwrap_or(peer)
}

/// The only value of `X-UR-Forwarded-For`: an address with its port.
fn single(headers: &HeaderMap) -> Option<SocketAddr> {
    let mut values = headers.get_all(UR_FORWARDED_FOR).iter();
    let text = values.next()?.to_str().ok()?.trim();
    if values.next().is_some() {
        return None;
    }
    text.parse().map(canonical).ok().or_else(|| unbracketed(text))
}

/// `ipv6:port` without brackets, which upstream's proxies write.
fn unbracketed(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let address: std::net::Ipv6Addr = address.parse().ok()?;
    Some(canonical(SocketAddr::new(address.into(), port.parse().ok()?)))
}

/// All addresses of all `X-Forwarded-For` headers in order; `None` without such a header.
fn hops(headers: &HeaderMap) -> Result<Option<Vec<SocketAddr>>, ForwardingError> {
    let mut hops = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        let text = value.to_str().map_err(|_| ForwardingError("X-Forwarded-For"))?;
        for hop in text.split(',') {
            hops.push(hop_address(hop.trim()).ok_or(ForwardingError("X-Forwarded-For"))?);
        }
    }
    Ok(if hops.is_empty() { None } else { Some(hops) })
}

/// One entry of `X-Forwarded-For`: an address, with a port if some proxy adds one.
fn hop_address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address.to_canonical(), 0)),
        Err(_) => text.parse().map(canonical).ok(),
    }
}

/// Whether a peer is a proxy whose headers are believed.
pub fn is_trusted(peer: IpAddr, trusted: &[AddressRange]) -> bool {
    trusted.iter().any(|range| range.contains(peer.to_canonical()))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::http::Http;

    /// What a request with these headers counts as, seen from loopback or from elsewhere.
    fn seen(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        match client_address(&map, peer.parse().unwrap(), &Http::default().trusted_proxies) {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn headers_from_an_untrusted_peer_are_ignored() {
        let headers = [("x-forwarded-for", "198.51.100.1"), ("x-ur-forwarded-for", "nonsense")];
        assert_eq!(seen("203.0.113.9:51514", &headers), "203.0.113.9:51514");
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        assert_eq!(seen("127.0.0.1:9", &[("x-forwarded-for", "6.6.6.6, 203.0.113.9, 127.0.0.5")]), "203.0.113.9:0");
        let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "2001:db8::1")];
        assert_eq!(seen("[::1]:9", &two), "[2001:db8::1]:0");
        assert_eq!(seen("127.0.0.1:9", &[("x-forwarded-for", "127.0.0.7, 127.0.0.5")]), "127.0.0.7:0");
    }

    #[test]
    fn the_port_header_counts_only_beside_an_address() {
        let both = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-source-port", "51514")];
        assert_eq!(seen("127.0.0.1:9", &both), "203.0.113.9:51514");
        assert_eq!(seen("127.0.0.1:9", &[("x-forwarded-source-port", "51514")]), "127.0.0.1:9");
    }

    #[test]
    fn the_single_header_wins_and_refuses_lists() {
        let both = [("x-ur-forwarded-for", "203.0.113.9:7"), ("x-forwarded-for", "6.6.6.6")];
        assert_eq!(seen("127.0.0.1:9", &both), "203.0.113.9:7");
        assert_eq!(seen("127.0.0.1:9", &[("x-ur-forwarded-for", "2001:db8::1:7")]), "[2001:db8::1]:7");
        assert_eq!(seen("127.0.0.1:9", &[("x-ur-forwarded-for", "[::ffff:192.0.2.1]:7")]), "192.0.2.1:7");
        for wrong in ["1.2.3.4:5, 1.2.3.4:6", "1.2.3.4", ""] {
            let answer = seen("127.0.0.1:9", &[("x-ur-forwarded-for", wrong)]);
            assert_eq!(answer, "The forwarding header X-UR-Forwarded-For is malformed.", "{wrong}");
        }
    }

    #[test]
    fn malformed_lists_from_a_trusted_peer_are_errors() {
        let answer = seen("127.0.0.1:9", &[("x-forwarded-for", "unknown, 203.0.113.9")]);
        assert_eq!(answer, "The forwarding header X-Forwarded-For is malformed.");
    }

    #[test]
    fn the_leftmost_entry_counts_for_show_when_a_trusted_proxy_sends_it() {
        let shown = |peer: &str, value: &'static str| {
            let mut map = HeaderMap::new();
            map.insert("x-forwarded-for", value.parse().unwrap());
            leftmost_address(&map, peer.parse().unwrap(), &Http::default().trusted_proxies).to_string()
        };
        assert_eq!(shown("127.0.0.1:9", "6.6.6.6, 203.0.113.9"), "6.6.6.6");
        assert_eq!(shown("203.0.113.9:9", "6.6.6.6"), "203.0.113.9");
        assert_eq!(shown("127.0.0.1:9", "unknown"), "127.0.0.1");
    }

    #[test]
    fn mapped_peers_are_unmapped() {
        assert_eq!(seen("[::ffff:203.0.113.9]:5", &[]), "203.0.113.9:5");
    }
}
