//! The contracts of one sequence: on the sending side which one pays for the next message, on the receiving side which
//! ones were verified and how much of each is used (`connect/transfer.go`, sequence contracts).
//!
//! Sending: asked for -> queued -> current -> superseded -> closed. A contract becomes current when a message does not
//! fit the one before; the superseded one is closed when nothing sent under it is unacked.
//! Receiving: verified -> current -> superseded -> closed, at most four open.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::output::{ContractRefused, ContractUse, Ending, VerifiedContract};
use crate::config::contracts::HmacForm;
use crate::ids::{ClientId, ContractId, StreamId};
use crate::time::Timestamp;
use crate::wire::contract_signature;
use crate::wire::messages::{Contract, Provide, ProvideMode, StoredContract};

/// Sizes asked for by the first contracts of a sequence; the last one also for all later ones.
const ASKED_BYTE_COUNTS: [u64; 5] = [1_048_576, 34_340_864, 67_633_152, 100_925_440, 134_217_728];
/// The part of a contract that its sender uses; the rest is for what the two ends count differently.
const FILL_FRACTION: f32 = 0.8;
/// Least charge of a message.
const MIN_CHARGE: u64 = 1;
/// Unused contracts kept, at most; more are closed.
const MAX_QUEUED: usize = 4;
/// Contracts of one receive sequence that stay open.
const MAX_RECEIVE_OPEN: usize = 4;
/// An unused contract is given back after this.
const UNUSED_AFTER: Duration = Duration::from_secs(120);
/// A sequence without a contract ends after this.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses between two requests of a waiting sequence; the last one repeats.
const RETRY_SECS: [u64; 4] = [1, 2, 4, 5];

fn charge_of(bytes: usize) -> u64 {
    MIN_CHARGE.max(bytes as u64)
}

/// A contract a sequence sends under.
#[derive(Debug)]
struct SendContract {
    id: ContractId,
    /// The encoded Contract, as it goes into a pack.
    encoded: Bytes,
    usable_bytes: u64,
    acked: u64,
    unacked: u64,
    /// The peer has acked a pack that carried it.
    is_proven: bool,
    /// The peer can ask for it again, so that a head may name it only.
    is_recoverable: bool,
}

impl SendContract {
    fn parse(contract: &Contract, local: ClientId, peer: ClientId) -> Result<Self, ContractRefused> {
        let stored =
            StoredContract::decode(contract.stored_contract_bytes.clone()).map_err(|_| ContractRefused::Malformed)?;
        let id = ContractId::from_slice(&stored.contract_id).ok_or(ContractRefused::Malformed)?;
        if !names(&stored, local, peer) {
            return Err(ContractRefused::WrongPair);
        }
        // The same rounding as the peer implementation: a 32-bit product, truncated.
        let usable_bytes = (stored.transfer_byte_count as f32 * FILL_FRACTION) as u64;
        // The convenience copies repeat what the stored bytes hold; without them every head is smaller.
        let lean = Contract {
            stored_contract_bytes: contract.stored_contract_bytes.clone(),
            stored_contract_hmac: contract.stored_contract_hmac.clone(),
            provide_mode: contract.provide_mode,
            ..Contract::default()
        };
        let encoded = lean.encode_to_vec().into();
        Ok(Self { id, encoded, usable_bytes, acked: 0, unacked: 0, is_proven: false, is_recoverable: false })
    }

    fn fits(&self, charge: u64) -> bool {
        self.acked.saturating_add(self.unacked).saturating_add(charge) <= self.usable_bytes
    }

    fn used(&self) -> ContractUse {
        ContractUse {
            contract_id: self.id,
            acked_byte_count: self.acked,
            unacked_byte_count: self.unacked,
            checkpoint: false,
        }
    }
}

/// Whether a contract is for traffic from `source` to `destination`.
fn names(stored: &StoredContract, source: ClientId, destination: ClientId) -> bool {
    stored.source_id.as_deref() == Some(&source.as_bytes()[..])
        && stored.destination_id.as_deref() == Some(&destination.as_bytes()[..])
}

/// What a sequence does about the contract of its next message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Payment {
    /// Charged to the current contract.
    Charged,
    /// Charged to a new contract, which must be sent in a pack of its own first.
    Opened,
    /// No contract: wait.
    Waiting,
}

/// The contracts of a send sequence.
#[derive(Debug, Default)]
pub(crate) struct SendContracts {
    /// Opened and not closed; the last one is current.
    open: Vec<SendContract>,
    queued: VecDeque<(Timestamp, SendContract)>,
    /// Contracts opened so far: the index of the next one asked for.
    opened_count: usize,
    /// Set while a message waits for a contract.
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Timestamp,
    ask_at: Timestamp,
    asked: usize,
}

impl SendContracts {
    /// Takes the answer of the platform.
    pub(crate) fn add(
        &mut self,
        now: Timestamp,
        contract: &Contract,
        local: ClientId,
        peer: ClientId,
    ) -> Result<(), ContractRefused> {
        let contract = SendContract::parse(contract, local, peer)?;
        let known = self.open.iter().chain(self.queued.iter().map(|(_, queued)| queued));
        if known.into_iter().any(|known| known.id == contract.id) {
            return Err(ContractRefused::InUse);
        }
        if self.queued.len() == MAX_QUEUED {
            return Err(ContractRefused::NotNeeded);
        }
        self.queued.push_back((now, contract));
        Ok(())
    }

