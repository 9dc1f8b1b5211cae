//! The fields that clients send and read, route by route: each must stand in the description, under the same name.
//!
//! A dot leads into an object, or into the objects of a list.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tests::{BOOTSTRAP_API, document};
use super::*;

/// Route, fields of the request, fields of the result.
type Fields = (&'static str, &'static str, &'static str);

/// Every operation of the bootstrap API.
const BOOTSTRAP: &[Fields] = &[
    ("GET /account/payout-wallet", "", "wallet_id"),
    ("GET /account/referral-code", "", "referral_code total_referrals"),
    (
        "GET /account/wallets",
        "",
        "wallets.wallet_id wallets.circle_wallet_id wallets.network_id wallets.wallet_type wallets.blockchain \
         wallets.wallet_address wallets.active wallets.default_token_type wallets.create_time",
    ),
    ("GET /device/adopt-code/{code}/qr.png", "", ""),
    (
        "GET /device/associations",
        "",
        "pending_adoption_devices.pending pending_adoption_devices.code pending_adoption_devices.device_name \
         pending_adoption_devices.duration_minutes incoming_shared_devices.pending incoming_shared_devices.code \
         incoming_shared_devices.device_name incoming_shared_devices.client_id incoming_shared_devices.network_name \
         outgoing_shared_devices.pending outgoing_shared_devices.code outgoing_shared_devices.device_name \
         outgoing_shared_devices.client_id outgoing_shared_devices.network_name",
    ),
    ("GET /device/share-code/{code}/qr.png", "", ""),
    ("GET /hello", "", "client_address"),
    (
        "GET /network/clients",
        "",
        "clients.client_id clients.source_client_id clients.device_id clients.network_id clients.description \
         clients.device_name clients.device_spec clients.create_time clients.auth_time clients.roles clients.principal \
         clients.provide_mode clients.resident.client_id clients.resident.instance_id clients.resident.resident_id \
         clients.resident.resident_host clients.resident.resident_service clients.resident.resident_block \
         clients.resident.resident_internal_ports clients.connections.client_id clients.connections.connection_id \
         clients.connections.connect_time clients.connections.connection_host clients.connections.connection_service \
         clients.connections.connection_block",
    ),
    ("GET /network/provider-locations", "", LOCATIONS),
    ("GET /preferences", "", "product_updates"),
    (
        "GET /stats/last-90",
        "",
        "lookback created_time all_transfer_data all_transfer_summary all_transfer_summary_rate providers_data \
         providers_summary countries_data countries_summary regions_data regions_summary cities_data cities_summary \
         networks_data networks_summary devices_data devices_summary",
    ),
    (
        "GET /stats/providers",
        "",
        "created_time providers.client_id providers.connected providers.connected_events_last_24h.event_time \
         providers.connected_events_last_24h.connected providers.uptime_last_24h providers.transfer_data_last_24h \
         providers.payout_last_24h providers.search_interest_last_24h providers.contracts_last_24h \
         providers.clients_last_24h providers.provide_mode",
    ),
    (
        "GET /stats/providers-overview-last-90",
        "",
        "lookback created_time uptime transfer_data payout search_interest contracts clients",
    ),
    (
        "GET /subscription/balance",
        "",
        "start_balance_byte_count balance_byte_count open_transfer_byte_count current_subscription.subscription_id \
         current_subscription.store current_subscription.plan subscriptions active_transfer_balances.balance_id \
         active_transfer_balances.network_id active_transfer_balances.start_time active_transfer_balances.end_time \
         active_transfer_balances.start_balance_byte_count active_transfer_balances.net_revenue_nano_cents \
         active_transfer_balances.balance_byte_count active_transfer_balances.paid active_transfer_balances.pro \
         pending_payout_usd_nano_cents update_time",
    ),
    ("GET /transfer/stats", "", "paid_bytes_provided unpaid_bytes_provided"),
    (
        "GET /wallet/balance",
        "",
        "wallet_info.wallet_id wallet_info.token_id wallet_info.blockchain wallet_info.blockchain_symbol \
         wallet_info.create_date wallet_info.balance_usdc_nano_cents wallet_info.address",
    ),
    ("POST /account/payout-wallet", "wallet_id", ""),
    ("POST /account/wallet", "blockchain wallet_address default_token_type", "wallet_id"),
    ("POST /account/wallets/remove", "wallet_id", "success error.message"),
    (
        "POST /auth/code-create",
        "duration_minutes uses roles principal",
        "auth_code duration_minutes uses error.auth_code_limit_exceeded error.message",
    ),
    ("POST /auth/code-login", "auth_code", "by_jwt error.message"),
    (
        "POST /auth/login",
        "user_auth auth_jwt auth_jwt_type seedphrase wallet_auth.wallet_address wallet_auth.wallet_signature \
         wallet_auth.wallet_message wallet_auth.blockchain wallet_auth.wallet_nonce",
        "user_auth user_name auth_allowed network.by_jwt wallet_auth.wallet_address wallet_login.wallet_address \
         error.message",
    ),
    (
        "POST /auth/login-with-password",
        "user_auth password verify_otp_numeric",
        "network.by_jwt network.name verification_required.user_auth error.message",
    ),
    ("POST /auth/network-check", "network_name", "available"),
    (
        "POST /auth/network-create",
        "user_name user_auth password auth_jwt auth_jwt_type wallet_auth.wallet_address network_name terms \
         verify_use_numeric referral_code balance_code",
        "network.by_jwt network.network_id network.network_name network.is_pro user_auth seedphrase \
         verification_required.user_auth error.message error.network_name_message",
    ),
    ("POST /auth/password-reset", "user_auth", "user_auth"),
    ("POST /auth/password-set", "reset_code password", ""),
    ("POST /auth/verify", "user_auth verify_code", "network.by_jwt error.message"),
    ("POST /auth/verify-send", "user_auth use_numeric", "user_auth"),
    ("POST /connect/control", "pack", "pack error.message"),
    (
        "POST /device/add",
        "code",
        "code_type code device_name associated_network_name client_id duration_minutes error.message",
    ),
    ("POST /device/adopt-status", "adopt_code", "pending associated_network_name error.message"),
    ("POST /device/confirm-adopt", "adopt_code adopt_secret associated_network_name", "by_client_jwt error.message"),
    ("POST /device/confirm-share", "share_code associated_network_name", "associated_network_name error.message"),
    (
        "POST /device/create-adopt-code",
        "device_name device_spec",
        "adopt_code adopt_secret share_code duration_minutes",
    ),
    ("POST /device/create-share-code", "client_id device_name", "share_code error.message"),
    ("POST /device/remove-adopt-code", "adopt_code adopt_secret", "error.message"),
    ("POST /device/remove-association", "code", "error.message"),
    ("POST /device/set-association-name", "code device_name", "error.message"),
    ("POST /device/set-name", "device_id device_name", "error.message"),
    ("POST /device/set-provide", "client_id provide_mode", "provide_mode error.message"),
    ("POST /device/share-status", "share_code", "pending associated_network_name error.message"),
    (
        "POST /feedback/send-feedback",
        "uses.personal uses.business needs.private needs.safe needs.global needs.collaborate needs.app_control \
         needs.block_data_brokers needs.block_ads needs.focus needs.connect_servers needs.run_servers \
         needs.prevent_cyber needs.audit needs.zero_trust needs.visualize needs.other star_count",
        "feedback_id",
    ),
    (
        "POST /network/auth-client",
        "client_id source_client_id derived_client_id description device_spec roles principal proxy_config",
        "by_client_jwt client_id error.client_limit_exceeded error.message",
    ),
    (
        "POST /network/create-provider-spec",
        "query",
        "specs.location_id specs.location_group_id specs.client_id specs.best_available",
    ),
    ("POST /network/find-locations", "query max_distance_fraction enable_max_distance_fraction", LOCATIONS),
    ("POST /network/find-provider-locations", "query max_distance_fraction enable_max_distance_fraction", LOCATIONS),
    ("POST /network/find-providers", "location_id location_group_id count exclude_location_ids", "client_ids"),
    (
        "POST /network/find-providers2",
        "specs.location_id specs.location_group_id specs.client_id specs.best_available count force_count \
         exclude_client_ids exclude_destinations rank_mode force_minimum",
        "providers.client_id providers.estimated_bytes_per_second providers.has_estimated_bytes_per_second \
         providers.tier providers.intermediary_ids providers.location.country providers.location.country_code \
         providers.location.region providers.location.city",
    ),
    ("POST /network/remove-client", "client_id", "error.message"),
    ("POST /preferences/set-preferences", "product_updates", ""),
    (
        "POST /stats/provider-last-90",
        "client_id last_n lookback",
        "lookback created_time uptime transfer_data payout search_interest contracts clients client_details.client_id \
         client_details.transfer_data",
    ),
    (
        "POST /subscription/check-balance-code",
        "secret",
        "balance.start_time balance.end_time balance.balance_byte_count error.message",
    ),
    ("POST /subscription/create-payment-id", "", "subscription_payment_id error.message"),
    (
        "POST /subscription/redeem-balance-code",
        "secret",
        "transfer_balance.transfer_balance_id transfer_balance.start_time transfer_balance.end_time \
         transfer_balance.balance_byte_count error.message",
    ),
    ("POST /wallet/circle-init", "", "user_token.user_token user_token.encryption_key challenge_id error.message"),
    (
        "POST /wallet/circle-transfer-out",
        "to_address amount_usdc_nano_cents terms",
        "user_token.user_token user_token.encryption_key challenge_id error.message",
    ),
    ("POST /wallet/validate-address", "address chain", "valid"),
];

/// Later routes that clients of today use.
const LATER: &[Fields] = &[
    ("GET /account/api-keys", "", "api_keys.id api_keys.name api_keys.create_time"),
    ("GET /auth/refresh", "", "by_jwt error.message"),
    (
        "GET /network/peers",
        "",
        "peers.client_id peers.provide_modes peers.principal peers.roles peers.device_name peers.device_spec \
         disconnected.disconnect_time disconnected_count",
    ),
    (
        "GET /network/user",
        "",
        "network_user.user_id network_user.userId network_user.user_name network_user.user_auth network_user.verified \
         network_user.auth_type network_user.network_name network_user.wallet_address network_user.auth_types \
         network_user.user_auths network_user.sso_auths network_user.wallet_auths network_user.seedphrase_auths \
         error.message",
    ),
    ("POST /account/api-key", "name", "id api_key name"),
    ("POST /auth/add-auth", "user_auth password auth_jwt auth_jwt_type wallet_auth.wallet_address", "error.message"),
    ("POST /auth/generate-seedphrase", "", "seedphrase error.message"),
    ("POST /auth/regenerate-seedphrase", "", "seedphrase error.message"),
    ("POST /auth/remove-auth", "auth_type", "error.message"),
    ("POST /auth/wallet-challenge", "wallet_address blockchain", "challenge timestamp expires_in message_template"),
    ("POST /auth/wallet-nonce", "", "nonce"),
    ("POST /network/remove-clients", "client_ids", ""),
    ("POST /network/user/update", "network_name", "error.message"),
    ("POST /referral-code/validate", "referral_code", "is_valid is_capped"),
];

/// What the routes that list places answer.
const LOCATIONS: &str = "specs groups.location_group_id groups.name groups.promoted \
    groups.match_distance locations.location_id locations.location_type locations.name locations.city \
    locations.region locations.country locations.city_location_id locations.region_location_id \
    locations.country_location_id locations.country_code locations.provider_count locations.match_distance \
    locations.stable locations.strong_privacy devices.client_id devices.device_name";

/// Every field of a schema, as dotted paths.
fn gather(document: &Value, schema: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    // Deep enough for all of them, and an end for schemas that hold themselves.
    if prefix.matches('.').count() > 4 {
        return;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        gather(document, document.pointer(&reference[1..]).unwrap(), prefix, into);
    }
    for parts in ["allOf", "anyOf", "oneOf"] {
        schema[parts].as_array().into_iter().flatten().for_each(|part| gather(document, part, prefix, into));
    }
    if schema["items"].is_object() {
        gather(document, &schema["items"], prefix, into);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        gather(document, field, &format!("{path}."), into);
        into.insert(path);
    }
}

#[test]
fn every_field_that_clients_send_or_read_is_described() {
    let document = document();
    let plain = serde_json::to_value(&document).unwrap();
    let mut missing = Vec::new();
    for (route, asked, answered) in BOOTSTRAP.iter().chain(LATER) {
        let (method, path) = route.split_once(' ').unwrap();
        let found = each_operation(&document).find(|one| (one.0, one.1) == (method, path));
        let (_, _, operation) = found.unwrap_or_else(|| panic!("{route} is not served"));
        let operation = serde_json::to_value(operation).unwrap();
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let result = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        for (side, schema, wanted) in [("request", body, asked), ("result", result, answered)] {
            let mut described = BTreeSet::new();
            gather(&plain, schema, "", &mut described);
            let absent = wanted.split_whitespace().filter(|field| !described.contains(*field));
            missing.extend(absent.map(|field| format!("{route}: {side} {field}")));
        }
    }
    assert!(missing.is_empty(), "not in the description:\n{}", missing.join("\n"));
}

#[test]
fn the_table_of_fields_has_every_operation_of_the_bootstrap_api() {
    let listed: Vec<&str> = BOOTSTRAP.iter().map(|(route, ..)| *route).collect();
    assert_eq!(listed, BOOTSTRAP_API);
    assert_eq!(listed.len(), 58);
}
