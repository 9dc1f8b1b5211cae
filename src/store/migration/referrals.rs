//! To version 2: stores of the first releases name the network that brought another only in the other's row. The table of
//! those it brought (70) is made from these rows.

use serde::Deserialize;

use crate::ids::NetworkId;

/// Tables by their numbers at the time.
const NETWORKS: [u8; 2] = [0, 1];
const REFERRALS: [u8; 2] = [0, 70];

/// Every row begins with the version of its commit; then comes the version of its shape.
const VERSION_BYTES: usize = 8;

/// What matters of a network's row.
#[derive(Deserialize)]
struct Network {
    referred_by: Option<NetworkId>,
}

/// Writes a row for each network that another one brought and that is still there.
pub fn fill_in(rows: &sled::Tree) -> Result<(), sled::Error> {
    for entry in rows.scan_prefix(NETWORKS) {
        let (key, row) = entry?;
        let Some((version, value)) = row.split_at_checked(VERSION_BYTES) else { continue };
        let network = value.get(1..).and_then(|json| serde_json::from_slice::<Network>(json).ok());
        let Some(parent) = network.and_then(|network| network.referred_by) else { continue };
        if rows.contains_key([&NETWORKS[..], parent.as_bytes()].concat())? {
            let referral = [&REFERRALS[..], parent.as_bytes(), &key[NETWORKS.len()..]].concat();
            rows.insert(referral, version)?;
        }
    }
    rows.flush().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_a_network_brought_are_found_in_their_own_rows() {
        let database = sled::Config::new().temporary(true).cache_capacity(4 << 20).open().unwrap();
        let rows = database.open_tree("rows").unwrap();
        let (parent, child, orphan, gone) = ([1; 16], [2; 16], [3; 16], [4; 16]);
        let network = |id: [u8; 16], referred_by: Option<[u8; 16]>| {
            let mut json = serde_json::json!({"name": "hill", "referral_code": "ABC123"});
            if let Some(id) = referred_by {
                json["referred_by"] = NetworkId::new(id).to_string().into();
            }
            let row = [&[0, 0, 0, 0, 0, 0, 0, 9][..], &[1], json.to_string().as_bytes()].concat();
            rows.insert([&NETWORKS[..], &id].concat(), row).unwrap();
        };
        network(parent, None);
        network(child, Some(parent));
        network(orphan, Some(gone));
        // Something else, and something that is not to be understood.
        rows.insert([0, 2, 1], "name").unwrap();
        rows.insert([0, 1, 9], "?").unwrap();
        for _ in 0..2 {
            fill_in(&rows).unwrap();
            let made: Vec<_> = rows.scan_prefix(REFERRALS).map(|entry| entry.unwrap()).collect();
            assert_eq!(made.len(), 1);
            assert_eq!(&*made[0].0, [&REFERRALS[..], &parent, &child].concat());
            assert_eq!(&*made[0].1, [0, 0, 0, 0, 0, 0, 0, 9], "a version and nothing behind it");
        }
    }
}
