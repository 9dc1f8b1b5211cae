//! Helius: which assets an address on Solana holds (`https://docs.helius.dev`, `searchAssets`).

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::remote::{Remote, form_escape};
use crate::config::wallet::Helius as Settings;
use crate::domain::wallet::seeker::{OracleUnreachable, SeekerOracle};

/// Assets in a page.
const PAGE: usize = 1000;

/// Pages that are looked at: nobody holds more by accident.
const MAX_PAGES: usize = 10;

/// The token of the first phone.
const SAGA_ASSET: &str = "2DMMamkkxQ6zDMBtkFp8KH7FoWzBMBA1CGTYwom4QH6Z";
/// Tokens of the second phone point here, and are given out under this authority.
const SEEKER_POINTER: &str = "GT22s89nU4iWFkNXj1Bw6uYhJJWDRPpShHt4Bk8f99Te";
const SEEKER_AUTHORITY: &str = "GT2zuHVaZQYZSyQMgJPLzvkmyztfyXg2NJunqFp4p3A4";
/// The collection of the first phone's tokens.
const SAGA_COLLECTION: &str = "46pcSL5gmjBrPqGKFaLbbCmR6iVuLJbnQy13hAe7s6CC";

/// Helius with the key of an account.
pub struct Helius {
    remote: Remote,
    path: String,
}

impl Helius {
    /// With the key of these settings.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let remote = Remote::new("helius", "helius.base_url", &settings.base_url)?;
        Ok(Self { remote, path: format!("/?api-key={}", form_escape(&settings.api_key)) })
    }

    async fn search(&self, parameters: Value) -> Result<Vec<Value>, OracleUnreachable> {
        let body = json!({"jsonrpc": "2.0", "id": "1", "method": "searchAssets", "params": parameters});
        let request = self.remote.post_json(&self.path, &body);
        let mut answer = self.remote.send(request).await.map_err(|_| OracleUnreachable)?;
        match answer["result"]["items"].take() {
            Value::Array(items) => Ok(items),
            _ => {
                tracing::warn!(company = "helius", "an answer holds no assets");
                Err(OracleUnreachable)
            }
        }
    }

    async fn look(&self, owner: &str) -> Result<bool, OracleUnreachable> {
        for page in 1..=MAX_PAGES {
            let parameters = json!({"ownerAddress": owner, "tokenType": "all", "page": page, "limit": PAGE});
            let items = self.search(parameters).await?;
            if items.iter().any(is_mark) {
                return Ok(true);
            }
            if items.len() < PAGE {
                break;
            }
        }
        let parameters = json!({
            "ownerAddress": owner, "tokenType": "all", "page": 1, "limit": PAGE,
            "grouping": ["collection", SAGA_COLLECTION],
        });
        Ok(!self.search(parameters).await?.is_empty())
    }
}

/// Whether an asset is the token of a phone.
fn is_mark(asset: &Value) -> bool {
    let pointer = &asset["mint_extensions"]["metadata_pointer"];
    asset["id"] == SAGA_ASSET
        || pointer["authority"] == SEEKER_AUTHORITY && pointer["metadata_address"] == SEEKER_POINTER
}

impl SeekerOracle for Helius {
    fn holds(&self, address: String) -> BoxFuture<'_, Result<bool, OracleUnreachable>> {
        Box::pin(async move { self.look(&address).await })
    }
}
