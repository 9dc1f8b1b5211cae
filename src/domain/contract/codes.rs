//! Balance codes: secrets that give a balance to whoever redeems them first.
//!
//! A code is found by the SHA-256 of its secret. The secret itself is kept only once it is redeemed, for the network
//! that did: its apps look there for "already redeemed by you".
//!
//! ```text
//!  create -> unredeemed -> redeemed   (a balance, paid when there is revenue, never Pro)
//!                |             |
//!                +-> cancelled <-+    (its balance ends)
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Ledger;
use super::grants::Periodic;
use super::record::{Balance, GrantMarker};
use super::restore::{PAGE, for_each};
use super::state::State;
use crate::domain::error::DomainError;
use crate::ids::{BalanceId, NetworkId, RecordId};
use crate::json_record;
use crate::store::table::Table;
use crate::store::{Store, StoreError};
use crate::time::{DAY, Timestamp};

/// Balance codes by the SHA-256 of their secret.
pub const BALANCE_CODES: Table<[u8; 32], BalanceCode> = Table::new(207, "balance_codes");

/// Codes given at sign-up and not yet redeemed: written with the network, deleted with the redeeming.
pub const PENDING_CODES: Table<NetworkId, PendingCode> = Table::new(208, "pending_codes");

/// How long a redeemed code lasts unless said otherwise.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(8760 * 3600);

/// Codes made at once.
pub const MAX_AT_ONCE: u32 = 1000;

/// Codes there may be.
const MAX_CODES: usize = 1 << 20;

/// Redeemed codes in one list.
const MAX_LISTED: usize = 2000;

/// Longest text about a purchase.
const MAX_TEXT_BYTES: usize = 1024;

const MAX_DURATION: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Characters of a secret: 130 bits. Apps refuse other lengths unsent.
const SECRET_CHARS: usize = 26;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret of a code: 26 characters `A–Z2–7`. Does not show itself in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A new one, from a cryptographic generator.
    pub fn random() -> Self {
        let mut rng = rand::rng();
        Self((0..SECRET_CHARS).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect())
    }

    /// Reads what a person typed: in either case, with spaces anywhere. `None` when that cannot be a secret.
    pub fn parse(text: &str) -> Option<Self> {
        let typed = text.chars().filter(|letter| !letter.is_whitespace()).map(|letter| letter.to_ascii_uppercase());
        let secret: String = typed.take(SECRET_CHARS + 1).collect();
        (secret.len() == SECRET_CHARS && secret.bytes().all(|letter| ALPHABET.contains(&letter)))
            .then_some(Self(secret))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        hash
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A balance code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceCode {
    /// Names it.
    pub code_id: RecordId,
    /// When it was made.
    pub create_time: Timestamp,
    /// Until it is redeemed only the distance to `end_time` matters; then the balance is usable from here.
    pub start_time: Timestamp,
    /// Until just before here.
    pub end_time: Timestamp,
    /// Size of the balance.
    pub bytes: i64,
    /// Revenue behind it, nano-cents.
    pub net_revenue: i64,
    /// The purchase that made it, unique.
    pub purchase_event_id: String,
    /// Whatever the shop says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purchase_record: String,
    /// Who bought it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purchase_email: String,
    /// Who redeemed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redemption: Option<Redemption>,
    /// When it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_time: Option<Timestamp>,
}
json_record!(BalanceCode, 1);

/// A redeemed code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// The network that has the balance.
    pub network_id: NetworkId,
    /// The balance.
    pub balance_id: BalanceId,
    /// When.
    pub time: Timestamp,
    /// The secret, for that network's own list.
    pub secret: Secret,
}

/// A code given at sign-up, while it is not certain whether it was redeemed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingCode {
    /// Its secret, as typed.
    pub secret: Secret,
    /// When the network was made.
    pub create_time: Timestamp,
}
json_record!(PendingCode, 1);

/// Codes to make, all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCodes {
    /// How many, 1 to [`MAX_AT_ONCE`].
    pub count: u32,
    /// Size of each balance.
    pub bytes: i64,
    /// Revenue behind each, nano-cents.
    pub net_revenue: i64,
    /// How long each lasts once redeemed; a day more is given.
    pub duration: Duration,
    /// The purchase. The second code and those after it add `/2` and so on. One is made up when there is none.
    pub purchase_event_id: Option<String>,
    /// Whatever the shop says about it.
    pub purchase_record: String,
    /// Who bought them.
    pub purchase_email: String,
}

