//! What Circle reports: a user has finished making a wallet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::sync::Mutex;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use super::{Circle, RemoteError, form_escape};
use crate::domain::wallet::address::Chain;
use crate::domain::wallet::custody::{KeeperReport, KeeperReportError};
use crate::domain::wallet::keeper::AddKeptWallet;
use crate::ids::RecordId;

/// Keys that are kept; Circle uses very few.
const MAX_KEYS: usize = 8;

/// Time between two questions for a key that turned out not to exist: strangers name what they like.
const PAUSE: Duration = Duration::from_secs(10);

/// The keys that reports are signed with, by their names.
#[derive(Default)]
pub(super) struct Keys(Mutex<Known>);

#[derive(Default)]
struct Known {
    keys: HashMap<RecordId, Vec<u8>>,
    /// No unknown key is asked for before.
    not_before: Option<Instant>,
}

impl Circle {
    /// Takes a report. The wallet is asked for, and must be the user's; only then it is believed.
    pub(super) async fn take(&self, report: KeeperReport) -> Result<(), KeeperReportError> {
        if !self.is_signed(&report).await? {
            tracing::warn!("a report of Circle came with a bad signature");
            return Err(KeeperReportError::Signature);
        }
        let body: Value = serde_json::from_slice(&report.body).map_err(|_| KeeperReportError::Malformed)?;
        let told = &body["notification"];
        let is_made = body["notificationType"] == "challenges.initialize"
            && told["type"] == "INITIALIZE"
            && told["status"] == "COMPLETE";
        if !is_made {
            return Ok(());
        }
        let wallet_id =
            told.pointer("/correlationIds/0").and_then(Value::as_str).ok_or(KeeperReportError::Malformed)?;
        let user = told["userId"].as_str().ok_or(KeeperReportError::Malformed)?;
        let answer = match self.get(&format!("/v1/w3s/wallets/{}", form_escape(wallet_id)), None).await {
            Ok(answer) => answer,
            Err(RemoteError::Refused(404, _)) => return Err(KeeperReportError::Malformed),
            Err(_) => return Err(KeeperReportError::Unreachable),
        };
        let wallet = &answer["wallet"];
        if wallet["userId"] != user {
            tracing::warn!("a report of Circle names a wallet of somebody else");
            return Err(KeeperReportError::Malformed);
        }
        let chain = wallet["blockchain"].as_str().unwrap_or(&self.settings.blockchain);
        let (Some(address), Some(chain)) = (wallet["address"].as_str(), Chain::parse(chain)) else {
            return Err(KeeperReportError::Malformed);
        };
        let keeper_user_id: RecordId = user.parse().map_err(|_| KeeperReportError::Malformed)?;
        let wallet = AddKeptWallet {
            keeper_user_id,
            keeper_wallet_id: wallet_id.into(),
            blockchain: chain.name().into(),
            address: address.into(),
        };
        if !self.service.run(&wallet).await? {
            // Sending it again would not help: the network is gone, or the account serves another server too.
            tracing::warn!("Circle reported the wallet of a user who is not known here");
        }
        Ok(())
    }

    async fn is_signed(&self, report: &KeeperReport) -> Result<bool, KeeperReportError> {
        let (Ok(key_id), Ok(signature)) = (report.key_id.parse(), BASE64_STANDARD.decode(&report.signature)) else {
            return Ok(false);
        };
        let Some(key) = self.report_key(key_id).await? else { return Ok(false) };
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
        Ok(key.verify(&compacted(&report.body), &signature).is_ok())
    }

    /// The key of a name; `None` when there is none.
    async fn report_key(&self, key_id: RecordId) -> Result<Option<Vec<u8>>, KeeperReportError> {
        let mut known = self.report_keys.0.lock().await;
        if let Some(key) = known.keys.get(&key_id) {
            return Ok(Some(key.clone()));
        }
        if known.not_before.is_some_and(|time| Instant::now() < time) {
            return Err(KeeperReportError::Unreachable);
        }
        let answer = match self.get(&format!("/v2/notifications/publicKey/{key_id}"), None).await {
            Ok(answer) => answer,
            Err(RemoteError::Refused(400 | 404, _)) => {
                known.not_before = Some(Instant::now() + PAUSE);
                return Ok(None);
            }
            Err(_) => return Err(KeeperReportError::Unreachable),
        };
        let der = answer["publicKey"].as_str().and_then(|key| BASE64_STANDARD.decode(key).ok()).unwrap_or_default();
        let Ok((_, key)) = SubjectPublicKeyInfo::from_der(&der) else {
            tracing::warn!("a key of Circle cannot be read");
            return Err(KeeperReportError::Unreachable);
        };
        let key = key.subject_public_key.data.to_vec();
        if known.keys.len() >= MAX_KEYS {
            known.keys.clear();
        }
        known.keys.insert(key_id, key.clone());
        Ok(Some(key))
    }
}

/// JSON without the white space between its parts, which is what is signed.
pub(super) fn compacted(json: &[u8]) -> Vec<u8> {
    let (mut is_text, mut is_escaped) = (false, false);
    let is_kept = |byte: &u8| {
        let is_space = !is_text && matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if !is_escaped && *byte == b'"' {
            is_text = !is_text;
        }
        is_escaped = is_text && !is_escaped && *byte == b'\\';
        !is_space
    };
    json.iter().copied().filter(is_kept).collect()
}