    /// Charges a message of `bytes` to the current contract, or opens the next queued one for it. Contracts that are
    /// done with are reported to `closed`.
    pub(crate) fn pay(&mut self, now: Timestamp, bytes: usize, closed: &mut Vec<ContractUse>) -> Payment {
        let charge = charge_of(bytes);
        if let Some(current) = self.open.last_mut().filter(|current| current.fits(charge)) {
            current.unacked += charge;
            return Payment::Charged;
        }
        while let Some((_, mut next)) = self.queued.pop_front() {
            if !next.fits(charge + MIN_CHARGE) {
                closed.push(next.used());
                continue;
            }
            // The pack that opens it is charged like an empty message.
            next.unacked = charge + MIN_CHARGE;
            self.open.push(next);
            self.opened_count += 1;
            self.waiting = None;
            self.close_superseded(closed);
            return Payment::Opened;
        }
        self.waiting.get_or_insert(Waiting { since: now, ask_at: now, asked: 0 });
        Payment::Waiting
    }

    /// The size to ask for now, if it is time to ask for a waiting message of `bytes`.
    pub(crate) fn ask(&mut self, now: Timestamp, bytes: usize) -> Option<u64> {
        let waiting = self.waiting.as_mut().filter(|waiting| waiting.ask_at <= now)?;
        let pause = RETRY_SECS.get(waiting.asked).or(RETRY_SECS.last()).copied().unwrap_or_default();
        waiting.ask_at = now + Duration::from_secs(pause);
        waiting.asked += 1;
        Some(self.next_byte_count(bytes))
    }

    /// The size to ask for ahead of need.
    pub(crate) fn next_byte_count(&self, bytes: usize) -> u64 {
        let asked = ASKED_BYTE_COUNTS.get(self.opened_count).or(ASKED_BYTE_COUNTS.last()).copied().unwrap_or_default();
        let least = 32.0 + (2.0 * bytes as f32 + 1.0) / FILL_FRACTION;
        asked.max(least as u64)
    }

    /// Whether a contract has been waited for too long.
    pub(crate) fn is_given_up(&self, now: Timestamp) -> bool {
        self.waiting.is_some_and(|waiting| now.since(waiting.since) >= CREATE_TIMEOUT)
    }

    /// Gives back contracts that were never needed.
    pub(crate) fn close_unused(&mut self, now: Timestamp, closed: &mut Vec<ContractUse>) {
        while let Some((_, unused)) = self.queued.pop_front_if(|(since, _)| now.since(*since) >= UNUSED_AFTER) {
            closed.push(unused.used());
        }
    }

    /// When `ask`, `is_given_up` or `close_unused` next has something to do; nothing is asked for while detached.
    pub(crate) fn timeout(&self, is_attached: bool) -> Option<Timestamp> {
        let waiting = self.waiting.map(|waiting| {
            let given_up = waiting.since + CREATE_TIMEOUT;
            if is_attached { given_up.min(waiting.ask_at) } else { given_up }
        });
        let unused = self.queued.front().map(|(since, _)| *since + UNUSED_AFTER);
        [waiting, unused].into_iter().flatten().min()
    }

    /// The contract that pays for the message at hand.
    pub(crate) fn current(&self) -> Option<ContractId> {
        self.open.last().map(|contract| contract.id)
    }

    /// Whether the peer has acked a pack under the current contract, so that packs without ack may follow.
    pub(crate) fn is_proven(&self) -> bool {
        self.open.last().is_some_and(|contract| contract.is_proven)
    }

    /// Whether a head may name the contract instead of carrying it.
    pub(crate) fn is_recoverable(&self, id: ContractId) -> bool {
        self.find(id).is_some_and(|contract| contract.is_recoverable)
    }

    /// The encoded contract.
    pub(crate) fn encoded(&self, id: ContractId) -> Option<Bytes> {
        self.find(id).map(|contract| contract.encoded.clone())
    }

    /// A message of `bytes` under contract `id` was acked. `proof` says that its pack carried the contract and whether
    /// the peer can ask for it again.
    pub(crate) fn ack(&mut self, id: ContractId, bytes: usize, proof: Option<bool>, closed: &mut Vec<ContractUse>) {
        if let Some(contract) = self.open.iter_mut().find(|contract| contract.id == id) {
            let charge = charge_of(bytes).min(contract.unacked);
            contract.unacked -= charge;
            contract.acked += charge;
            contract.is_proven |= proof.is_some();
            contract.is_recoverable |= proof == Some(true);
        }
        self.close_superseded(closed);
    }

    /// Everything is over: reports what each contract was used for.
    pub(crate) fn close_all(&mut self, closed: &mut Vec<ContractUse>) {
        closed.extend(self.open.drain(..).map(|contract| contract.used()));
        closed.extend(self.queued.drain(..).map(|(_, contract)| contract.used()));
        self.waiting = None;
    }

