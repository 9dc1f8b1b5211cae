//! Payments out of the operator's own wallets.

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use x509_parser::prelude::Pem;

use super::write_usd;
use crate::config::circle::Circle as Settings;
use crate::domain::payout::{ChainTransfer, PayoutSender, SendOutcome, SenderUnreachable, SentState};
use crate::domain::wallet::address::Chain;
use crate::vendor::remote::{Remote, RemoteError, form_escape, idempotency_uuid};

/// Circle as the one who pays.
pub struct CirclePayouts {
    remote: Remote,
    settings: Settings,
    /// The secret's bytes.
    secret: Vec<u8>,
    /// The key that the secret is sealed with, once it is known.
    key: Mutex<Option<OaepPublicEncryptingKey>>,
}

impl CirclePayouts {
    /// With the keys of these settings.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let secret = hex::decode(&settings.entity_secret).map_err(|_| {
            anyhow::anyhow!("circle.entity_secret is not hex digits; write the 64 that Circle registered")
        })?;
        let remote = Remote::new("circle", "circle.base_url", &settings.base_url)?;
        Ok(Self { remote, settings: settings.clone(), secret, key: Mutex::new(None) })
    }

    /// The wallet that pays on a chain, the address of USDC there, and what Circle calls the chain.
    fn purse(&self, chain: Chain) -> Option<(&str, &str, &'static str)> {
        let Settings { solana_wallet_id, polygon_wallet_id, solana_usdc_address, polygon_usdc_address, .. } =
            &self.settings;
        let (wallet, usdc, name) = match chain {
            Chain::Solana => (solana_wallet_id, solana_usdc_address, "SOL"),
            Chain::Polygon => (polygon_wallet_id, polygon_usdc_address, "MATIC"),
            Chain::Ethereum | Chain::Bittensor => return None,
        };
        (!wallet.is_empty()).then_some((wallet, usdc, name))
    }

    async fn get(&self, path: &str) -> Result<Value, SenderUnreachable> {
        let request = self.remote.get(path).bearer_auth(&self.settings.api_token);
        Ok(self.remote.send(request).await.map_err(|_| SenderUnreachable)?["data"].take())
    }

    /// The secret, sealed anew: Circle takes the same words only once.
    async fn sealed_secret(&self) -> Result<String, SenderUnreachable> {
        let mut key = self.key.lock().await;
        if key.is_none() {
            let answer = self.get("/v1/w3s/config/entity/publicKey").await?;
            *key = answer["publicKey"].as_str().and_then(read_key);
        }
        let Some(key) = &*key else {
            tracing::warn!("the key that Circle seals secrets with cannot be read");
            return Err(SenderUnreachable);
        };
        let mut sealed = vec![0; key.ciphertext_size()];
        let sealed = key.encrypt(&OAEP_SHA256_MGF1SHA256, &self.secret, &mut sealed, None);
        Ok(BASE64_STANDARD.encode(sealed.map_err(|_| SenderUnreachable)?))
    }

    async fn pay(&self, transfer: ChainTransfer) -> Result<SendOutcome, SenderUnreachable> {
        let Some((wallet, usdc, blockchain)) = self.purse(transfer.chain) else { return Ok(SendOutcome::Refused) };
        let body = json!({
            "idempotencyKey": idempotency_uuid(&transfer.key),
            "amounts": [write_usd(transfer.amount)],
            "destinationAddress": transfer.address,
            "entitySecretCiphertext": self.sealed_secret().await?,
            "tokenAddress": usdc,
            "walletId": wallet,
            "blockchain": blockchain,
            "feeLevel": "MEDIUM",
        });
        let request = self.remote.post_json("/v1/w3s/developer/transactions/transfer", &body);
        // Once: a second try needs the secret in other words.
        match self.remote.send_once(request.bearer_auth(&self.settings.api_token)).await {
            Ok(answer) => {
                let id = answer.pointer("/data/id").and_then(Value::as_str).ok_or(SenderUnreachable)?;
                Ok(SendOutcome::Sent(id.into()))
            }
            // Wrong keys are the operator's to mend, and a key of Circle's may have been replaced.
            Err(RemoteError::Refused(401 | 403 | 409, _) | RemoteError::Unreachable) => {
                *self.key.lock().await = None;
                Err(SenderUnreachable)
            }
            Err(RemoteError::Refused(..)) => Ok(SendOutcome::Refused),
        }
    }

    async fn look_up(&self, sent_id: &str) -> Result<SentState, SenderUnreachable> {
        let answer = self.get(&format!("/v1/w3s/transactions/{}", form_escape(sent_id))).await?;
        let transaction = &answer["transaction"];
        let hash = transaction["txHash"].as_str().unwrap_or_default();
        Ok(match transaction["state"].as_str().unwrap_or_default() {
            "COMPLETE" => SentState::Complete(hash.into()),
            "DENIED" | "FAILED" => SentState::Failed,
            "CANCELLED" if hash.is_empty() => SentState::Failed,
            "CANCELLED" => SentState::Unclear,
            _ => SentState::UnderWay,
        })
    }
}

impl PayoutSender for CirclePayouts {
    fn pays_on(&self, chain: Chain) -> bool {
        self.purse(chain).is_some()
    }

    fn send(&self, transfer: ChainTransfer) -> BoxFuture<'_, Result<SendOutcome, SenderUnreachable>> {
        Box::pin(self.pay(transfer))
    }

    fn state(&self, sent_id: String) -> BoxFuture<'_, Result<SentState, SenderUnreachable>> {
        Box::pin(async move { self.look_up(&sent_id).await })
    }
}

/// An RSA key in PEM.
fn read_key(pem: &str) -> Option<OaepPublicEncryptingKey> {
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
    OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&pem.contents).ok()?).ok()
}
