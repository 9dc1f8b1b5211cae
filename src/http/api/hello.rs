//! Is the server there, and how does it see me.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::location::geoip::NetworkKind;
use crate::domain::location::place::Place;
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::ClientAddress;
use crate::http::state::{ApiState, Quic};

const LISTENERS_READY: HeaderName = HeaderName::from_static("x-ur-connect-listeners-ready");
const UDP_LISTENERS: HeaderName = HeaderName::from_static("x-ur-connect-udp-listeners");

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(hello)).routes(routes!(status)).routes(routes!(my_ip_info))
}

/// How the server sees the caller.
#[derive(Serialize, ToSchema)]
struct HelloResult {
    /// `ip:port`, `[ip]:port` for IPv6; port 0 when a proxy hides it.
    client_address: String,
}

/// Says hello.
///
/// Clients probe the way to the server with it before and between other calls.
#[utoipa::path(get, path = "/hello", tag = "discovery", responses((status = 200, body = HelloResult)))]
async fn hello(ClientAddress(address): ClientAddress) -> ApiResult<HelloResult> {
    Ok(Json(HelloResult { client_address: address.to_string() }))
}

/// Whether the server is ready.
#[derive(Serialize, ToSchema)]
struct StatusResult {
    /// The release that is running.
    version: &'static str,
    /// `ok`, `draining`, or a text that starts with `error`.
    status: String,
    /// How the server sees the caller.
    client_address: String,
    /// Name of the server.
    host: String,
    /// Always `connect`.
    service: &'static str,
    /// Always `main`.
    block: &'static str,
}

/// Tells operators and load balancers whether the server is ready.
///
/// Status 503 while the QUIC listener is enabled but down.
#[utoipa::path(get, path = "/status", tag = "discovery", responses((status = 200, body = StatusResult)))]
async fn status(State(state): State<ApiState>, address: Result<ClientAddress, ApiError>) -> Response {
    let listener = state.status.quic();
    if let Some(Quic::Down(reason)) = listener {
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}")).into_response();
    }
    let mut headers = HeaderMap::new();
    headers.insert(LISTENERS_READY, HeaderValue::from_static("1"));
    let port = match listener {
        Some(Quic::Listening(address)) => HeaderValue::from(address.port()),
        _ => HeaderValue::from_static(""),
    };
    headers.insert(UDP_LISTENERS, port);
    let result = StatusResult {
        version: env!("CARGO_PKG_VERSION"),
        status: state.status.word(),
        client_address: address.map_or("error: malformed forwarding header".into(), |address| address.0.to_string()),
        host: state.status.host().into(),
        service: "connect",
        block: "main",
    };
    (headers, Json(result)).into_response()
}

/// What the server knows about the caller's address.
#[derive(Serialize, ToSchema)]
struct MyIpInfoResult {
    /// The address and where it is.
    info: IpInfo,
    /// Whether a relay connection from the same address range is live.
    connected_to_network: bool,
}

/// An address and where it is.
#[derive(Serialize, ToSchema)]
struct IpInfo {
    /// The address, without port.
    ip: String,
    /// Where it is, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<IpLocation>,
    /// What hides behind the address.
    privacy: IpPrivacy,
}

/// Where an address is, as far as known.
#[derive(Serialize, ToSchema)]
struct IpLocation {
    /// A point nearby.
    #[serde(skip_serializing_if = "Option::is_none")]
    coordinates: Option<IpCoordinates>,
    /// The city.
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// The country.
    country: IpCountry,
}

/// A point on earth.
#[derive(Serialize, ToSchema)]
struct IpCoordinates {
    /// Degrees north.
    lat: f64,
    /// Degrees east.
    lon: f64,
}

/// A country.
#[derive(Serialize, ToSchema)]
struct IpCountry {
    /// Two letters, lower case.
    code: String,
    /// Its name.
    name: String,
}

/// What hides behind an address, as far as the address table says.
#[derive(Serialize, ToSchema)]
struct IpPrivacy {
    /// A VPN; tables do not tell it from a proxy.
    vpn: bool,
    /// A VPN, proxy or other way to hide.
    proxy: bool,
    /// A Tor exit; not looked up.
    tor: bool,
    /// A relay service; not looked up.
    relay: bool,
    /// A data centre.
    hosting: bool,
    /// Name of the service; not looked up.
    service: &'static str,
}

impl From<NetworkKind> for IpPrivacy {
    fn from(kind: NetworkKind) -> Self {
        let NetworkKind { is_hosting, is_anonymous, .. } = kind;
        Self { vpn: false, proxy: is_anonymous, tor: false, relay: false, hosting: is_hosting, service: "" }
    }
}

