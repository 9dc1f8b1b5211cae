//! What the operator does to the ledger's wallets: credit them, and tell what became of transfers to a chain.

use super::challenge::{CHALLENGES, Challenge, ChallengeStatus, Hold, QUEUED_TRANSFERS, end};
use super::journal::{self, Account, Reason};
use super::sending::SENDINGS;
use crate::domain::device::cut;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ChallengeId, NetworkId, RecordId, WalletId};

/// Longest memo or transaction hash; longer text is cut.
const MAX_TEXT_BYTES: usize = 256;

/// Credits the wallet of a network's administrator; it is made when there is none.
pub struct CreditWallet {
    /// Whose.
    pub network_id: NetworkId,
    /// How much, in 10⁻⁹ USD.
    pub amount: i64,
    /// What for.
    pub memo: String,
}

impl Operation for CreditWallet {
    type Output = WalletId;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<WalletId, DomainError> {
        let wallet_id = journal::ensure_network_wallet(tx, self.network_id)?
            .ok_or(DomainError::NotFound("There is no such network."))?;
        let memo = cut(&self.memo, MAX_TEXT_BYTES);
        let legs = (Account::Operator, Account::Wallet(wallet_id));
        if !journal::post(tx, (Reason::Credit, memo), legs, self.amount)? {
            return Err(DomainError::BadRequest("The amount must be above zero and at most a billion USD.".into()));
        }
        Ok(wallet_id)
    }
}

/// The transfers that wait to be sent, oldest first.
pub struct ListQueued;

impl Operation for ListQueued {
    type Output = Vec<(ChallengeId, Challenge)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let mut queued = Vec::new();
        for (id, ()) in tx.scan_snapshot(&QUEUED_TRANSFERS, &())? {
            if let Some(challenge) = tx.get(&CHALLENGES, &id)? {
                queued.push((id, challenge));
            }
        }
        Ok(queued)
    }
}

/// Records that a transfer was sent: the hold is spent.
pub struct MarkSent {
    /// Which.
    pub id: ChallengeId,
    /// The transaction on the chain.
    pub tx_hash: String,
}

impl Operation for MarkSent {
    /// How the transfer ended: a second time nothing changes.
    type Output = ChallengeStatus;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<ChallengeStatus, DomainError> {
        let mut challenge = queued(tx, self.id)?;
        if challenge.status == ChallengeStatus::Queued {
            challenge.tx_hash = Some(cut(&self.tx_hash, MAX_TEXT_BYTES).to_owned());
            let outcome = (ChallengeStatus::Complete, Hold::Spend(Account::Chain));
            if !end(tx, self.id, challenge, outcome)? {
                return Err(DomainError::BadRequest("The amount of the transfer cannot be spent.".into()));
            }
            tx.delete(&SENDINGS, &sending_id(self.id))?;
            return Ok(ChallengeStatus::Complete);
        }
        Ok(challenge.status)
    }
}

/// Refuses a transfer that waits to be sent: the hold goes back.
pub struct RejectTransfer {
    /// Which.
    pub id: ChallengeId,
    /// Whether to refuse one, too, that may have been sent.
    pub is_forced: bool,
}

impl Operation for RejectTransfer {
    /// How the transfer ended: a second time nothing changes.
    type Output = ChallengeStatus;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<ChallengeStatus, DomainError> {
        let challenge = queued(tx, self.id)?;
        if challenge.status == ChallengeStatus::Queued {
            let sending = tx.get(&SENDINGS, &sending_id(self.id))?;
            if !self.is_forced && sending.is_some_and(|sending| !sending.has_failed) {
                return Err(DomainError::BadRequest(
                    "The transfer is being sent; refuse it by force when it is certain that nothing left.".into(),
                ));
            }
            end(tx, self.id, challenge, (ChallengeStatus::Failed, Hold::Release))?;
            tx.delete(&SENDINGS, &sending_id(self.id))?;
            return Ok(ChallengeStatus::Failed);
        }
        Ok(challenge.status)
    }
}

/// The name under which a transfer is on its way.
pub fn sending_id(id: ChallengeId) -> RecordId {
    RecordId::new(*id.as_bytes())
}

/// A transfer that is or was queued.
fn queued(tx: &mut Tx<'_>, id: ChallengeId) -> Result<Challenge, DomainError> {
    let challenge = tx.get(&CHALLENGES, &id)?.ok_or(DomainError::NotFound("There is no such transfer."))?;
    match challenge.status {
        ChallengeStatus::Queued | ChallengeStatus::Complete | ChallengeStatus::Failed => Ok(challenge),
        _ => Err(DomainError::BadRequest("The transfer was not confirmed by its owner.".into())),
    }
}
