//! Referrals: each network has a code, and may name one other network as the one that brought it here.

use rand::{Rng, RngExt};

use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, NetworkRecord, REFERRAL_CODES, REFERRALS, ReferralCodeRecord};
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;

const CODE_CHARS: usize = 6;
const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// Codes tried before the server says it is busy; out of two thousand million, one is enough.
const TRIES: usize = 16;
/// Steps upward in which a loop is looked for.
const MAX_CHAIN: usize = 64;

/// A network's own code, and what it has brought (`/account/referral-code`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnReferral {
    /// The code.
    pub code: String,
    /// How many networks name this one.
    pub count: usize,
}

/// Reads a network's own code; one that has none yet gets one.
#[derive(Clone, Copy, Debug)]
pub struct ReadOwnReferral(
    /// The network.
    pub NetworkId,
);

impl Operation for ReadOwnReferral {
    type Output = OwnReferral;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<OwnReferral, DomainError> {
        let mut network = tx.get(&NETWORKS, &self.0)?.ok_or(DomainError::Unauthorized)?;
        if network.referral_code.is_empty() {
            network.referral_code = new_code(tx, self.0)?;
            tx.put(&NETWORKS, &self.0, &network)?;
        }
        // A count may be a moment old; it must not fail because somebody signs up.
        let count = tx.scan_snapshot(&REFERRALS, &self.0)?.len();
        Ok(OwnReferral { code: network.referral_code, count })
    }
}

/// Says whether a code is somebody's, and whether it brings no more (`/referral-code/validate`).
#[derive(Clone, Debug)]
pub struct CheckReferralCode {
    /// The code as typed.
    pub code: String,
}

/// What a code is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferralCodeState {
    /// It is somebody's.
    pub is_valid: bool,
    /// Its network has brought all it may.
    pub is_capped: bool,
}

impl Operation for CheckReferralCode {
    type Output = ReferralCodeState;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<ReferralCodeState, DomainError> {
        match owner(tx, &self.code)? {
            None => Ok(ReferralCodeState::default()),
            Some(parent_id) => Ok(ReferralCodeState { is_valid: true, is_capped: is_capped(tx, &parent_id)? }),
        }
    }
}

/// Names the network that brought the caller's (`/account/set-referral`), in place of an earlier one.
#[derive(Clone, Debug)]
pub struct SetReferral {
    /// The caller's network.
    pub network_id: NetworkId,
    /// The other's code as typed.
    pub code: String,
}

/// Why a referral was refused; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferralRefusal {
    /// Nobody's code.
    #[error("Invalid referral code")]
    InvalidCode,
    /// Its network has brought all it may.
    #[error("Referral code has reached maximum number of referrals")]
    Capped,
    /// The caller's own code.
    #[error("Cannot set the same referral code as the current network")]
    OwnCode,
    /// Its network was itself brought by the caller's.
    #[error("Failed to create network referral")]
    Loop,
}

impl Operation for SetReferral {
    type Output = Result<(), ReferralRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let network = tx.get(&NETWORKS, &self.network_id)?.ok_or(DomainError::Unauthorized)?;
        let Some(parent_id) = owner(tx, &self.code)? else { return Ok(Err(ReferralRefusal::InvalidCode)) };
        if parent_id == self.network_id {
            return Ok(Err(ReferralRefusal::OwnCode));
        }
        if network.referred_by == Some(parent_id) {
            return Ok(Ok(()));
        }
        if is_capped(tx, &parent_id)? {
            return Ok(Err(ReferralRefusal::Capped));
        }
        if descends_from(tx, parent_id, &self.network_id)? {
            return Ok(Err(ReferralRefusal::Loop));
        }
        link(tx, &self.network_id, network, Some(parent_id))?;
        Ok(Ok(()))
    }
}

/// Forgets which network brought the caller's (`/account/unlink-referral-network`); doing it again changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct UnlinkReferral(
    /// The caller's network.
    pub NetworkId,
);

impl Operation for UnlinkReferral {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let network = tx.get(&NETWORKS, &self.0)?.ok_or(DomainError::Unauthorized)?;
        if network.referred_by.is_some() {
            link(tx, &self.0, network, None)?;
        }
        Ok(())
    }
}

/// Reads which network brought the caller's (`/account/referral-network`).
#[derive(Clone, Copy, Debug)]
pub struct ReadReferralNetwork(
    /// The caller's network.
    pub NetworkId,
);

impl Operation for ReadReferralNetwork {
    /// Its id and name; `None` when there is none, or none any more.
    type Output = Option<(NetworkId, String)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let network = tx.get(&NETWORKS, &self.0)?.ok_or(DomainError::Unauthorized)?;
        let Some(parent_id) = network.referred_by else { return Ok(None) };
        Ok(tx.get(&NETWORKS, &parent_id)?.map(|parent| (parent_id, parent.name)))
    }
}