impl From<&Place> for IpLocation {
    fn from(place: &Place) -> Self {
        let named = |name: &String| (!name.is_empty()).then(|| name.clone());
        Self {
            coordinates: place.coordinates.map(|point| IpCoordinates { lat: point.latitude, lon: point.longitude }),
            city: named(&place.city),
            region: named(&place.region),
            country: IpCountry { code: place.country_code.as_str().to_ascii_lowercase(), name: place.country.clone() },
        }
    }
}

/// Tells the caller its address and where that is.
#[utoipa::path(get, path = "/my-ip-info", tag = "discovery", responses((status = 200, body = MyIpInfoResult)))]
async fn my_ip_info(State(state): State<ApiState>, ClientAddress(address): ClientAddress) -> ApiResult<MyIpInfoResult> {
    let located = state.providers.geography().locate(address.ip());
    let info = IpInfo {
        ip: address.ip().to_string(),
        location: located.as_ref().map(|located| IpLocation::from(&located.place)),
        privacy: located.map(|located| located.network).unwrap_or_default().into(),
    };
    Ok(Json(MyIpInfoResult { info, connected_to_network: state.presence.is_bucket_connected(address.ip()) }))
}

/// `GET /` without an upgrade; the relay takes those with one before they come here, and the portal those of browsers.
pub fn root() -> Response {
    let refusal = ApiError::bad_request("This address speaks WebSocket. The API is described at /docs.");
    ([(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))], refusal).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::geoip::Override;
    use crate::domain::presence::PresenceEntry;
    use crate::http::testing::TestApi;
    use crate::ids::IdGenerator;

    #[tokio::test]
    async fn hello_shows_the_address_whatever_the_credentials() {
        let api = TestApi::new();
        api.get("/hello").await.golden(200, "direct");
        api.get("/hello").token("stale").await.expect(200);
        let answer = api.get("/hello").from("127.0.0.1:9").header("x-forwarded-for", "6.6.6.6, 2001:db8::1").await;
        assert_eq!(answer.expect(200)["client_address"], "[2001:db8::1]:0");
    }

    #[tokio::test]
    async fn status_tells_what_the_server_is_about() {
        let api = TestApi::new();
        let answer = api.get("/status").await;
        assert_eq!(answer.headers["x-ur-connect-listeners-ready"], "1");
        assert_eq!(answer.headers["x-ur-connect-udp-listeners"], "");
        answer.golden(200, "ready");
        api.state.status.set_quic(Some(Quic::Listening("127.0.0.1:443".parse().unwrap())));
        assert_eq!(api.get("/status").await.headers["x-ur-connect-udp-listeners"], "443");
        api.state.status.drain();
        assert_eq!(api.get("/status").await.expect(200)["status"], "draining");
        api.state.status.set_failure(Some("no store".into()));
        assert_eq!(api.get("/status").await.expect(200)["status"], "error not ready: no store");
        api.state.status.set_quic(Some(Quic::Down("address in use".into())));
        assert_eq!(api.get("/status").await.expect(503)["error"]["message"], "not ready: address in use");
    }

    #[tokio::test]
    async fn my_ip_info_tells_where_the_address_is_if_known() {
        TestApi::new().get("/my-ip-info").await.golden(200, "unlocated");
        let mut config = TestApi::config();
        let (country, region, city) = ("de".into(), "Berlin".into(), "Berlin".into());
        config.geoip.overrides.push(Override {
            range: "203.0.113.0/24".into(),
            country,
            region,
            city,
            ..Override::default()
        });
        config.geoip.default.country = "fr".into();
        let api = TestApi::with_config(config);
        api.get("/my-ip-info").await.golden(200, "located");
        let answer = api.get("/my-ip-info").from("198.51.100.7:1").await;
        answer.golden(200, "country_only");
    }

    #[tokio::test]
    async fn my_ip_info_tells_whether_a_neighbour_is_connected() {
        let api = TestApi::new();
        let ids = IdGenerator::new();
        let connected = api.state.presence.attach(PresenceEntry {
            connection_id: ids.next_random(api.clock.now()),
            client_id: ids.next_random(api.clock.now()),
            network_id: api.user.network_id,
            instance_id: ids.next_random(api.clock.now()),
            address: "203.0.113.10".parse().unwrap(),
        });
        assert_eq!(api.get("/my-ip-info").await.expect(200)["connected_to_network"], true);
        drop(connected);
        assert_eq!(api.get("/my-ip-info").await.expect(200)["connected_to_network"], false);
    }
}
