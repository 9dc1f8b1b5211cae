//! Circle: wallets of users, which only the users' own apps can spend from, and payments out of wallets of the operator
//! (`https://developers.circle.com/w3s`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::remote::{Remote, RemoteError, form_escape, idempotency_key, idempotency_uuid};
use crate::config::circle::Circle as Settings;
use crate::domain::error::DomainError;
use crate::domain::service::Service;
use crate::domain::wallet::address::{self, Chain};
use crate::domain::wallet::challenge::Issued;
use crate::domain::wallet::custody::{
    Custody, CustodyError, KeeperReport, KeeperReportError, NoChallenge, TransferRefusal, TransferRequest, WalletView,
    is_payable,
};
use crate::domain::wallet::journal::WalletOwner;
use crate::domain::wallet::keeper::{EnsureKeeperUser, FindKeeperUser};
use crate::domain::wallet::transfer_limit::CountTransfer;
use crate::time::Timestamp;

pub mod payout;
mod report;
#[cfg(test)]
mod tests;

/// What an answer says of a user who is there already.
const USER_EXISTS: u64 = 155_101;

/// 10⁻⁹ USD in a dollar.
const USD: i64 = 1_000_000_000;

/// Circle with the key of an account, as the keeper of users' wallets.
pub struct Circle {
    service: Arc<Service>,
    remote: Remote,
    settings: Settings,
    report_keys: report::Keys,
}

/// What the app of a user opens the wallet with.
struct UserToken {
    user_token: String,
    encryption_key: String,
}

/// A wallet of a user.
struct KeptWallet {
    id: String,
    address: String,
    create_date: Timestamp,
}

impl Circle {
    /// With the keys of these settings; `service` knows what Circle calls our users.
    pub fn new(settings: &Settings, service: Arc<Service>) -> anyhow::Result<Self> {
        let remote = Remote::new("circle", "circle.base_url", &settings.base_url)?;
        Ok(Self { service, remote, settings: settings.clone(), report_keys: report::Keys::default() })
    }

    /// Sends a request with the key, and on behalf of a user; gives what the answer wraps.
    async fn call(&self, request: RequestBuilder, user: Option<&UserToken>) -> Result<Value, RemoteError> {
        let mut request = request.bearer_auth(&self.settings.api_token).header("accept", "application/json");
        if let Some(user) = user {
            request = request.header("x-user-token", &user.user_token);
        }
        Ok(self.remote.send(request).await?["data"].take())
    }

    async fn get(&self, path: &str, user: Option<&UserToken>) -> Result<Value, RemoteError> {
        self.call(self.remote.get(path), user).await
    }

    async fn post(&self, path: &str, body: Value, user: Option<&UserToken>) -> Result<Value, RemoteError> {
        self.call(self.remote.post_json(path, &body), user).await
    }

    async fn user_token(&self, user_id: &str) -> Result<UserToken, CustodyError> {
        let answer = self.post("/v1/w3s/users/token", json!({"userId": user_id}), None).await.map_err(unreachable)?;
        let text = |name: &str| answer[name].as_str().map(str::to_owned).ok_or(CustodyError::Unreachable);
        Ok(UserToken { user_token: text("userToken")?, encryption_key: text("encryptionKey")? })
    }

    async fn begin(&self, owner: WalletOwner) -> Result<Result<Issued, NoChallenge>, CustodyError> {
        let user_id = self.service.run(&EnsureKeeperUser { owner }).await?.to_string();
        match self.post("/v1/w3s/users", json!({"userId": user_id}), None).await {
            Ok(_) => {}
            Err(RemoteError::Refused(_, answer)) if answer["code"] == USER_EXISTS => {}
            Err(error) => return Err(unreachable(error)),
        }
        let token = self.user_token(&user_id).await?;
        let body = json!({
            "idempotencyKey": idempotency_uuid(&idempotency_key()),
            "accountType": "SCA",
            "blockchains": [self.settings.blockchain],
        });
        match self.post("/v1/w3s/user/initialize", body, Some(&token)).await {
            Ok(answer) => Ok(issued(token, &answer).ok_or(NoChallenge)),
            // Wrong keys are the operator's to mend.
            Err(RemoteError::Refused(401 | 403, _) | RemoteError::Unreachable) => Err(CustodyError::Unreachable),
            Err(RemoteError::Refused(..)) => Ok(Err(NoChallenge)),
        }
    }

    /// The newest wallet of a user; `None` before they finished making it.
    async fn wallet(&self, token: &UserToken) -> Result<Option<KeptWallet>, CustodyError> {
        let answer = self.get("/v1/w3s/wallets", Some(token)).await.map_err(unreachable)?;
        let read = |wallet: &Value| {
            let text = |name: &str| wallet[name].as_str().map(str::to_owned);
            let create_date = Timestamp::parse_rfc3339(wallet["createDate"].as_str()?)?;
            Some(KeptWallet { id: text("id")?, address: text("address")?, create_date })
        };
        let wallets = answer["wallets"].as_array().into_iter().flatten().filter_map(read);
        Ok(wallets.max_by_key(|wallet| wallet.create_date))
    }

