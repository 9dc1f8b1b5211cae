//! Challenges: steps of a wallet that its owner confirms with the token that came with them.
//!
//! ```text
//! INITIALIZE: COMPLETE
//! TRANSFER:   PENDING ──confirm──► COMPLETE          to a wallet of this server
//!                │    └──confirm──► QUEUED ──sent──► COMPLETE      to a chain, by the operator or a company
//!                │                    └──reject──► FAILED
//!                ├──cancel──► CANCELLED
//!                └──15 min──► EXPIRED
//! ```
//!
//! A transfer holds its amount from PENDING on; leaving PENDING or QUEUED releases or spends the hold, in the
//! transaction of the change.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::journal;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ChallengeId, NetworkId, WalletId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::{DAY, Timestamp};

/// Every challenge.
pub const CHALLENGES: Table<ChallengeId, Challenge> = Table::new(254, "challenges");

/// The transfers of a wallet that are pending or queued.
pub const OPEN_TRANSFERS: Table<(WalletId, ChallengeId), ()> = Table::guarded(255, "open_transfers", 16);

/// When challenges expire, and when the ended ones are forgotten.
pub const CHALLENGE_DEADLINES: Table<(u64, ChallengeId), ()> = Table::new(256, "challenge_deadlines");

/// Transfers to a chain that were confirmed and not yet sent.
pub const QUEUED_TRANSFERS: Table<ChallengeId, ()> = Table::new(257, "queued_transfers");

/// How long a transfer waits for its confirmation.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long a token is good for.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How long an ended challenge is remembered.
const KEPT: Duration = Duration::from_secs(30 * DAY.as_secs());

/// What is to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChallengeKind {
    /// The making of a wallet.
    Initialize,
    /// A transfer out of it.
    Transfer,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChallengeStatus {
    /// Waits for its confirmation.
    Pending,
    /// Confirmed; waits to be sent.
    Queued,
    /// Done.
    Complete,
    /// Refused by the operator or the chain.
    Failed,
    /// Nobody confirmed it in time.
    Expired,
    /// Its owner changed their mind.
    Cancelled,
}

impl ChallengeStatus {
    /// What clients call it.
    pub fn name(self) -> &'static str {
        match self {
            ChallengeStatus::Pending => "PENDING",
            ChallengeStatus::Queued => "QUEUED",
            ChallengeStatus::Complete => "COMPLETE",
            ChallengeStatus::Failed => "FAILED",
            ChallengeStatus::Expired => "EXPIRED",
            ChallengeStatus::Cancelled => "CANCELLED",
        }
    }

    /// Whether the amount is held.
    fn is_open(self) -> bool {
        matches!(self, ChallengeStatus::Pending | ChallengeStatus::Queued)
    }
}

/// A challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The network.
    pub network_id: NetworkId,
    /// The wallet.
    pub wallet_id: WalletId,
    /// What is to be confirmed.
    pub kind: ChallengeKind,
    /// How far it is.
    pub status: ChallengeStatus,
    /// Where a transfer goes.
    pub to_address: String,
    /// What it moves.
    pub amount: i64,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it expires while it is pending.
    pub expire_time: Timestamp,
    /// SHA-256 of its token.
    pub token_hash: [u8; 32],
    /// The transaction on the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
}
json_record!(Challenge, 1);

impl Challenge {
    /// How far it is now: one whose time is up has expired, whoever gets to write that down.
    pub fn status_at(&self, now: Timestamp) -> ChallengeStatus {
        match self.status {
            ChallengeStatus::Pending if self.expire_time <= now => ChallengeStatus::Expired,
            status => status,
        }
    }

    /// Whether `token` is the one that came with it, and still good.
    pub fn accepts(&self, token: &str, now: Timestamp) -> bool {
        let is_same: bool = subtle::ConstantTimeEq::ct_eq(&self.token_hash[..], &hash(token)[..]).into();
        is_same && now < self.create_time + TOKEN_LIFETIME
    }
}

/// What the owner gets with a challenge, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Confirms the challenge.
    pub user_token: String,
    /// Opaque.
    pub encryption_key: String,
    /// Names it.
    pub challenge_id: String,
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// What a new challenge is about.
pub struct NewChallenge {
    /// What is to be confirmed.
    pub kind: ChallengeKind,
    /// Where a transfer goes.
    pub to_address: String,
    /// What it moves.
    pub amount: i64,
}