/// The network behind a code that was given when `child_id` is made; none when it is nobody's, or brings no more.
pub(super) fn accept(tx: &mut Tx<'_>, code: &str, child_id: &NetworkId) -> Result<Option<NetworkId>, DomainError> {
    let Some(parent_id) = owner(tx, code)? else { return Ok(None) };
    if is_capped(tx, &parent_id)? {
        return Ok(None);
    }
    tx.put(&REFERRALS, &(parent_id, *child_id), &())?;
    Ok(Some(parent_id))
}

/// Gives a network a code that nobody has: 6 characters `A–Z0–9`, each as likely as the other.
pub(super) fn new_code(tx: &mut Tx<'_>, network_id: NetworkId) -> Result<String, DomainError> {
    for _ in 0..TRIES {
        let code = random_code(&mut tx.rng);
        if tx.get(&REFERRAL_CODES, &code)?.is_none() {
            tx.put(&REFERRAL_CODES, &code, &ReferralCodeRecord { network_id })?;
            return Ok(code);
        }
    }
    Err(DomainError::Unavailable)
}

/// Forgets the code and the referrals of a network that is being removed. Those that it brought name it still, in
/// vain.
pub(super) fn remove_all(tx: &mut Tx<'_>, network_id: &NetworkId, network: &NetworkRecord) -> Result<(), DomainError> {
    for (key, ()) in tx.scan(&REFERRALS, network_id)? {
        tx.delete(&REFERRALS, &key)?;
    }
    if let Some(parent_id) = network.referred_by {
        tx.delete(&REFERRALS, &(parent_id, *network_id))?;
    }
    tx.delete(&REFERRAL_CODES, &network.referral_code)?;
    Ok(())
}

fn owner(tx: &mut Tx<'_>, code: &str) -> Result<Option<NetworkId>, DomainError> {
    let code = code.trim().to_uppercase();
    if code.len() != CODE_CHARS {
        return Ok(None);
    }
    Ok(tx.get(&REFERRAL_CODES, &code)?.map(|owner| owner.network_id))
}

fn is_capped(tx: &mut Tx<'_>, parent_id: &NetworkId) -> Result<bool, DomainError> {
    let max = tx.config.limits.referrals_per_network;
    Ok(max != 0 && tx.scan(&REFERRALS, parent_id)?.len() >= max)
}

/// Whether `network_id` is, or was brought by way of others by, `ancestor_id`.
fn descends_from(tx: &mut Tx<'_>, network_id: NetworkId, ancestor_id: &NetworkId) -> Result<bool, DomainError> {
    let mut next = Some(network_id);
    for _ in 0..MAX_CHAIN {
        let Some(current) = next else { return Ok(false) };
        if current == *ancestor_id {
            return Ok(true);
        }
        next = tx.get(&NETWORKS, &current)?.and_then(|network| network.referred_by);
    }
    Ok(false)
}

fn link(
    tx: &mut Tx<'_>,
    network_id: &NetworkId,
    network: NetworkRecord,
    referred_by: Option<NetworkId>,
) -> Result<(), DomainError> {
    if let Some(former_id) = network.referred_by {
        tx.delete(&REFERRALS, &(former_id, *network_id))?;
    }
    if let Some(parent_id) = referred_by {
        tx.put(&REFERRALS, &(parent_id, *network_id), &())?;
    }
    tx.put(&NETWORKS, network_id, &NetworkRecord { referred_by, ..network })?;
    Ok(())
}