    async fn view(&self, token: &UserToken) -> Result<Option<WalletView>, CustodyError> {
        let Some(wallet) = self.wallet(token).await? else { return Ok(None) };
        let path = format!("/v1/w3s/wallets/{}/balances?includeAll=true", form_escape(&wallet.id));
        let answer = self.get(&path, Some(token)).await.map_err(unreachable)?;
        let mut view = WalletView {
            wallet_id: wallet.id,
            token_id: String::new(),
            blockchain: self.settings.blockchain_name.clone(),
            symbol: self.settings.blockchain.clone(),
            create_date: wallet.create_date,
            balance: 0,
            address: wallet.address,
        };
        let balances = answer["tokenBalances"].as_array().into_iter().flatten();
        // What is paid in USDC says more than the coin of the chain.
        if let Some(usdc) = balances.clone().find(|balance| balance["token"]["symbol"] == "USDC") {
            let text = |name: &str| usdc["token"][name].as_str().unwrap_or_default().to_owned();
            view.token_id = text("id");
            view.blockchain = text("blockchain");
            view.symbol = "USDC".into();
            view.balance = usdc["amount"].as_str().and_then(parse_usd).ok_or(CustodyError::Unreachable)?;
        } else if let Some(coin) = balances.clone().find(|balance| balance["token"]["isNative"] == true) {
            let text = |name: &str| coin["token"][name].as_str().unwrap_or_default().to_owned();
            (view.blockchain, view.symbol) = (text("name"), text("symbol"));
        }
        Ok(Some(view))
    }

    async fn read_balance(&self, owner: WalletOwner) -> Result<Option<WalletView>, CustodyError> {
        let Some(user_id) = self.service.read(&FindKeeperUser { owner })? else { return Ok(None) };
        let token = self.user_token(&user_id.to_string()).await?;
        self.view(&token).await
    }

    async fn send_out(
        &self,
        owner: WalletOwner,
        request: TransferRequest,
    ) -> Result<Result<Issued, TransferRefusal>, CustodyError> {
        if !request.has_accepted_terms {
            return Ok(Err(TransferRefusal::Terms));
        }
        let Some(user_id) = self.service.read(&FindKeeperUser { owner })? else {
            return Ok(Err(TransferRefusal::NoWallet));
        };
        let user_id = user_id.to_string();
        let token = self.user_token(&user_id).await?;
        let Some(wallet) = self.view(&token).await? else { return Ok(Err(TransferRefusal::NoWallet)) };
        if !is_payable(request.amount) {
            return Ok(Err(TransferRefusal::Amount));
        }
        let settings = &self.service.config().wallet;
        let checked = Chain::parse(&self.settings.blockchain)
            .and_then(|chain| address::check(settings, chain, &request.to_address))
            .filter(|address| !address.eq_ignore_ascii_case(&wallet.address));
        let Some(to_address) = checked else { return Ok(Err(TransferRefusal::Address)) };
        if !self.service.run(&CountTransfer { network_id: owner.network_id }).await? {
            return Ok(Err(TransferRefusal::TooMany));
        }
        if wallet.balance < request.amount {
            return Ok(Err(TransferRefusal::Balance));
        }
        let body = json!({
            "userId": user_id,
            "destinationAddress": to_address,
            "amounts": [write_usd(request.amount)],
            // One for all tries: the user confirms one transfer.
            "idempotencyKey": idempotency_uuid(&idempotency_key()),
            "tokenId": wallet.token_id,
            "walletId": wallet.wallet_id,
            "feeLevel": "LOW",
        });
        let answer = self.post("/v1/w3s/user/transactions/transfer", body, Some(&token)).await.map_err(unreachable)?;
        issued(token, &answer).map(Ok).ok_or(CustodyError::Unreachable)
    }
}

impl Custody for Circle {
    fn init(&self, owner: WalletOwner) -> BoxFuture<'_, Result<Result<Issued, NoChallenge>, CustodyError>> {
        Box::pin(self.begin(owner))
    }

    fn balance(&self, owner: WalletOwner) -> BoxFuture<'_, Result<Option<WalletView>, CustodyError>> {
        Box::pin(self.read_balance(owner))
    }

    fn transfer_out(
        &self,
        owner: WalletOwner,
        request: TransferRequest,
    ) -> BoxFuture<'_, Result<Result<Issued, TransferRefusal>, CustodyError>> {
        Box::pin(self.send_out(owner, request))
    }

    fn has_ledger_address(&self, _: &str) -> Result<bool, DomainError> {
        Ok(false)
    }

    fn take_report(&self, report: KeeperReport) -> BoxFuture<'_, Result<(), KeeperReportError>> {
        Box::pin(self.take(report))
    }
}

/// The challenge in an answer.
fn issued(token: UserToken, answer: &Value) -> Option<Issued> {
    let challenge_id = answer["challengeId"].as_str().filter(|id| !id.is_empty())?.to_owned();
    let UserToken { user_token, encryption_key } = token;
    Some(Issued { user_token, encryption_key, challenge_id })
}

fn unreachable(_: RemoteError) -> CustodyError {
    CustodyError::Unreachable
}

/// An amount in dollars as Circle writes it, in 10⁻⁹ USD; digits beyond are cut off.
fn parse_usd(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    whole.parse::<i64>().ok()?.checked_mul(USD)?.checked_add(digits.parse().ok()?)
}

/// The same with the six digits that a chain has.
fn write_usd(amount: i64) -> String {
    format!("{}.{:06}", amount / USD, amount % USD / 1000)
}
