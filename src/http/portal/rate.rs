//! How many failed requests one address may make on a route within a minute.
//!
//! A request takes a place before it is answered and gives it back when it succeeds, so requests at the same time cannot
//! slip through together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use parking_lot::Mutex;

use super::error::{PortalError, TOO_MANY};
use super::reader::Reader;
use crate::config::portal::RateLimits;
use crate::http::state::ApiState;
use crate::time::Timestamp;

/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);
/// Windows kept at once.
const MAX_WINDOWS: usize = 65_536;

/// The limit of a route: where its number stands. The name keeps windows of different routes apart.
#[derive(Clone, Copy)]
pub struct Limit {
    name: &'static str,
    count: fn(&RateLimits) -> u32,
}

impl Limit {
    /// A limit under the name of its setting.
    pub const fn new(name: &'static str, count: fn(&RateLimits) -> u32) -> Self {
        Self { name, count }
    }

    /// A route that is held to the limit.
    pub fn on(self, state: &ApiState, route: MethodRouter<ApiState>) -> MethodRouter<ApiState> {
        let state = state.clone();
        route.layer(from_fn(move |reader: Extension<Reader>, request: Request, next: Next| {
            hold(state.clone(), self, reader.0, request, next)
        }))
    }
}

/// All windows.
#[derive(Debug, Default)]
pub struct Windows(Mutex<HashMap<(&'static str, IpAddr), Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Timestamp,
    count: u32,
}

impl Windows {
    /// Takes a place; when there is none, says when there will be.
    fn take(&self, key: (&'static str, IpAddr), limit: u32, now: Timestamp) -> Result<(), Timestamp> {
        let mut windows = self.0.lock();
        if windows.len() >= MAX_WINDOWS && !windows.contains_key(&key) {
            windows.retain(|_, window| now < window.start + WINDOW);
            if windows.len() >= MAX_WINDOWS {
                // Under such a flood nobody's count is worth more than the memory.
                windows.clear();
            }
        }
        let window = windows.entry(key).or_insert(Window { start: now, count: 0 });
        if now >= window.start + WINDOW {
            *window = Window { start: now, count: 0 };
        }
        if window.count >= limit {
            return Err(window.start + WINDOW);
        }
        window.count += 1;
        Ok(())
    }

    /// Gives a place back.
    fn give_back(&self, key: (&'static str, IpAddr)) {
        let mut windows = self.0.lock();
        if let Some(window) = windows.get_mut(&key) {
            window.count = window.count.saturating_sub(1);
            if window.count == 0 {
                windows.remove(&key);
            }
        }
    }
}

async fn hold(state: ApiState, limit: Limit, reader: Reader, request: Request, next: Next) -> Response {
    let count = (limit.count)(&state.config().portal.rate_limits);
    if count == 0 {
        return next.run(request).await;
    }
    let key = (limit.name, one_subscriber(reader.origin().address));
    if let Err(at) = state.portal.windows.take(key, count, state.now()) {
        let error = PortalError::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY, "error.too_many");
        return PortalError { next: Some(at), ..error }.into_response();
    }
    let response = next.run(request).await;
    if response.status().as_u16() < 400 {
        state.portal.windows.give_back(key);
    }
    response
}

/// What one subscriber has: an address of IPv4, a /64 of IPv6.
fn one_subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn a_window_fills_and_opens_again() {
        let windows = Windows::default();
        let key = ("x", "203.0.113.9".parse().unwrap());
        assert_eq!(windows.take(key, 2, NOW), Ok(()));
        assert_eq!(windows.take(key, 2, NOW), Ok(()));
        assert_eq!(windows.take(key, 2, NOW + WINDOW / 2), Err(NOW + WINDOW));
        assert_eq!(windows.take(("y", key.1), 2, NOW), Ok(()), "each route for itself");
        windows.give_back(key);
        assert_eq!(windows.take(key, 2, NOW), Ok(()));
        assert_eq!(windows.take(key, 2, NOW + WINDOW), Ok(()));
    }

    #[test]
    fn windows_are_bounded() {
        let windows = Windows::default();
        for host in 0..(MAX_WINDOWS as u32 + 10) {
            windows.take(("x", std::net::Ipv4Addr::from(host).into()), 2, NOW).unwrap();
        }
        assert!(windows.0.lock().len() <= MAX_WINDOWS);
    }

    #[test]
    fn a_subscriber_of_ipv6_has_a_whole_network() {
        let one = one_subscriber("2001:db8::1".parse().unwrap());
        assert_eq!(one, one_subscriber("2001:db8::2:3".parse().unwrap()));
        assert_ne!(one, one_subscriber("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(one_subscriber("::ffff:192.0.2.1".parse().unwrap()).to_string(), "192.0.2.1");
    }
}