/// A code that was just made: the only time its secret is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeCode {
    /// Names it.
    pub code_id: RecordId,
    /// Its secret.
    pub secret: Secret,
}

/// Why no code was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeRefusal {
    /// An amount is out of range.
    #[error(
        "a code needs a size above 0, a revenue of at least 0, a duration of at most 100 years, and texts of at most 1 KiB; at most 1000 are made at once"
    )]
    Malformed,
    /// The purchase has its codes.
    #[error("this purchase already has its codes")]
    EventTaken,
    /// There are very many.
    #[error("there are too many codes")]
    TooMany,
}

/// The balance that a code gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedeemedBalance {
    /// Names it.
    pub balance_id: BalanceId,
    /// Usable from here.
    pub start_time: Timestamp,
    /// Until just before here.
    pub end_time: Timestamp,
    /// Its size.
    pub bytes: i64,
}

/// How redeeming ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedeemOutcome {
    /// The caller has the balance.
    Redeemed(RedeemedBalance),
    /// No such code, or it is redeemed or cancelled.
    Unknown,
    /// Somebody was faster, by a moment.
    AlreadyRedeemed,
}

/// How cancelling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Nobody can redeem it any more.
    Cancelled,
    /// It was redeemed; the balance has ended.
    ClawedBack(BalanceId),
    /// It was cancelled before.
    Already,
    /// No such code.
    Unknown,
}

/// Every code.
#[derive(Debug, Default)]
pub(super) struct Codes {
    by_hash: HashMap<[u8; 32], BalanceCode>,
    by_id: HashMap<RecordId, [u8; 32]>,
    purchase_events: HashMap<String, RecordId>,
    /// Redeemed and not cancelled, soonest end first.
    redeemed: BTreeMap<(NetworkId, Timestamp, RecordId), [u8; 32]>,
}

impl Codes {
    fn insert(&mut self, hash: [u8; 32], code: BalanceCode) {
        self.by_id.insert(code.code_id, hash);
        self.purchase_events.insert(code.purchase_event_id.clone(), code.code_id);
        if let Some(key) = listed_under(&code) {
            self.redeemed.insert(key, hash);
        }
        self.by_hash.insert(hash, code);
    }

    /// A code that can be redeemed.
    fn redeemable(&self, hash: &[u8; 32]) -> Option<&BalanceCode> {
        self.by_hash.get(hash).filter(|code| code.redemption.is_none() && code.cancel_time.is_none())
    }

    fn redeemed_by(&self, network: NetworkId) -> impl Iterator<Item = ([u8; 32], &BalanceCode)> {
        let first = (network, Timestamp::ZERO, RecordId::new([0; 16]));
        let last = (network, Timestamp::from_millis(u64::MAX), RecordId::new([0xff; 16]));
        self.redeemed.range(first..=last).filter_map(|(_, hash)| Some((*hash, self.by_hash.get(hash)?)))
    }
}

fn listed_under(code: &BalanceCode) -> Option<(NetworkId, Timestamp, RecordId)> {
    let redemption = code.redemption.as_ref().filter(|_| code.cancel_time.is_none())?;
    Some((redemption.network_id, code.end_time, code.code_id))
}

impl Ledger {
    /// Makes codes: all of them, or none.
    pub async fn create_codes(&self, new: NewCodes) -> Result<Result<Vec<MadeCode>, CodeRefusal>, DomainError> {
        let secrets: Vec<Secret> = (0..new.count.min(MAX_AT_ONCE)).map(|_| Secret::random()).collect();
        self.run(move |state| state.create_codes(&new, secrets)).await
    }

    /// The code behind what a person typed, if it can be redeemed.
    pub async fn check_code(&self, typed: &str) -> Result<Option<BalanceCode>, DomainError> {
        let Some(secret) = Secret::parse(typed) else { return Ok(None) };
        self.run(move |state| state.codes.redeemable(&secret.hash()).cloned()).await
    }

    /// Gives the balance of a code to a network. Of several who try at once one succeeds.
    pub async fn redeem_code(&self, network: NetworkId, typed: &str) -> Result<RedeemOutcome, DomainError> {
        // Only who saw the code unredeemed can have lost a race for it.
        if self.check_code(typed).await?.is_none() {
            return Ok(RedeemOutcome::Unknown);
        }
        let Some(secret) = Secret::parse(typed) else { return Ok(RedeemOutcome::Unknown) };
        let redeemed = self.run(move |state| state.redeem(network, &secret)).await?;
        Ok(redeemed.map_or(RedeemOutcome::AlreadyRedeemed, RedeemOutcome::Redeemed))
    }

