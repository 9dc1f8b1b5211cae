//! Owners of a certain phone: a wallet that holds its token is marked. Who holds one is asked elsewhere.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;

use super::account_wallet::{ACCOUNT_WALLETS, AccountWallet, AddRefusal, AddWallet};
use super::address::{Chain, solana};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;

const SIGNATURE_BYTES: usize = 64;

/// Knows who holds the token.
pub trait SeekerOracle: Send + Sync + 'static {
    /// Whether an address on Solana does.
    fn holds(&self, address: String) -> BoxFuture<'_, Result<bool, OracleUnreachable>>;
}

/// Whoever knows does not answer; the cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Holders cannot be looked up. Try again later.")]
pub struct OracleUnreachable;

/// Holders that the operator has named; the default is nobody.
pub struct NamedHolders(pub Vec<String>);

impl SeekerOracle for NamedHolders {
    fn holds(&self, address: String) -> BoxFuture<'_, Result<bool, OracleUnreachable>> {
        Box::pin(std::future::ready(Ok(self.0.contains(&address))))
    }
}

/// Why a wallet was not marked; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeekerRefusal {
    /// Not an address.
    #[error("Error verifying signature (the address is not one of Solana)")]
    Address,
    /// Not a signature at all.
    #[error("Error verifying signature (it is not 64 bytes in base64)")]
    Malformed,
    /// Not of that address, or not over that message.
    #[error("Invalid signature")]
    Signature,
    /// It holds no token.
    #[error("Wallet is not a holder of the Seeker or Saga Genesis tokens")]
    NoHolder,
    /// The wallet cannot be added.
    #[error(transparent)]
    Wallet(#[from] AddRefusal),
}

/// Checks that whoever has the key of an address has signed a message; gives the address.
pub fn check_owner(address: &str, message: &str, signature: &str) -> Result<String, SeekerRefusal> {
    let address = address.trim();
    let key = solana(address).ok_or(SeekerRefusal::Address)?;
    let signature = BASE64_STANDARD.decode(signature.trim()).map_err(|_| SeekerRefusal::Malformed)?;
    if signature.len() != SIGNATURE_BYTES {
        return Err(SeekerRefusal::Malformed);
    }
    let checked = UnparsedPublicKey::new(&ED25519, key).verify(message.as_bytes(), &signature);
    checked.map_err(|_| SeekerRefusal::Signature)?;
    Ok(address.to_owned())
}

/// Marks a wallet whose owner holds the token; one that the network has not named is added.
pub struct MarkSeeker {
    /// Whose.
    pub network_id: NetworkId,
    /// The address on Solana.
    pub address: String,
}

impl Operation for MarkSeeker {
    type Output = Result<(), AddRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let network_id = self.network_id;
        let add = AddWallet {
            network_id,
            blockchain: Chain::Solana.name().into(),
            address: self.address.clone(),
            token_type: String::new(),
        };
        let wallet_id = match add.apply(tx)? {
            Ok(wallet_id) => wallet_id,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(wallet) = tx.get(&ACCOUNT_WALLETS, &(network_id, wallet_id))? {
            tx.put(&ACCOUNT_WALLETS, &(network_id, wallet_id), &AccountWallet { has_seeker_token: true, ..wallet })?;
        }
        Ok(Ok(()))
    }
}
