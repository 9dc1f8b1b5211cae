//! `kill -9` again and again in the middle of a mixed load: nothing that was answered is lost, and bytes and money add
//! up to the byte and the nano-cent.
//!
//! `KILLS=200 cargo test --test server kill` does it two hundred times.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use rand::RngExt;
use warren::client::api::{Api, AuthClient, NetworkCreate};
use warren::client::tls::Trust;
use warren::domain::contract::codes::BALANCE_CODES;
use warren::domain::contract::payout::{PAYMENTS, PAYOUT_TOTALS, PaymentState, PayoutTotals};
use warren::domain::contract::record::{ARCHIVE, BALANCES, CONTRACTS, CREDITS, ContractRecord, Credit, Settled};
use warren::domain::network::NETWORKS;
use warren::ids::{ContractId, NetworkId};
use warren::store::Store;
use warren::store::sled::SledStore;
use warren::store::table::{Table, TableKey, TableValue};
use warren::wire::control_message::Request;
use warren::wire::messages::{
    CloseContract, Contract, CreateContract, CreateContractResult, Provide, ProvideKey, ProvideMode, StoredContract,
};

use crate::support::{Process, command, config, install_crypto};

/// Kills in an ordinary run of the tests.
const KILLS: usize = 10;

/// Callers at once.
const CALLERS: usize = 12;