    /// The network that has redeemed a code, whether or not its balance still runs.
    pub async fn redeemer(&self, typed: &str) -> Result<Option<NetworkId>, DomainError> {
        let Some(secret) = Secret::parse(typed) else { return Ok(None) };
        self.run(move |state| {
            let redemption = state.codes.by_hash.get(&secret.hash())?.redemption.as_ref()?;
            Some(redemption.network_id)
        })
        .await
    }

    /// Redeems the code that a network was made with, in place of its free grant of that day; one that cannot be
    /// redeemed is ignored. The network's [`PENDING_CODES`] row, from which this is done again after a crash, goes in
    /// the same commit.
    pub async fn redeem_pending(&self, network: NetworkId, pending: PendingCode) -> Result<(), DomainError> {
        self.run(move |state| state.redeem_pending(network, &pending)).await
    }

    /// Makes a code worthless, as after a refund; the balance of a redeemed one ends now.
    pub async fn cancel_code(&self, code: RecordId) -> Result<CancelOutcome, DomainError> {
        self.run(move |state| state.cancel_code(code)).await
    }

    /// The codes a network has redeemed whose balance has not ended, soonest end first.
    pub async fn redeemed_codes(&self, network: NetworkId) -> Result<Vec<BalanceCode>, DomainError> {
        self.run(move |state| {
            let live = state.codes.redeemed_by(network).map(|(_, code)| code);
            live.filter(|code| code.end_time > state.now).take(MAX_LISTED).cloned().collect()
        })
        .await
    }

    /// Every code, newest first, at most `limit`.
    pub async fn codes(&self, limit: usize) -> Result<Vec<BalanceCode>, DomainError> {
        self.run(move |state| {
            let mut ids: Vec<_> = state.codes.by_id.iter().collect();
            ids.sort_unstable_by(|left, right| right.cmp(left));
            ids.into_iter().take(limit).filter_map(|(_, hash)| state.codes.by_hash.get(hash).cloned()).collect()
        })
        .await
    }
}

impl State {
    pub(super) fn create_codes(&mut self, new: &NewCodes, secrets: Vec<Secret>) -> Result<Vec<MadeCode>, CodeRefusal> {
        let texts = [new.purchase_event_id.as_deref().unwrap_or_default(), &new.purchase_record, &new.purchase_email];
        let is_fine = (1..=MAX_AT_ONCE).contains(&new.count)
            && new.bytes > 0
            && new.net_revenue >= 0
            && new.duration <= MAX_DURATION
            && texts.iter().all(|text| text.len() <= MAX_TEXT_BYTES);
        if !is_fine {
            return Err(CodeRefusal::Malformed);
        }
        if self.codes.by_hash.len() + secrets.len() > MAX_CODES {
            return Err(CodeRefusal::TooMany);
        }
        let ids: Vec<RecordId> = secrets.iter().map(|_| self.new_id()).collect();
        let event = |at: usize| match &new.purchase_event_id {
            None => ids[at].to_string(),
            Some(event) if at == 0 => event.clone(),
            Some(event) => format!("{event}/{}", at + 1),
        };
        if (0..ids.len()).any(|at| self.codes.purchase_events.contains_key(&event(at))) {
            return Err(CodeRefusal::EventTaken);
        }
        let start_time = self.now.start_of_day();
        let mut made = Vec::with_capacity(ids.len());
        for (at, secret) in secrets.into_iter().enumerate() {
            let code = BalanceCode {
                code_id: ids[at],
                create_time: self.now,
                start_time,
                end_time: start_time + DAY + new.duration,
                bytes: new.bytes,
                net_revenue: new.net_revenue,
                purchase_event_id: event(at),
                purchase_record: new.purchase_record.clone(),
                purchase_email: new.purchase_email.clone(),
                redemption: None,
                cancel_time: None,
            };
            self.put_code(secret.hash(), code);
            made.push(MadeCode { code_id: ids[at], secret });
        }
        Ok(made)
    }