fn random_code(rng: &mut impl Rng) -> String {
    let letter = |_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]);
    (0..CODE_CHARS).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::create::{CreateNetwork, CreateNetworkOutcome, CreatedNetwork};
    use crate::domain::account::delete::DeleteNetwork;
    use crate::domain::auth::testing::{TestAccounts, here};

    async fn network(accounts: &TestAccounts, referral_code: &str) -> CreatedNetwork {
        let request = CreateNetwork { terms: true, referral_code: referral_code.into(), ..CreateNetwork::default() };
        match accounts.create_network(&here(), &request).await.unwrap() {
            CreateNetworkOutcome::Created(created) => created,
            other => panic!("not created: {other:?}"),
        }
    }

    async fn own(accounts: &TestAccounts, network: &CreatedNetwork) -> OwnReferral {
        accounts.domain.run(&ReadOwnReferral(network.network_id)).await.unwrap()
    }

    async fn set(accounts: &TestAccounts, network: &CreatedNetwork, code: &str) -> Result<(), ReferralRefusal> {
        accounts.domain.run(&SetReferral { network_id: network.network_id, code: code.into() }).await.unwrap()
    }

    #[test]
    fn codes_draw_on_the_whole_alphabet() {
        let text: String = (0..400).map(|_| random_code(&mut rand::rng())).collect();
        assert!(ALPHABET.iter().all(|letter| text.contains(char::from(*letter))));
        assert_eq!(random_code(&mut rand::rng()).len(), 6);
    }

    #[tokio::test]
    async fn a_code_counts_those_it_brought_at_sign_up_and_later() {
        let accounts = TestAccounts::new();
        let parent = network(&accounts, "").await;
        let code = own(&accounts, &parent).await.code;
        network(&accounts, &format!(" {} ", code.to_lowercase())).await;
        let late = network(&accounts, "nobody").await;
        assert_eq!(set(&accounts, &late, &code.to_lowercase()).await, Ok(()));
        assert_eq!(set(&accounts, &late, &code).await, Ok(()), "again is no error and counts once");
        assert_eq!(own(&accounts, &parent).await.count, 2);
        let named = accounts.domain.run(&ReadReferralNetwork(late.network_id)).await.unwrap();
        assert_eq!(named, Some((parent.network_id, parent.network_name.clone())));
        for _ in 0..2 {
            accounts.domain.run(&UnlinkReferral(late.network_id)).await.unwrap();
        }
        assert_eq!(accounts.domain.run(&ReadReferralNetwork(late.network_id)).await.unwrap(), None);
        assert_eq!(own(&accounts, &parent).await.count, 1);
    }

    #[tokio::test]
    async fn own_unknown_and_looping_codes_are_refused() {
        let accounts = TestAccounts::new();
        let first = network(&accounts, "").await;
        let second = network(&accounts, &own(&accounts, &first).await.code).await;
        let third = network(&accounts, &own(&accounts, &second).await.code).await;
        let own_code = own(&accounts, &first).await.code;
        assert_eq!(set(&accounts, &first, &own_code).await, Err(ReferralRefusal::OwnCode));
        for unknown in ["", "ZZZZZ", "??????", "ZZZZZZZ"] {
            assert_eq!(set(&accounts, &first, unknown).await, Err(ReferralRefusal::InvalidCode), "{unknown}");
        }
        for descendant in [&second, &third] {
            let code = own(&accounts, descendant).await.code;
            assert_eq!(set(&accounts, &first, &code).await, Err(ReferralRefusal::Loop));
        }
    }

    #[tokio::test]
    async fn a_capped_code_brings_no_more_but_may_be_changed_to_another() {
        let accounts = TestAccounts::with(|config| {
            config.limits.referrals_per_network = 1;
            config.auth.anonymous_per_day = 0;
        });
        let (parent, other) = (network(&accounts, "").await, network(&accounts, "").await);
        let code = own(&accounts, &parent).await.code;
        let check = CheckReferralCode { code: code.to_lowercase() };
        let free = ReferralCodeState { is_valid: true, is_capped: false };
        assert_eq!(accounts.domain.run(&check).await.unwrap(), free);
        let child = network(&accounts, &code).await;
        assert_eq!(accounts.domain.run(&check).await.unwrap(), ReferralCodeState { is_capped: true, ..free });
        let late = network(&accounts, &code).await;
        assert_eq!(accounts.domain.run(&ReadReferralNetwork(late.network_id)).await.unwrap(), None);
        assert_eq!(set(&accounts, &late, &code).await, Err(ReferralRefusal::Capped));
        let other_code = own(&accounts, &other).await.code;
        assert_eq!(set(&accounts, &child, &other_code).await, Ok(()));
        assert_eq!(set(&accounts, &late, &code).await, Ok(()), "a place has become free");
        let unknown = CheckReferralCode { code: "nobody".into() };
        assert_eq!(accounts.domain.run(&unknown).await.unwrap(), ReferralCodeState::default());
    }

    #[tokio::test]
    async fn referrals_go_with_either_network() {
        let accounts = TestAccounts::new();
        let parent = network(&accounts, "").await;
        let code = own(&accounts, &parent).await.code;
        let (one, two) = (network(&accounts, &code).await, network(&accounts, &code).await);
        accounts.domain.run(&DeleteNetwork { network_id: one.network_id }).await.unwrap();
        assert_eq!(own(&accounts, &parent).await.count, 1);
        accounts.domain.run(&DeleteNetwork { network_id: parent.network_id }).await.unwrap();
        assert_eq!(accounts.domain.run(&ReadReferralNetwork(two.network_id)).await.unwrap(), None);
        assert_eq!(accounts.domain.get(&REFERRALS, &(parent.network_id, two.network_id)), None);
        assert_eq!(set(&accounts, &two, &code).await, Err(ReferralRefusal::InvalidCode));
    }

    #[tokio::test]
    async fn a_network_without_a_code_gets_one_when_it_looks() {
        let accounts = TestAccounts::new();
        let network = network(&accounts, "").await;
        let record = accounts.domain.get(&NETWORKS, &network.network_id).unwrap();
        let bare = NetworkRecord { referral_code: String::new(), ..record };
        accounts.domain.put(&NETWORKS, &network.network_id, &bare).await;
        let code = own(&accounts, &network).await.code;
        assert_eq!(code.len(), 6);
        assert_eq!(own(&accounts, &network).await.code, code);
        assert_eq!(accounts.domain.get(&REFERRAL_CODES, &code).unwrap().network_id, network.network_id);
    }
}
