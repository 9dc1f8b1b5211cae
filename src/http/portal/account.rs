//! The page of an account: who, which plan, what is left, which devices; and removing one of them.

use axum::extract::State;
use axum::routing::{get, post};
use serde::Serialize;

use super::error::{PortalError, PortalResult};
use super::page::Page;
use super::plan::{self, Plan};
use super::rate::Limit;
use super::reader::Reader;
use super::session::{PortalUser, SignedPost};
use super::{Route, go};
use crate::config::units::ByteSize;
use crate::domain::account::discount::ReadDiscount;
use crate::domain::account::referral::ReadOwnReferral;
use crate::domain::account::user::GetNetworkUser;
use crate::domain::auth::method::MethodKind;
use crate::domain::balance::BalanceView;
use crate::domain::client::{ListClients, ListedClient, RemoveClients};
use crate::http::state::ApiState;
use crate::ids::ClientId;

/// Most clients that are looked at.
const CLIENTS_MAX: usize = 2000;
/// Most devices on the page.
const DEVICES_MAX: usize = 200;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let limit = Limit::new("account", |limits| limits.account);
    vec![("/account", limit.on(state, get(account))), ("/remove-device", limit.on(state, post(remove_device)))]
}

/// An account.
#[derive(Debug, Default, Serialize)]
pub struct AccountPage {
    /// Its proven mail address; none for one that an app has made.
    pub email: Option<String>,
    /// The name of its network.
    pub network_name: String,
    /// What it pays for.
    pub plan: Plan,
    /// What is left of its balance.
    pub balance: Balance,
    /// What it brings to others.
    pub referral: Referral,
    /// Its devices.
    pub devices: Vec<Device>,
}

impl Page for AccountPage {
    const TEMPLATE: &'static str = "account.html";
}

/// What is left of a balance.
#[derive(Debug, Default, Serialize)]
pub struct Balance {
    /// Used of what was granted for now, for people.
    pub used: String,
    /// Granted for now, for people.
    pub total: String,
    /// Used, in percent.
    pub percent: u64,
}

impl From<&BalanceView> for Balance {
    fn from(view: &BalanceView) -> Self {
        let total = u64::try_from(view.start_bytes).unwrap_or_default();
        let left = u64::try_from(view.available_bytes + view.open_bytes).unwrap_or_default();
        let used = total.saturating_sub(left);
        let percent = used.saturating_mul(100).checked_div(total).unwrap_or_default();
        Self { used: bytes(used), total: bytes(total), percent }
    }
}

/// A size for people, with one decimal.
fn bytes(count: u64) -> String {
    for (unit, size) in [("TiB", ByteSize::tib(1).0), ("GiB", ByteSize::gib(1).0), ("MiB", ByteSize::mib(1).0)] {
        if count >= size {
            let tenths = u128::from(count) * 10 / u128::from(size);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{} KiB", count.div_ceil(1024))
}

/// What an account brings to others.
#[derive(Debug, Default, Serialize)]
pub struct Referral {
    /// Its code.
    pub code: String,
    /// The link that carries it.
    pub link: String,
    /// How many accounts it brought.
    pub count: usize,
    /// Its discount in percent.
    pub discount: u32,
}

/// A device.
#[derive(Debug, Default, Serialize)]
pub struct Device {
    /// The client it stands for.
    pub id: String,
    /// What its owner calls it; empty for unnamed.
    pub name: String,
    /// What it is.
    pub spec: String,
    /// Whether it is connected.
    pub is_connected: bool,
    /// The day it was last connected; none for never.
    pub seen: Option<String>,
}

impl Device {
    fn new(listed: ListedClient, is_connected: bool) -> Self {
        let ListedClient { client_id, client, device, .. } = listed;
        let (name, spec) = device.map(|device| (device.device_name, device.device_spec)).unwrap_or_default();
        let seen = client.seen_time.max(client.auth_time);
        Self {
            id: client_id.to_string(),
            name: if name.is_empty() { client.description } else { name },
            spec,
            is_connected,
            seen: (seen.as_millis() > 0).then(|| seen.to_date()),
        }
    }
}

async fn account(State(state): State<ApiState>, reader: Reader, user: PortalUser) -> PortalResult {
    let PortalUser { user_id, network_id, .. } = user;
    let shown = state.service.read(&GetNetworkUser { user_id })?.ok_or_else(PortalError::session_expired)?;
    let mail = shown.methods.into_iter().find(|method| method.kind == MethodKind::Email && method.verified);
    let balance = state.ledger.balance(network_id).await?;
    let referral = state.service.run(&ReadOwnReferral(network_id)).await?;
    let connected = state.presence.connected(network_id);
    let list = ListClients { network_id, connected: connected.clone(), max_count: CLIENTS_MAX };
    let devices = state.service.read(&list)?.into_iter().filter(|listed| listed.client.is_top_level());
    let is_connected = |id: &ClientId| connected.contains(id);
    let page = AccountPage {
        email: mail.and_then(|method| method.identity),
        network_name: shown.network_name,
        plan: plan::of(&state, &user, &balance).await?,
        balance: Balance::from(&balance),
        referral: Referral {
            link: format!("{}/signup?refer={}", state.config().portal_base(), referral.code),
            code: referral.code,
            count: referral.count,
            discount: state.service.read(&ReadDiscount(network_id))?,
        },
        devices: devices
            .take(DEVICES_MAX)
            .map(|listed| {
                let is_connected = is_connected(&listed.client_id);
                Device::new(listed, is_connected)
            })
            .collect(),
    };
    reader.page(&state, &page)
}

async fn remove_device(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    let SignedPost { user, fields } = post;
    let client_id: Option<ClientId> = fields.text("clientId").parse().ok();
    let client_id = client_id.ok_or_else(|| PortalError::field("error.no_such_device").at("/account"))?;
    let remove = RemoveClients { network_id: user.network_id, client_ids: vec![client_id] };
    match state.service.run(&remove).await? {
        0 => Err(PortalError::field("error.no_such_device").at("/account")),
        _ => Ok(go::saying("/account", "account.device_removed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (count, text) in
            [(0, "0 KiB"), (1, "1 KiB"), (1 << 20, "1.0 MiB"), (1_600 << 20, "1.5 GiB"), (1 << 40, "1.0 TiB")]
        {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn what_is_reserved_is_not_used() {
        let view = BalanceView { start_bytes: 100, available_bytes: 60, open_bytes: 20, ..BalanceView::default() };
        assert_eq!(Balance::from(&view).percent, 20);
        assert_eq!(Balance::from(&BalanceView::default()).percent, 0);
    }
}
