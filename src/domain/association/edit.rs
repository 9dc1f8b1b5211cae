//! What either side may do with an association it is part of: end it, and call it something.

use super::code::Code;
use super::{ASSOCIATIONS, Adopt, Association, InvalidCode, remove};
use crate::domain::device::check_text;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;

/// Ends an association (`/device/remove-association`): the owner of an adopt, either side of a share. A client that was
/// adopted stays.
#[derive(Clone, Debug)]
pub struct RemoveAssociation {
    /// Who asks.
    pub network_id: NetworkId,
    /// The code.
    pub code: Code,
}

impl Operation for RemoveAssociation {
    type Output = Result<(), InvalidCode>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let code = self.code.to_string();
        match tx.get(&ASSOCIATIONS, &code)? {
            Some(association) if is_party(&association, &self.network_id) => {
                remove(tx, &code, &association)?;
                Ok(Ok(()))
            }
            _ => Ok(Err(InvalidCode)),
        }
    }
}

/// Names an association (`/device/set-association-name`); each side sees its own name only.
#[derive(Clone, Debug)]
pub struct NameAssociation {
    /// Who asks.
    pub network_id: NetworkId,
    /// The code.
    pub code: Code,
    /// The name; empty for the one given with the code.
    pub label: String,
}

impl Operation for NameAssociation {
    type Output = Result<(), InvalidCode>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        check_text(&self.label)?;
        let code = self.code.to_string();
        let Some(mut association) = tx.get(&ASSOCIATIONS, &code)? else { return Ok(Err(InvalidCode)) };
        if !is_party(&association, &self.network_id) {
            return Ok(Err(InvalidCode));
        }
        let label = match &mut association {
            Association::Adopt(adopt) => &mut adopt.label,
            Association::Share(share) if share.source_id == self.network_id => &mut share.source_label,
            Association::Share(share) => &mut share.guest_label,
        };
        label.clone_from(&self.label);
        tx.put(&ASSOCIATIONS, &code, &association)?;
        Ok(Ok(()))
    }
}

/// Whether a network has a say: the owner of an adopt, source and guest of a share.
fn is_party(association: &Association, network_id: &NetworkId) -> bool {
    match association {
        Association::Adopt(Adopt { owner, .. }) => owner.as_ref().is_some_and(|owner| owner.network_id == *network_id),
        Association::Share(share) => share.source_id == *network_id || share.guest_id == Some(*network_id),
    }
}
