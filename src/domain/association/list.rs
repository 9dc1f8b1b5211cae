//! The associations of a network as it sees them (`/device/associations`).

use super::{ASSOCIATIONS, Adopt, Association, NETWORK_ASSOCIATIONS, Share, network_name};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ClientId, NetworkId};

/// Lists them, the order is that of the codes.
#[derive(Clone, Copy, Debug)]
pub struct ListAssociations(
    /// The network.
    pub NetworkId,
);

/// All of a network's associations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Associations {
    /// Devices that wait to be adopted by it.
    pub adoptions: Vec<Listed>,
    /// Shares in which it is the guest.
    pub incoming: Vec<Listed>,
    /// Shares of its own clients.
    pub outgoing: Vec<Listed>,
}

/// An association.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Whether it is not confirmed yet.
    pub is_pending: bool,
    /// Its code.
    pub code: String,
    /// What the network calls it, else the name given with the code.
    pub device_name: String,
    /// The shared client.
    pub client_id: Option<ClientId>,
    /// The other network of a share, if there is one yet.
    pub network_name: Option<String>,
    /// How long a device still may confirm.
    pub minutes_left: Option<f64>,
}

impl Operation for ListAssociations {
    type Output = Associations;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Associations, DomainError> {
        let mut listed = Associations::default();
        for ((_, code), ()) in tx.scan(&NETWORK_ASSOCIATIONS, &self.0)? {
            match tx.get(&ASSOCIATIONS, &code)? {
                Some(Association::Adopt(adopt)) if adopt.client_id.is_none() && adopt.is_live(tx.now) => {
                    let minutes_left = adopt.minutes_left(tx.now);
                    listed.adoptions.push(adoption(code, adopt, minutes_left));
                }
                Some(Association::Share(share)) if share.source_id == self.0 => {
                    let guest_name = match share.guest_id {
                        Some(guest_id) => network_name(tx, &guest_id)?,
                        None => None,
                    };
                    listed.outgoing.push(shared(code, &share, &share.source_label, guest_name));
                }
                Some(Association::Share(share)) => {
                    let source_name = network_name(tx, &share.source_id)?;
                    listed.incoming.push(shared(code, &share, &share.guest_label, source_name));
                }
                _ => {}
            }
        }
        Ok(listed)
    }
}

fn adoption(code: String, adopt: Adopt, minutes_left: f64) -> Listed {
    Listed {
        is_pending: true,
        code,
        device_name: if adopt.label.is_empty() { adopt.device_name } else { adopt.label },
        client_id: None,
        network_name: None,
        minutes_left: Some(minutes_left),
    }
}

fn shared(code: String, share: &Share, label: &str, network_name: Option<String>) -> Listed {
    Listed {
        is_pending: !share.is_confirmed,
        code,
        device_name: if label.is_empty() { share.device_name.clone() } else { label.to_owned() },
        client_id: Some(share.client_id),
        network_name,
        minutes_left: None,
    }
}