/// What the server has answered, and must therefore still know.
#[derive(Default)]
struct Answered {
    contracts: Mutex<HashMap<ContractId, [Option<i64>; 2]>>,
    networks: Mutex<Vec<NetworkId>>,
    codes: Mutex<Vec<String>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_and_every_sum_holds_however_often_the_server_is_killed() {
    install_crypto();
    let kills = std::env::var("KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let answered = Arc::new(Answered::default());
    let mut world = None;
    for kill in 1..=kills {
        let server = Process::start(folder.path(), |command| {
            // Only what the operator grants is spent, so that every byte has revenue behind it.
            command.env("WARREN__PLAN__FREE__BYTES", "0").env("WARREN__TELEMETRY__LOG_FILTER", "warn");
            command.env("WARREN__AUTH__VERIFY", "auto").env("WARREN__AUTH__ATTEMPT_LIMITS", "false");
            // Those left open would fill the pair in the end.
            command.env("WARREN__CONTRACTS__OPEN_PER_PAIR", "60000");
        });
        let url = format!("http://{}", server.addresses()["http"].as_str().unwrap());
        let world = match &world {
            Some(world) => Arc::clone(world),
            None => Arc::clone(world.insert(Arc::new(World::new(&url, folder.path()).await))),
        };
        let data = folder.path().join("data");
        let operator = std::thread::spawn(move || while plan_payout(&data) {});
        let load: Vec<_> = (0..CALLERS)
            .map(|_| {
                let api = Api::new(&url, &Trust::Any).unwrap();
                let (url, world, answered) = (url.clone(), Arc::clone(&world), Arc::clone(&answered));
                tokio::spawn(async move { while call(&url, &api, &world, &answered).await.is_some() {} })
            })
            .collect();
        let pause = rand::rng().random_range(50..500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.signal("KILL");
        for caller in load {
            caller.await.unwrap();
        }
        operator.join().unwrap();
        drop(server);
        if kill % 10 == 0 || kill == kills {
            audit(folder.path(), &answered);
        }
    }
    let contracts = answered.contracts.lock().unwrap();
    let settled = contracts.values().filter(|votes| votes.iter().all(Option::is_some)).count();
    println!("{kills} kills, {} contracts answered, {settled} of them settled", contracts.len());
    assert!(settled > kills, "the load did not get anywhere");
}

/// Two networks with a client each; the first has money.
struct World {
    user: String,
    /// Balance codes that nobody has tried yet.
    codes: Mutex<Vec<String>>,
    tokens: [String; 2],
    provider: Bytes,
}

impl World {
    async fn new(url: &str, folder: &Path) -> Self {
        let anonymous = Api::new(url, &Trust::Any).unwrap();
        let mut parties = Vec::new();
        for _ in 0..2 {
            let new = NetworkCreate { terms: true, ..NetworkCreate::default() };
            let network = anonymous.network_create(&new).await.unwrap().network;
            let token = network.by_jwt.unwrap();
            let user = anonymous.with_token(&token);
            let client = user.auth_client(&AuthClient::default()).await.unwrap();
            parties.push((network.network_id, client, token));
        }
        let data = folder.join("data");
        let payer = parties[0].0.to_string();
        admin(&data, &["balance", "grant", &payer, "1TiB", "--revenue", "123.456789"]).unwrap();
        let codes = admin(&data, &["balance-code", "create", "1GiB", "--count", "1000", "--revenue", "0.1"]).unwrap();
        let codes = codes["codes"].as_array().unwrap().iter().map(|code| code["secret"].as_str().unwrap().to_owned());
        let (source, destination) = (&parties[0].1, &parties[1].1);
        let modes = [ProvideMode::Public, ProvideMode::Stream];
        let key = |mode: ProvideMode| ProvideKey { mode: mode.into(), provide_secret_key: vec![7; 32].into() };
        let provide = Request::Provide(Provide { keys: modes.map(key).to_vec() }).to_frame();
        anonymous.with_token(&destination.by_client_jwt).connect_control(vec![provide]).await.unwrap();
        Self {
            user: parties[0].2.clone(),
            codes: Mutex::new(codes.collect()),
            tokens: [source.by_client_jwt.clone(), destination.by_client_jwt.clone()],
            provider: destination.client_id.into(),
        }
    }
}

/// Runs an operator's command; its answer, or nothing when it failed.
fn admin(data: &Path, arguments: &[&str]) -> Option<serde_json::Value> {
    let output = command(data).args(["admin", "--json"]).args(arguments).output().unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// Gathers what was earned into a payment; false once the server is gone.
fn plan_payout(data: &Path) -> bool {
    data.join("admin.sock").exists() && std::os::unix::net::UnixStream::connect(data.join("admin.sock")).is_ok() && {
        admin(data, &["payout", "plan", "--minimum", "0.001"]).is_some()
    }
}

/// One call after the other, noting each answer; `None` once the server is gone.
async fn call(url: &str, api: &Api, world: &World, answered: &Answered) -> Option<()> {
    let (kind, used) = (rand::rng().random_range(0..12), rand::rng().random_range(0..1 << 20));
    if kind == 0 {
        let created = api.network_create(&NetworkCreate { terms: true, ..NetworkCreate::default() }).await.ok()?;
        answered.networks.lock().unwrap().push(created.network.network_id);
        return Some(());
    }
    let code = if kind == 1 { world.codes.lock().unwrap().pop() } else { None };
    if let Some(secret) = code {
        let body = serde_json::json!({"secret": secret}).to_string();
        let call = reqwest::Client::new().post(format!("{url}/subscription/redeem-balance-code")).body(body);
        let answer = call.bearer_auth(&world.user).send().await.ok()?.text().await.ok()?;
        assert!(answer.contains("transfer_balance_id"), "{answer}");
        answered.codes.lock().unwrap().push(secret);
        return Some(());
    }
    let parties = world.tokens.each_ref().map(|token| api.with_token(token));
    let create = CreateContract {
        destination_id: Some(world.provider.clone()),
        transfer_byte_count: 1 << 20,
        ..CreateContract::default()
    };
    let answer = parties[0].connect_control(vec![Request::CreateContract(create).to_frame()]).await.ok()?;
    let result = CreateContractResult::decode(answer.frames[0].message_bytes.clone()).unwrap();
    let contract: Contract = result.contract.unwrap_or_else(|| panic!("no contract: {:?}", result.error));
    let id = StoredContract::decode(contract.stored_contract_bytes).unwrap().contract_id;
    let contract_id = ContractId::from_slice(&id).unwrap();
    answered.contracts.lock().unwrap().insert(contract_id, [None; 2]);
    // Some are left open, some get one vote; the two parties differ by a little, as they do in life.
    let voters: &[usize] = match kind {
        2 => &[],
        3 => &[0],
        4 => &[1],
        5 | 6 => &[1, 0],
        _ => &[0, 1],
    };
    for party in voters {
        let counted = used + *party as u64;
        let close = CloseContract { contract_id: id.clone(), acked_byte_count: counted, ..CloseContract::default() };
        let answer = parties[*party].connect_control(vec![Request::CloseContract(close).to_frame()]).await.ok()?;
        assert_eq!(answer.error, None);
        answered.contracts.lock().unwrap().get_mut(&contract_id).unwrap()[*party] = Some(counted.min(1 << 20) as i64);
    }
    Some(())
}

/// Reads the store as the killed server left it.
fn audit(folder: &Path, answered: &Answered) {
    let store = SledStore::open(&config(&folder.join("data")).store).unwrap();
    let pending: HashMap<ContractId, ContractRecord> = rows(&store, &CONTRACTS).into_iter().collect();
    let mut settled: HashMap<ContractId, Settled> = HashMap::new();
    for one in rows(&store, &ARCHIVE).into_iter().flat_map(|(_, blob)| blob.0) {
        assert!(!pending.contains_key(&one.contract_id), "settled, and pending still");
        let again = settled.insert(one.contract_id, one);
        assert!(again.is_none(), "settled twice: {again:?}");
    }
    check_answers(answered, &pending, &settled);
    check_sums(&store, &pending, &settled);
    check_codes(&store, answered);
    check_payments(&store);
    let networks: HashMap<_, _> = rows(&store, &NETWORKS).into_iter().collect();
    for network in answered.networks.lock().unwrap().iter() {
        assert!(networks.contains_key(network), "network {network} is lost");
    }
}

/// Every contract and every vote that was answered is there.
fn check_answers(
    answered: &Answered,
    pending: &HashMap<ContractId, ContractRecord>,
    settled: &HashMap<ContractId, Settled>,
) {
    for (id, votes) in answered.contracts.lock().unwrap().iter() {
        let outcome = settled.get(id);
        let record = outcome.map(|settled| &settled.contract).or(pending.get(id));
        let record = record.unwrap_or_else(|| panic!("contract {id} is lost"));
        for (answered, stored) in votes.iter().zip(&record.votes) {
            if let Some(used) = answered {
                assert_eq!(stored.map(|vote| (vote.used_bytes, vote.is_final)), Some((*used, true)), "{id}");
            }
        }
        if let [Some(source), Some(destination)] = votes {
            assert_eq!(outcome.map(|settled| settled.used_bytes), Some((source + destination) / 2), "{id}");
        }
    }
}

/// What the balances lost is what the contracts used is what the payee earned.
fn check_sums(
    store: &SledStore,
    pending: &HashMap<ContractId, ContractRecord>,
    settled: &HashMap<ContractId, Settled>,
) {
    let mut reserved: HashMap<_, i64> = HashMap::new();
    for (balance, bytes) in pending.values().flat_map(|record| &record.escrow) {
        *reserved.entry(*balance).or_default() += bytes;
    }
    let mut paid: HashMap<_, i64> = HashMap::new();
    let mut credits: HashMap<NetworkId, Credit> = HashMap::new();
    for one in settled.values() {
        assert_eq!(one.payouts.iter().map(|payout| payout.bytes).sum::<i64>(), one.used_bytes, "{}", one.contract_id);
        if one.used_bytes == 0 {
            continue;
        }
        credits.entry(one.contract.payer.unwrap()).or_default().used_bytes += one.used_bytes;
        let payee = credits.entry(one.contract.payee()).or_default();
        payee.provided_bytes += one.used_bytes;
        payee.provided_contracts += 1;
        for payout in &one.payouts {
            payee.provided_revenue += payout.revenue;
            *paid.entry(payout.balance_id).or_default() += payout.bytes;
        }
    }
    for (key, balance) in rows(store, &BALANCES) {
        let paid = paid.remove(&key.balance_id).unwrap_or(0);
        assert_eq!(balance.start_bytes - balance.bytes, paid, "{key:?}");
        let reserved = reserved.remove(&key.balance_id).unwrap_or(0);
        assert!((0..=balance.bytes).contains(&reserved), "{key:?} has {} and {reserved} reserved", balance.bytes);
    }
    assert!(paid.is_empty() && reserved.is_empty(), "balances are lost: {paid:?} {reserved:?}");
    for (network, stored) in rows(store, &CREDITS) {
        assert_eq!(Some(stored), credits.remove(&network), "{network}");
    }
    assert!(credits.is_empty(), "credits are lost: {credits:?}");
}

/// Every redeemed code has its balance, and whoever was told so has redeemed it.
fn check_codes(store: &SledStore, answered: &Answered) {
    let balances: HashSet<_> = rows(store, &BALANCES).into_iter().map(|(key, _)| key.balance_id).collect();
    let redeemed: Vec<_> = rows(store, &BALANCE_CODES).into_iter().filter_map(|(_, code)| code.redemption).collect();
    assert!(redeemed.iter().all(|redemption| balances.contains(&redemption.balance_id)), "a code without its balance");
    let redeemed: HashSet<_> = redeemed.iter().map(|redemption| redemption.secret.as_str()).collect();
    for secret in answered.codes.lock().unwrap().iter() {
        assert!(redeemed.contains(secret.as_str()), "a redeemed code is unredeemed");
    }
}

/// What is in payments is what the totals say, and was earned.
fn check_payments(store: &SledStore) {
    let mut totals: HashMap<NetworkId, PayoutTotals> = HashMap::new();
    for ((network, _), payment) in rows(store, &PAYMENTS) {
        assert_eq!(payment.state(), PaymentState::Planned);
        let total = totals.entry(network).or_default();
        total.planned_bytes += payment.bytes;
        total.planned_revenue += payment.revenue;
    }
    let credits: HashMap<_, _> = rows(store, &CREDITS).into_iter().collect();
    for (network, stored) in rows(store, &PAYOUT_TOTALS) {
        let total = totals.remove(&network).unwrap_or_default();
        assert_eq!((stored.planned_bytes, stored.planned_revenue), (total.planned_bytes, total.planned_revenue));
        let earned = credits.get(&network).copied().unwrap_or_default();
        assert!(stored.planned_bytes <= earned.provided_bytes && stored.planned_revenue <= earned.provided_revenue);
    }
    assert!(totals.is_empty(), "payments without totals: {totals:?}");
}

fn rows<K: TableKey, V: TableValue>(store: &SledStore, table: &Table<K, V>) -> Vec<(K, V)> {
    let rows = store.scan(&table.prefix(&()), None, usize::MAX).unwrap();
    rows.into_iter()
        .map(|(key, row)| (table.decode_key(&key).unwrap(), table.decode_value(&row.value).unwrap()))
        .collect()
}