    /// Claims a code for a network and gives the balance: one step. `None` when it cannot be redeemed.
    pub(super) fn redeem(&mut self, network: NetworkId, secret: &Secret) -> Option<RedeemedBalance> {
        let hash = secret.hash();
        let code = self.codes.redeemable(&hash)?.clone();
        // The code's own end is not asked: an old one gives its full duration.
        let (start_time, end_time) = (self.now, self.now + code.end_time.since(code.start_time));
        let balance =
            Balance { start_bytes: code.bytes, bytes: code.bytes, net_revenue: code.net_revenue, ..Balance::default() };
        let balance_id = self.grant(network, start_time, end_time, balance)?;
        let redemption = Redemption { network_id: network, balance_id, time: self.now, secret: secret.clone() };
        let bytes = code.bytes;
        self.put_code(hash, BalanceCode { start_time, end_time, redemption: Some(redemption), ..code });
        Some(RedeemedBalance { balance_id, start_time, end_time, bytes })
    }

    fn redeem_pending(&mut self, network: NetworkId, pending: &PendingCode) {
        let made_at = pending.create_time;
        if let Some(redeemed) = self.redeem(network, &pending.secret)
            && !self.has_period(network, Periodic::Free, made_at)
        {
            let marker = GrantMarker { period: made_at.day_number(), balance_id: redeemed.balance_id };
            self.mark_period(network, Periodic::Free, marker);
        }
        self.changes.delete(&PENDING_CODES, &network);
    }

    /// The code of a purchase.
    pub(super) fn code_of(&self, purchase_event_id: &str) -> Option<RecordId> {
        self.codes.purchase_events.get(purchase_event_id).copied()
    }

    pub(super) fn cancel_code(&mut self, id: RecordId) -> CancelOutcome {
        let Some(hash) = self.codes.by_id.get(&id).copied() else { return CancelOutcome::Unknown };
        let Some(code) = self.codes.by_hash.get(&hash).cloned() else { return CancelOutcome::Unknown };
        if code.cancel_time.is_some() {
            return CancelOutcome::Already;
        }
        let balance = code.redemption.as_ref().map(|redemption| redemption.balance_id);
        let end_time = if balance.is_some() { code.end_time.min(self.now) } else { code.end_time };
        self.put_code(hash, BalanceCode { end_time, cancel_time: Some(self.now), ..code });
        match balance {
            None => CancelOutcome::Cancelled,
            Some(balance) => {
                self.claw_back(balance);
                CancelOutcome::ClawedBack(balance)
            }
        }
    }

    /// Lets the code of a balance end with it.
    pub(super) fn end_redeemed(&mut self, network: NetworkId, balance: BalanceId) {
        let is_its = |code: &BalanceCode| code.redemption.as_ref().is_some_and(|by| by.balance_id == balance);
        let found = self.codes.redeemed_by(network).find(|(_, code)| is_its(code));
        if let Some((hash, code)) = found.map(|(hash, code)| (hash, code.clone())) {
            self.put_code(hash, BalanceCode { end_time: self.now, ..code });
        }
    }

    fn put_code(&mut self, hash: [u8; 32], code: BalanceCode) {
        if let Some(key) = self.codes.by_hash.get(&hash).and_then(listed_under) {
            self.codes.redeemed.remove(&key);
        }
        self.changes.put(&BALANCE_CODES, &hash, &code);
        self.codes.insert(hash, code);
    }

    pub(super) fn restore_codes(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        for_each(store, &BALANCE_CODES, None, PAGE, |hash, code| self.codes.insert(hash, code))
    }

    /// Redeems what was given at sign-ups that a crash interrupted.
    pub(super) fn finish_pending(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        for_each(store, &PENDING_CODES, None, PAGE, |network, pending| self.redeem_pending(network, &pending))
    }

    /// A code by its id.
    #[cfg(test)]
    pub(super) fn code_by_id(&self, id: RecordId) -> Option<&BalanceCode> {
        self.codes.by_hash.get(self.codes.by_id.get(&id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_26_letters_and_forgives_case_and_spaces() {
        let secret = Secret::random();
        assert_eq!(secret.as_str().len(), 26);
        assert!(secret.as_str().bytes().all(|letter| ALPHABET.contains(&letter)));
        assert_ne!(secret, Secret::random());
        let typed = format!("  {} {}\n", secret.as_str()[..13].to_lowercase(), &secret.as_str()[13..]);
        assert_eq!(Secret::parse(&typed), Some(secret.clone()));
        let longer = format!("{}A", secret.as_str());
        for wrong in ["", &secret.as_str()[1..], &longer, "0ABCDEFGHIJKLMNOPQRSTUVWXY", "ÄABCDEFGHIJKLMNOPQRSTUVWX"] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::random();
        assert!(!format!("{secret:?}").contains(secret.as_str()));
    }
}
