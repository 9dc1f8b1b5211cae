//! The signed form of a contract, made on the task of the request that asked for it.

use bytes::Bytes;
use prost::Message;

use super::create::Created;
use super::request::Granted;
use crate::config::contracts::HmacForm;
use crate::wire::contract_signature;
use crate::wire::messages::{Contract, StoredContract};

/// Above this length a contract goes without its convenience copies: it must fit a frame of 4096 bytes together with
/// the rest of its pack, and clients prefer the signed copy anyway.
const MAX_WITH_COPIES_BYTES: usize = 3000;

/// Signs a contract with the destination's secret. The signed bytes are the ones sent.
pub(super) fn sign(form: HmacForm, granted: Granted, created: &Created) -> Contract {
    let Granted { new, secret, keys, roles, principal } = granted;
    let public_key = keys.public_key.map_or_else(Bytes::new, |key| Bytes::copy_from_slice(&key.0));
    let chain = keys.chain.unwrap_or_default();
    let stored = StoredContract {
        contract_id: created.contract_id.into(),
        transfer_byte_count: new.transfer_bytes as u64,
        source_id: Some(new.source.client_id.into()),
        destination_id: Some(new.destination.client_id.into()),
        stream_id: created.stream_id.map(Into::into),
        // Written even when 0.
        priority: Some(created.priority),
        provide_tls_certificate: chain.certificates.clone(),
        destination_client_public_key: public_key.clone(),
        destination_client_key_signed_tls_certificate: chain.signature.clone(),
        roles,
        principal,
    };
    let stored_contract_bytes = Bytes::from(stored.encode_to_vec());
    let mut contract = Contract {
        stored_contract_hmac: contract_signature::sign(form, &secret, &stored_contract_bytes),
        stored_contract_bytes,
        provide_mode: new.provide_mode.into(),
        provide_tls_certificate: chain.certificates,
        destination_client_public_key: public_key,
        destination_client_key_signed_tls_certificate: chain.signature,
    };
    if contract.encoded_len() > MAX_WITH_COPIES_BYTES {
        contract.provide_tls_certificate.clear();
        contract.destination_client_public_key.clear();
        contract.destination_client_key_signed_tls_certificate.clear();
    }
    contract
}

#[cfg(test)]
mod tests {
    use super::super::create::{NewContract, Payment};
    use super::super::record::Side;
    use super::*;
    use crate::domain::client_key::{PublicKey, PublishedKeys, TlsChain};
    use crate::ids::{ClientId, ContractId, NetworkId, StreamId};
    use crate::wire::messages::ProvideMode;

    fn signed(chain: TlsChain) -> (Contract, StoredContract) {
        let side = |byte| Side { client_id: ClientId::new([byte; 16]), network_id: NetworkId::new([byte; 16]) };
        let new = NewContract {
            source: side(1),
            destination: side(2),
            transfer_bytes: 1 << 20,
            provide_mode: ProvideMode::Network,
            payment: Payment::None,
            stream: None,
        };
        let keys = PublishedKeys { public_key: Some(PublicKey([7; 32])), chain: Some(chain) };
        let granted = Granted { new, secret: vec![9; 32], keys, roles: vec!["ops".into()], principal: "svc-a".into() };
        let stream_id = Some(StreamId::new([5; 16]));
        let created = Created { contract_id: ContractId::new([3; 16]), priority: 0, stream_id };
        let contract = sign(HmacForm::Standard, granted, &created);
        let stored = StoredContract::decode(contract.stored_contract_bytes.clone()).unwrap();
        (contract, stored)
    }

    #[test]
    fn the_sent_bytes_are_the_signed_bytes() {
        let (contract, stored) = signed(TlsChain::default());
        let (bytes, hmac) = (&contract.stored_contract_bytes, &contract.stored_contract_hmac);
        assert!(contract_signature::verify(HmacForm::Standard, &[9; 32], bytes, hmac));
        assert_eq!(stored.priority, Some(0));
        assert_eq!(stored.source_id(), [1; 16]);
        assert_eq!(stored.destination_id(), [2; 16]);
        assert_eq!(stored.stream_id(), [5; 16]);
        assert_eq!(stored.roles, ["ops"]);
        assert_eq!(stored.principal, "svc-a");
        assert_eq!(contract.destination_client_public_key, stored.destination_client_public_key);
    }

    #[test]
    fn a_long_contract_goes_without_its_copies() {
        let chain = |length| TlsChain { certificates: vec![vec![b'x'; length].into()], signature: vec![1; 64].into() };
        let (short, _) = signed(chain(1000));
        assert_eq!(short.provide_tls_certificate, chain(1000).certificates);
        let (long, stored) = signed(chain(1400));
        assert!(long.provide_tls_certificate.is_empty() && long.destination_client_public_key.is_empty());
        assert_eq!(stored.provide_tls_certificate, chain(1400).certificates);
        assert!(long.encoded_len() < MAX_WITH_COPIES_BYTES);
    }
}
