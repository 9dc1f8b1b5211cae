use super::*;
use crate::ids::StreamId;

fn record() -> ContractRecord {
    let side = |byte| Side { client_id: ClientId::new([byte; 16]), network_id: NetworkId::new([byte + 1; 16]) };
    let vote = Vote { used_bytes: 5, is_final: true, time: Timestamp::from_millis(9), acked: 5, unacked: u64::MAX };
    ContractRecord {
        source: side(1),
        destination: side(3),
        transfer_bytes: 1 << 20,
        anchor: Some(ContractId::new([9; 16])),
        payer: Some(NetworkId::new([2; 16])),
        priority: 50,
        provide_mode: 3,
        create_time: Timestamp::from_millis(7),
        dispute_time: None,
        escrow: vec![(BalanceId::new([4; 16]), 17), (BalanceId::new([5; 16]), 18)],
        votes: [None, Some(vote)],
        stream: None,
    }
}

/// As it was stored before contracts had streams.
const FORMAT_1: &str = "010101010101010101010101010101010102020202020202020202020202020202030303030303030303030303030303\
    030404040404040404040404040404040400000000001000000000003203000000000000000701090909090909090909\
    090909090909090102020202020202020202020202020202000000000204040404040404040404040404040404000000\
    000000001105050505050505050505050505050505000000000000001200010000000000000005010000000000000009\
    0000000000000005ffffffffffffffff";

#[test]
fn records_of_format_1_are_read_as_contracts_without_stream() {
    let bytes = hex::decode(FORMAT_1).unwrap();
    assert_eq!(ContractRecord::decode(&bytes), Some(record()));
    let archived = [&[1, 0, 0, 0, 1][..], &[6; 16], &bytes[1..], &[0; 8 + 8 + 1 + 4]].concat();
    let ArchiveBlob(settled) = ArchiveBlob::decode(&archived).unwrap();
    assert_eq!((settled.len(), &settled[0].contract), (1, &record()));
    assert_eq!(ContractRecord::decode(&[&[3], &record().encode()[1..]].concat()), None, "of a newer release");
}

#[test]
fn a_stream_comes_back_with_its_nodes_in_order_whichever_way_the_contract_goes() {
    for (source, destination) in [(1, 3), (3, 1)] {
        let mut record = record();
        record.source.client_id = ClientId::new([source; 16]);
        record.destination.client_id = ClientId::new([destination; 16]);
        let between: Vec<_> = [7, 2, 5].map(|node| ClientId::new([node; 16])).into();
        let key = StreamKey::new(record.source.client_id, &between, record.destination.client_id);
        record.stream = Some(Stream { id: StreamId::new([8; 16]), key });
        assert_eq!(ContractRecord::decode(&record.encode()), Some(record));
    }
}

#[test]
fn records_survive_the_store() {
    let record = record();
    assert_eq!(ContractRecord::decode(&record.encode()).as_ref(), Some(&record));
    let payouts = vec![Payout { balance_id: BalanceId::new([4; 16]), bytes: 3, revenue: -1 }];
    let settled = Settled {
        contract_id: ContractId::new([6; 16]),
        contract: record,
        close_time: Timestamp::from_millis(11),
        used_bytes: 3,
        outcome: Outcome::Swept,
        payouts,
    };
    let every = Outcome::ALL.map(|outcome| Settled { outcome, ..settled.clone() });
    let blob = ArchiveBlob(every.to_vec());
    assert_eq!(ArchiveBlob::decode(&blob.encode()).as_ref(), Some(&blob));
    let balance = Balance { start_bytes: 1, purchase_token: Some("token".into()), ..Balance::default() };
    assert_eq!(Balance::decode(&balance.encode()), Some(balance));
}

#[test]
fn a_contract_record_stays_small() {
    let mut record = record();
    record.escrow.pop();
    assert!(record.encode().len() <= 200, "{}", record.encode().len());
}

#[test]
fn cut_or_foreign_records_are_refused() {
    let encoded = record().encode();
    for length in 0..encoded.len() {
        assert_eq!(ContractRecord::decode(&encoded[..length]), None);
    }
    let mut foreign = encoded;
    foreign[0] = 9;
    assert_eq!(ContractRecord::decode(&foreign), None);
}

#[test]
fn balances_sort_in_the_order_of_spending() {
    let key = |end, start, id| BalanceKey {
        network_id: NetworkId::new([1; 16]),
        end_time: Timestamp::from_millis(end),
        start_time: Timestamp::from_millis(start),
        balance_id: BalanceId::new([id; 16]),
    };
    let mut keys = [key(300, 1, 1), key(5, 9, 1), key(5, 1, 2), key(5, 1, 1)];
    let mut stored = keys.map(|key| BALANCES.key(&key));
    keys.sort();
    stored.sort();
    assert_eq!(stored, keys.map(|key| BALANCES.key(&key)));
}
