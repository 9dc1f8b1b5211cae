//! Every table, declared once: number, name, key, value. This file is the schema; `migration` changes it.
//!
//! Numbers 1 to 99 are accounts, 100 to 199 what comes and goes, 200 to 299 the ledger. A number is never reused.
//!
//! | number | name | key | declared in |
//! |---|---|---|---|
//! | 60 | clients | client | `domain/client.rs` |
//! | 61 | network_clients | network, client | `domain/client.rs` |
//! | 62 | derived_clients | source client, client | `domain/client.rs` |
//! | 63 | devices | device | `domain/device.rs` |
//! | 64 | client_keys | client | `domain/client_key.rs` |
//! | 65 | tls_chains | client | `domain/client_key.rs` |
