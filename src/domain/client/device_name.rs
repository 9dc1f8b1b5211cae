//! What an owner calls a device of theirs; the peers of its client see it.

use super::{NETWORK_CLIENTS, active};
use crate::domain::device::{DEVICES, DeviceRecord, check_text};
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{DeviceId, NetworkId};

/// Names a device of the caller's network (`/device/set-name`).
#[derive(Clone, Debug)]
pub struct NameDevice {
    /// The caller's network.
    pub network_id: NetworkId,
    /// The device.
    pub device_id: DeviceId,
    /// Its name; empty for none.
    pub device_name: String,
}

impl Operation for NameDevice {
    /// Whether the network has such a device.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        check_text(&self.device_name)?;
        let device = tx.get(&DEVICES, &self.device_id)?;
        let Some(device) = device.filter(|device| device.network_id == self.network_id) else { return Ok(false) };
        tx.put(&DEVICES, &self.device_id, &DeviceRecord { device_name: self.device_name.clone(), ..device })?;
        for ((_, client_id), ()) in tx.scan(&NETWORK_CLIENTS, &self.network_id)? {
            if active(tx, &client_id)?.is_some_and(|client| client.device_id == self.device_id) {
                tx.effect(Effect::ClientChanged(self.network_id, client_id));
            }
        }
        Ok(true)
    }
}