    fn find(&self, id: ContractId) -> Option<&SendContract> {
        self.open.iter().find(|contract| contract.id == id)
    }

    fn close_superseded(&mut self, closed: &mut Vec<ContractUse>) {
        let current = self.current();
        closed.extend(
            self.open.extract_if(.., |open| Some(open.id) != current && open.unacked == 0).map(|open| open.used()),
        );
    }
}

/// The secrets this client has registered, by provide mode: what contracts to it are signed with.
#[derive(Clone, Default)]
pub(crate) struct ProvideSecrets(BTreeMap<i32, Bytes>);

impl std::fmt::Debug for ProvideSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ProvideSecrets {
    /// The modes of `provide`, replacing all others.
    pub(crate) fn new(provide: &Provide) -> Self {
        Self(provide.keys.iter().map(|key| (key.mode, key.provide_secret_key.clone())).collect())
    }

    fn verify(&self, contract: &Contract, legacy: bool) -> bool {
        let Some(secret) = self.0.get(&contract.provide_mode) else { return false };
        let forms = [HmacForm::Standard, HmacForm::Legacy];
        forms.iter().take(1 + usize::from(legacy)).any(|form| {
            contract_signature::verify(*form, secret, &contract.stored_contract_bytes, &contract.stored_contract_hmac)
        })
    }
}

/// A contract that verified.
#[derive(Debug)]
struct ReceiveContract {
    /// As received: the same bytes again need no second check.
    contract: Contract,
    transfer_byte_count: u64,
    used: u64,
    verified: Arc<VerifiedContract>,
}

/// The contracts of a receive sequence, oldest first.
#[derive(Debug, Default)]
pub(crate) struct ReceiveContracts {
    open: Vec<ReceiveContract>,
    /// The contract that pays for packs that name none.
    current: Option<ContractId>,
}

impl ReceiveContracts {
    /// Verifies a contract from `source` and makes it current; `None` when it does not verify. Superseded ones above
    /// the bound are reported to `closed`.
    pub(crate) fn register(
        &mut self,
        contract: Contract,
        secrets: &ProvideSecrets,
        legacy: bool,
        (source, local): (ClientId, ClientId),
        closed: &mut Vec<ContractUse>,
    ) -> Option<()> {
        if let Some(known) = self.open.iter().find(|known| known.contract == contract) {
            self.current = Some(known.verified.contract_id);
            return Some(());
        }
        if !secrets.verify(&contract, legacy) {
            return None;
        }
        let stored = StoredContract::decode(contract.stored_contract_bytes.clone()).ok()?;
        let contract_id = ContractId::from_slice(&stored.contract_id)?;
        if !names(&stored, source, local) {
            return None;
        }
        self.current = Some(contract_id);
        if self.find(contract_id).is_some() {
            return Some(());
        }
        let provide_mode = ProvideMode::try_from(contract.provide_mode).ok()?;
        let is_network = provide_mode == ProvideMode::Network;
        let stream_id = stored.stream_id.as_deref().and_then(StreamId::from_slice);
        let (roles, principal) = if is_network { (stored.roles, stored.principal) } else { Default::default() };
        self.open.push(ReceiveContract {
            contract,
            transfer_byte_count: stored.transfer_byte_count,
            used: 0,
            verified: Arc::new(VerifiedContract { contract_id, provide_mode, roles, principal, stream_id }),
        });
        if self.open.len() > MAX_RECEIVE_OPEN {
            closed.push(used(&self.open.remove(0), false));
        }
        Some(())
    }

    /// Whether the contract is open in this sequence.
    pub(crate) fn knows(&self, id: ContractId) -> bool {
        self.find(id).is_some()
    }

    /// Charges a message to the named contract, or to the current one; `None` when none has room for it.
    pub(crate) fn charge(&mut self, id: Option<ContractId>, bytes: usize) -> Option<Arc<VerifiedContract>> {
        let id = id.or(self.current)?;
        let contract = self.open.iter_mut().find(|open| open.verified.contract_id == id)?;
        let charged = contract.used.saturating_add(charge_of(bytes));
        if charged > contract.transfer_byte_count {
            return None;
        }
        contract.used = charged;
        Some(Arc::clone(&contract.verified))
    }

    /// The sequence is over: superseded contracts are closed, the current one as `ending` says.
    pub(crate) fn close_all(&mut self, ending: Ending, closed: &mut Vec<ContractUse>) {
        let current = self.current.take();
        for open in self.open.drain(..) {
            let pauses = ending == Ending::Pause && Some(open.verified.contract_id) == current;
            closed.push(used(&open, pauses));
        }
    }

    fn find(&self, id: ContractId) -> Option<&ReceiveContract> {
        self.open.iter().find(|open| open.verified.contract_id == id)
    }
}

fn used(contract: &ReceiveContract, checkpoint: bool) -> ContractUse {
    ContractUse {
        contract_id: contract.verified.contract_id,
        acked_byte_count: contract.used,
        unacked_byte_count: 0,
        checkpoint,
    }
}
