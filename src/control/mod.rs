//! The control id: messages of a client in, operations run, replies out.
//!
//! Shared by the relay, which delivers packs addressed to the control id, and `POST /connect/control`. Frames run in
//! order, and one that fails is recorded and skipped, so it never stops the ones behind it. Closes that follow each
//! other share a commit: whoever ends many transfers at once closes as many contracts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::client_key::{PublishClientKey, PublishTlsChain, TlsChain};
use crate::domain::contract::{CloseError, Ledger};
use crate::domain::error::DomainError;
use crate::domain::provide::{ProvideSet, RegisterProvide};
use crate::domain::service::Service;
use crate::ids::{ClientId, NetworkId};
use crate::wire::control_message::{Push, Request};
use crate::wire::messages::{CloseContract, CreateContract, CreateContractResult, Frame};

/// Who sent a control message: the authenticated client of the transport or token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlCaller {
    /// The sender.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
}

/// Which way a control message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A pack to the control id.
    Relay,
    /// `POST /connect/control`.
    Http,
}

/// What goes back to the sender.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlReply {
    /// Reply frames, in the order of their requests.
    pub frames: Vec<Frame>,
    /// One text per frame that failed.
    pub errors: Vec<String>,
    /// A frame neither took effect nor was refused: the store was busy or has failed. The pack must not be acknowledged,
    /// or the client would never send it again.
    pub is_unfinished: bool,
}

/// Why a frame has no effect.
struct Failure {
    text: String,
    /// The same frame may be taken later.
    is_passing: bool,
}

impl From<DomainError> for Failure {
    fn from(error: DomainError) -> Self {
        let is_passing = matches!(error, DomainError::Unavailable | DomainError::Store(_));
        Self { text: error.to_string(), is_passing }
    }
}

impl From<CloseError> for Failure {
    fn from(error: CloseError) -> Self {
        Self { text: error.to_string(), is_passing: error == CloseError::Unavailable }
    }
}

/// Frames handled since the start, by what became of them.
#[derive(Debug, Default)]
pub struct ControlCounters {
    /// Took effect.
    pub handled: AtomicU64,
    /// Were understood but refused, or failed.
    pub failed: AtomicU64,
    /// Were no control message, or not decodable.
    pub unknown: AtomicU64,
    /// Asked for a contract where no answer can be matched.
    pub in_band_creates: AtomicU64,
    /// Single provide keys that were left out of their set.
    pub bad_provide_keys: AtomicU64,
}

/// Handles control messages.
pub struct Control {
    service: Arc<Service>,
    ledger: Arc<Ledger>,
    counters: ControlCounters,
}

impl Control {
    /// A handler over the operations and the ledger.
    pub fn new(service: Arc<Service>, ledger: Arc<Ledger>) -> Self {
        Self { service, ledger, counters: ControlCounters::default() }
    }

    /// What has been handled so far.
    pub fn counters(&self) -> &ControlCounters {
        &self.counters
    }

    /// Handles frames in order. When this returns, their effects are durable.
    pub async fn handle(&self, caller: ControlCaller, frames: &[Frame], via: Via) -> ControlReply {
        let mut reply = ControlReply::default();
        let mut closes = Vec::new();
        for frame in frames {
            let request = match Request::decode(frame) {
                Ok(Request::CloseContract(close)) => {
                    closes.push(close);
                    continue;
                }
                other => other,
            };
            self.close_all(caller, &mut closes, &mut reply).await;
            match request {
                Ok(request) => {
                    let outcome = self.handle_one(caller, request, via).await;
                    self.note(outcome, &mut reply);
                }
                Err(error) => {
                    self.counters.unknown.fetch_add(1, Ordering::Relaxed);
                    reply.errors.push(error.to_string());
                }
            }
        }
        self.close_all(caller, &mut closes, &mut reply).await;
        reply
    }

    async fn close_all(&self, caller: ControlCaller, closes: &mut Vec<CloseContract>, reply: &mut ControlReply) {
        if !closes.is_empty() {
            for outcome in self.ledger.close_all(caller.client_id, &std::mem::take(closes)).await {
                self.note(outcome.map(|()| None).map_err(Failure::from), reply);
            }
        }
    }

    /// Counts what became of a frame, and writes it into the reply.
    fn note(&self, outcome: Result<Option<Push>, Failure>, reply: &mut ControlReply) {
        match outcome {
            Ok(push) => {
                self.counters.handled.fetch_add(1, Ordering::Relaxed);
                reply.frames.extend(push.map(|push| push.to_frame()));
            }
            Err(failure) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                reply.is_unfinished |= failure.is_passing;
                reply.errors.push(failure.text);
            }
        }
    }

    async fn handle_one(&self, caller: ControlCaller, request: Request, via: Via) -> Result<Option<Push>, Failure> {
        match request {
            Request::Provide(provide) => {
                let (set, left_out) = ProvideSet::from_message(&provide);
                self.counters.bad_provide_keys.fetch_add(left_out as u64, Ordering::Relaxed);
                let operation = RegisterProvide { network_id: caller.network_id, client_id: caller.client_id, set };
                self.service.run(&operation).await?;
            }
            Request::CreateContract(request) => match via {
                Via::Http => return Ok(Some(self.create_contract(caller, request).await)),
                // The sender could not match a reply, and the reservation would leak.
                Via::Relay => {
                    self.counters.in_band_creates.fetch_add(1, Ordering::Relaxed);
                }
            },
            Request::CloseContract(request) => self.ledger.close(caller.client_id, &request).await?,
            Request::EncryptedKey(key) => {
                let chain = TlsChain {
                    certificates: key.provide_tls_certificate,
                    signature: key.client_key_signed_tls_certificate,
                };
                let operation = PublishTlsChain { client_id: caller.client_id, chain };
                self.service.run(&operation).await?;
            }
            Request::ClientKey(key) => {
                let operation = PublishClientKey { client_id: caller.client_id, public_key: key.public_key };
                self.service.run(&operation).await?;
            }
            // Counted only: nothing acts on reports about peers, and pings say no more than any other frame.
            Request::PeerAudit(_) | Request::ControlPing | Request::ProvidePing => {}
        }
        Ok(None)
    }

    async fn create_contract(&self, caller: ControlCaller, request: CreateContract) -> Push {
        let result = match self.ledger.create(caller.client_id, &request).await {
            Ok(contract) => CreateContractResult {
                contract: Some(contract),
                create_contract: (request.stream_version() >= 1).then_some(request),
                error: None,
            },
            Err(error) => CreateContractResult { error: Some(error.into()), ..Default::default() },
        };
        Push::CreateContractResult(Box::new(result))
    }
}

#[cfg(test)]
mod tests;
