//! Accounts that a store's receipt opens: the receipt is all their user has to prove who they are.

use super::create::{Names, put_account};
use super::name;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::portal::profile;
use crate::domain::service::Service;
use crate::domain::subscription::desk::Subscriptions;
use crate::domain::subscription::receipt::{ReceiptProblem, StoreReceipt};
use crate::domain::subscription::record::ReceiptType;
use crate::domain::subscription::store;
use crate::ids::{NetworkId, UserId};

/// Who a receipt belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The user.
    pub user_id: UserId,
    /// Their network.
    pub network_id: NetworkId,
    /// Whether they were made now.
    pub is_new: bool,
}

/// Finds the user of a receipt, and makes one when it is nobody's; what the receipt says is taken. `partner` is noted
/// for a new user.
pub async fn open(
    service: &Service,
    subscriptions: &Subscriptions,
    receipt_type: ReceiptType,
    receipt: &str,
    partner: Option<&str>,
) -> Result<Opened, ReceiptProblem> {
    let receipt = subscriptions.verify(receipt_type, receipt).await?;
    let opened = service.run(&OpenByReceipt { receipt: &receipt, partner }).await?;
    subscriptions.deliver().await?;
    subscriptions.acknowledge(receipt).await?;
    Ok(opened)
}

struct OpenByReceipt<'a> {
    receipt: &'a StoreReceipt,
    partner: Option<&'a str>,
}

impl Operation for OpenByReceipt<'_> {
    type Output = Opened;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Opened, DomainError> {
        let opened = match store::owner(tx, self.receipt)? {
            Some((user_id, network_id)) => Opened { user_id, network_id, is_new: false },
            None => {
                let network = name::generate(tx)?;
                let (network_id, user_id) = put_account(tx, Names { network: &network, user: "" }, "")?;
                if let Some(partner) = self.partner {
                    profile::note_partner(tx, &user_id, partner)?;
                }
                Opened { user_id, network_id, is_new: true }
            }
        };
        store::take(tx, (opened.user_id, opened.network_id), self.receipt)?;
        Ok(opened)
    }
}
