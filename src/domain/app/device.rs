//! Devices as apps name them: a text of the app's own choice, a number of ours.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::number::Number;
use super::token::APP_TOKENS;
use crate::domain::caller::{Caller, CallerClient};
use crate::domain::client;
use crate::domain::device::DEVICES;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ClientId, NetworkId, SessionId, UserId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Every device, by its number.
pub const APP_DEVICES: Table<u32, AppDevice> = Table::new(73, "app_devices");

/// Numbers of a user's devices, by the SHA-256 of what the app calls them.
pub const USER_APP_DEVICES: Table<(UserId, [u8; 32]), Number> = Table::guarded(74, "user_app_devices", 16);

/// The number of the device that a client is.
pub const CLIENT_APP_DEVICES: Table<ClientId, Number> = Table::new(75, "client_app_devices");

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppDevice {
    /// Whose it is.
    pub user_id: UserId,
    /// Their network.
    pub network_id: NetworkId,
    /// The client it is.
    pub client_id: ClientId,
    /// What the app calls it, at most 255 characters.
    pub app_name: String,
    /// When it first signed in.
    pub create_time: Timestamp,
    /// What it signed in with last; none once it has signed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<AppLogin>,
}
json_record!(AppDevice, 1);

/// A device that is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppLogin {
    /// SHA-256 of its token.
    pub token: [u8; 32],
    /// When it got the token.
    pub token_time: Timestamp,
    /// When the lineage of the client tokens that it is given began.
    pub create_time: Timestamp,
    /// Their session.
    pub session_id: SessionId,
}

/// The key of a device among those of its user.
pub(super) fn key(user_id: UserId, app_name: &str) -> (UserId, [u8; 32]) {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, app_name.as_bytes()).as_ref());
    (user_id, hash)
}

/// Who a device is while it is signed in, as the bearer of a client token; `None` when it is not, or its client is no
/// more. Whether the session and the user still stand is not asked here.
pub(super) fn caller(tx: &mut Tx<'_>, device: &AppDevice) -> Result<Option<Caller>, StoreError> {
    let Some(login) = device.login else { return Ok(None) };
    let Some(client) = client::active(tx, &device.client_id)? else { return Ok(None) };
    Ok(Some(Caller {
        network_id: device.network_id,
        user_id: device.user_id,
        client: Some(CallerClient { client_id: device.client_id, device_id: client.device_id }),
        create_time: login.create_time,
        session_id: Some(login.session_id),
        roles: client.roles,
        principal: client.principal,
    }))
}

/// Forgets the device that a client was.
pub fn remove_of_client(tx: &mut Tx<'_>, client_id: ClientId) -> Result<(), StoreError> {
    let Some(Number { number }) = tx.get(&CLIENT_APP_DEVICES, &client_id)? else { return Ok(()) };
    tx.delete(&CLIENT_APP_DEVICES, &client_id)?;
    let Some(device) = tx.get(&APP_DEVICES, &number)? else { return Ok(()) };
    tx.delete(&APP_DEVICES, &number)?;
    tx.delete(&USER_APP_DEVICES, &key(device.user_id, &device.app_name))?;
    if let Some(login) = device.login {
        tx.delete(&APP_TOKENS, &login.token)?;
    }
    Ok(())
}

/// A device as its owner or the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDevice {
    /// Its number.
    pub number: u32,
    /// What is stored of it.
    pub device: AppDevice,
    /// What people call it.
    pub name: String,
}

/// The devices of a user, by number.
pub struct ListAppDevices {
    /// Whose.
    pub user_id: UserId,
}

impl Operation for ListAppDevices {
    type Output = Vec<ListedDevice>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<ListedDevice>, DomainError> {
        let mut listed = Vec::new();
        for (_, Number { number }) in tx.scan(&USER_APP_DEVICES, &self.user_id)? {
            listed.extend(find(tx, number)?);
        }
        listed.sort_by_key(|device| device.number);
        Ok(listed)
    }
}

/// The device with a number.
pub(super) fn find(tx: &mut Tx<'_>, number: u32) -> Result<Option<ListedDevice>, StoreError> {
    let Some(device) = tx.get(&APP_DEVICES, &number)? else { return Ok(None) };
    let name = match client::active(tx, &device.client_id)? {
        Some(client) => tx.get(&DEVICES, &client.device_id)?.map(|device| device.device_name),
        None => None,
    };
    Ok(Some(ListedDevice { number, device, name: name.unwrap_or_default() }))
}