/// Makes a challenge of a wallet: a transfer is pending and holds nothing yet, anything else is complete.
pub fn issue(
    tx: &mut Tx<'_>,
    (network_id, wallet_id): (NetworkId, WalletId),
    new: NewChallenge,
) -> Result<(ChallengeId, Issued), DomainError> {
    let mut random = || {
        let mut bytes = [0; 32];
        tx.rng.fill_bytes(&mut bytes);
        bytes
    };
    let user_token = BASE64_URL_SAFE_NO_PAD.encode(random());
    let encryption_key = BASE64_STANDARD.encode(random());
    let challenge_id: ChallengeId = tx.new_id();
    let NewChallenge { kind, to_address, amount } = new;
    let status = match kind {
        ChallengeKind::Transfer => ChallengeStatus::Pending,
        ChallengeKind::Initialize => ChallengeStatus::Complete,
    };
    let challenge = Challenge {
        network_id,
        wallet_id,
        kind,
        status,
        to_address,
        amount,
        create_time: tx.now,
        expire_time: tx.now + LIFETIME,
        token_hash: hash(&user_token),
        tx_hash: None,
    };
    tx.put(&CHALLENGES, &challenge_id, &challenge)?;
    if kind == ChallengeKind::Transfer {
        tx.put(&OPEN_TRANSFERS, &(wallet_id, challenge_id), &())?;
        tx.put(&CHALLENGE_DEADLINES, &(challenge.expire_time.as_millis(), challenge_id), &())?;
    }
    Ok((challenge_id, Issued { user_token, encryption_key, challenge_id: challenge_id.to_string() }))
}

/// What becomes of the hold when a transfer ends.
pub enum Hold {
    /// It goes back to the wallet.
    Release,
    /// It pays this account.
    Spend(journal::Account),
}

/// Ends an open transfer: its hold is released or spent, and it will be forgotten in a while. False, and nothing
/// happens, when the payee cannot take it.
pub fn end(
    tx: &mut Tx<'_>,
    id: ChallengeId,
    mut challenge: Challenge,
    (status, hold): (ChallengeStatus, Hold),
) -> Result<bool, DomainError> {
    debug_assert!(challenge.status.is_open() && !status.is_open());
    journal::release(tx, challenge.wallet_id, challenge.amount)?;
    if let Hold::Spend(to) = hold {
        let (from, reference) = (journal::Account::Wallet(challenge.wallet_id), id.to_string());
        if !journal::post(tx, (journal::Reason::Transfer, &reference), (from, to), challenge.amount)? {
            // The hold stays.
            journal::hold(tx, challenge.wallet_id, challenge.amount)?;
            return Ok(false);
        }
    }
    challenge.status = status;
    tx.put(&CHALLENGES, &id, &challenge)?;
    tx.delete(&OPEN_TRANSFERS, &(challenge.wallet_id, id))?;
    tx.delete(&QUEUED_TRANSFERS, &id)?;
    tx.delete(&CHALLENGE_DEADLINES, &(challenge.expire_time.as_millis(), id))?;
    tx.put(&CHALLENGE_DEADLINES, &((tx.now + KEPT).as_millis(), id), &())?;
    Ok(true)
}

/// Ends the pending transfers of a wallet whose time is up.
pub fn expire_due(tx: &mut Tx<'_>, wallet_id: WalletId) -> Result<(), DomainError> {
    for ((_, id), ()) in tx.scan(&OPEN_TRANSFERS, &wallet_id)? {
        let Some(challenge) = tx.get(&CHALLENGES, &id)? else { continue };
        if challenge.status != challenge.status_at(tx.now) {
            end(tx, id, challenge, (ChallengeStatus::Expired, Hold::Release))?;
        }
    }
    Ok(())
}

/// One challenge of a network.
pub struct ReadChallenge {
    /// Whose.
    pub network_id: NetworkId,
    /// Which.
    pub id: ChallengeId,
}

impl Operation for ReadChallenge {
    /// `None` for one that does not exist or is another network's.
    type Output = Option<Challenge>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Challenge>, DomainError> {
        let Some(mut challenge) = tx.get(&CHALLENGES, &self.id)? else { return Ok(None) };
        challenge.status = challenge.status_at(tx.now);
        Ok((challenge.network_id == self.network_id).then_some(challenge))
    }
}

/// The challenges whose time is up, oldest first.
pub struct DueChallenges;

impl Operation for DueChallenges {
    type Output = Vec<(u64, ChallengeId)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let now = tx.now.as_millis();
        let all = tx.scan_snapshot(&CHALLENGE_DEADLINES, &())?;
        Ok(all.into_iter().map(|(key, ())| key).take_while(|(time, _)| *time <= now).collect())
    }
}

/// Does what a deadline asks for: a pending transfer expires, an ended one is forgotten.
pub struct MeetDeadline(pub (u64, ChallengeId));

impl Operation for MeetDeadline {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let (_, id) = self.0;
        tx.delete(&CHALLENGE_DEADLINES, &self.0)?;
        let Some(challenge) = tx.get(&CHALLENGES, &id)? else { return Ok(()) };
        match challenge.status {
            ChallengeStatus::Pending if challenge.status_at(tx.now) == ChallengeStatus::Expired => {
                end(tx, id, challenge, (ChallengeStatus::Expired, Hold::Release))?;
            }
            ChallengeStatus::Pending | ChallengeStatus::Queued => {}
            _ => tx.delete(&CHALLENGES, &id)?,
        }
        Ok(())
    }
}
