//! The owner's answer to a challenge.

use super::challenge::{CHALLENGES, ChallengeStatus, Hold, QUEUED_TRANSFERS, end};
use super::journal::{self, Account};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ChallengeId, NetworkId};

/// A challenge that cannot be answered so: unknown, another network's, a wrong or old token, or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid challenge.")]
pub struct InvalidChallenge;

/// Confirms a challenge with the token that came with it. A second time changes nothing and says how far it is.
pub struct Confirm {
    /// Whose, when the caller is known; the token alone proves enough.
    pub network_id: Option<NetworkId>,
    /// Which.
    pub id: ChallengeId,
    /// The token.
    pub user_token: String,
}

impl Operation for Confirm {
    type Output = Result<ChallengeStatus, InvalidChallenge>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let Some(mut challenge) = tx.get(&CHALLENGES, &self.id)? else { return Ok(Err(InvalidChallenge)) };
        let is_theirs = self.network_id.is_none_or(|network_id| network_id == challenge.network_id);
        if !is_theirs || !challenge.accepts(&self.user_token, tx.now) {
            return Ok(Err(InvalidChallenge));
        }
        match challenge.status_at(tx.now) {
            ChallengeStatus::Pending => {}
            ChallengeStatus::Expired | ChallengeStatus::Cancelled => return Ok(Err(InvalidChallenge)),
            status => return Ok(Ok(status)),
        }
        let Some(payee) = journal::parse_address(&challenge.to_address) else {
            challenge.status = ChallengeStatus::Queued;
            tx.put(&CHALLENGES, &self.id, &challenge)?;
            tx.put(&QUEUED_TRANSFERS, &self.id, &())?;
            return Ok(Ok(ChallengeStatus::Queued));
        };
        let spend = Hold::Spend(Account::Wallet(payee));
        if end(tx, self.id, challenge.clone(), (ChallengeStatus::Complete, spend))? {
            return Ok(Ok(ChallengeStatus::Complete));
        }
        end(tx, self.id, challenge, (ChallengeStatus::Failed, Hold::Release))?;
        Ok(Ok(ChallengeStatus::Failed))
    }
}

/// Takes a transfer back that was not confirmed. A second time changes nothing.
pub struct Cancel {
    /// Whose.
    pub network_id: NetworkId,
    /// Which.
    pub id: ChallengeId,
}

impl Operation for Cancel {
    type Output = Result<(), InvalidChallenge>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let found = tx.get(&CHALLENGES, &self.id)?;
        let Some(challenge) = found.filter(|challenge| challenge.network_id == self.network_id) else {
            return Ok(Err(InvalidChallenge));
        };
        match challenge.status_at(tx.now) {
            ChallengeStatus::Pending => {
                end(tx, self.id, challenge, (ChallengeStatus::Cancelled, Hold::Release))?;
                Ok(Ok(()))
            }
            ChallengeStatus::Cancelled => Ok(Ok(())),
            _ => Ok(Err(InvalidChallenge)),
        }
    }
}
