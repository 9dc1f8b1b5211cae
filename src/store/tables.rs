//! Every table, declared once: number, name, key, value. This file is the schema; `migration` changes it.
//!
//! Numbers 1 to 99 are accounts, 100 to 199 what comes and goes, 200 to 299 the ledger, 300 to 399 what is
//! counted from it. A number is never reused.
//!
//! | number | name | key | declared in |
//! |---|---|---|---|
//! | 1 | networks | network | `domain/network.rs` |
//! | 2 | network_names | name | `domain/account/name.rs` |
//! | 3 | users | user | `domain/network.rs` |
//! | 4 | referral_codes | code | `domain/network.rs` |
//! | 10 | sign_in_methods | user, kind | `domain/auth/method.rs` |
//! | 11 | identities | as 15, but in plain; emptied at the start | `domain/auth/method.rs` |
//! | 12 | verify_codes | user, kind | `domain/auth/verification.rs` |
//! | 13 | reset_codes | SHA-256 | `domain/auth/password_reset.rs` |
//! | 14 | user_reset_codes | user | `domain/auth/password_reset.rs` |
//! | 15 | identity_hashes | keyed hash of mail or wallet address, phone number or seedphrase digest | `domain/auth/method.rs` |
//! | 20 | sessions | network, session | `domain/auth/session.rs` |
//! | 21 | auth_codes | SHA-256 | `domain/auth/auth_code.rs` |
//! | 22 | network_auth_codes | network, SHA-256 | `domain/auth/auth_code.rs` |
//! | 25 | web_sessions | SHA-256 | `domain/auth/web_session.rs` |
//! | 26 | user_web_sessions | user, SHA-256 | `domain/auth/web_session.rs` |
//! | 27 | mail_aliases | keyed hash of a mail address | `domain/auth/mail_alias.rs` |
//! | 30 | api_keys | SHA-256 | `domain/api_key.rs` |
//! | 31 | network_api_keys | network, key id | `domain/api_key.rs` |
//! | 40 | associations | code | `domain/association/mod.rs` |
//! | 41 | network_associations | network, code | `domain/association/mod.rs` |
//! | 42 | client_associations | client, code | `domain/association/mod.rs` |
//! | 43 | adopt_ends | hour, code | `domain/association/mod.rs` |
//! | 44 | provide_caps | client | `domain/provide/cap.rs` |
//! | 50 | preferences | network | `domain/preferences.rs` |
//! | 51 | feedback | feedback id | `domain/feedback.rs` |
//! | 52 | network_feedback | network, feedback id | `domain/feedback.rs` |
//! | 53 | log_uploads | network, upload id | `domain/log_upload.rs` |
//! | 60 | clients | client | `domain/client.rs` |
//! | 61 | network_clients | network, client | `domain/client.rs` |
//! | 62 | derived_clients | source client, client | `domain/client.rs` |
//! | 63 | devices | device | `domain/device.rs` |
//! | 64 | client_keys | client | `domain/client_key.rs` |
//! | 65 | tls_chains | client | `domain/client_key.rs` |
//! | 66 | tombstones | day, client | `domain/client.rs` |
//! | 67 | known_tokens | client | `domain/auth/tokens.rs` |
//! | 70 | referrals | network, network it brought | `domain/network.rs` |
//! | 71 | certificates | user, source | `domain/certificate/record.rs` |
//! | 72 | certificate_sources | source | `domain/certificate/record.rs` |
//! | 73 | app_devices | number | `domain/app/device.rs` |
//! | 74 | user_app_devices | user, SHA-256 | `domain/app/device.rs` |
//! | 75 | client_app_devices | client | `domain/app/device.rs` |
//! | 76 | app_tokens | SHA-256 | `domain/app/token.rs` |
//! | 77 | last_numbers | what is numbered | `domain/app/number.rs` |
//! | 80 | mail_confirmations | keyed hash of a mail address | `domain/portal/confirmation.rs` |
//! | 82 | portal_profiles | user | `domain/portal/profile.rs` |
//! | 84 | mail_opt_outs | keyed hash of a mail address | `domain/portal/opt_out.rs` |
//! | 85 | mail_opt_out_secret | none | `domain/portal/opt_out.rs` |
//! | 86 | portal_nobody_asked | none | `domain/portal/password.rs` |
//! | 90 | server_numbers | place | `domain/app/server.rs` |
//! | 110 | provide_sets | client | `domain/provide.rs` |
//! | 111 | blocked_countries | network, country | `domain/provider/blocked.rs` |
//! | 112 | network_reliability | network, day | `domain/provider/reports.rs` |
//! | 113 | provider_histories | last byte of the client | `domain/provider/histories.rs` |
//! | 114 | watched_blocks | | `domain/provider/histories.rs` |
//! | 200 | balances | network, end, start, balance | `domain/contract/record.rs` |
//! | 202 | contracts | contract | `domain/contract/record.rs` |
//! | 203 | archive | hour, sequence | `domain/contract/record.rs` |
//! | 204 | credits | network | `domain/contract/record.rs` |
//! | 205 | network_days | day, network | `domain/contract/record.rs` |
//! | 206 | grants | network, kind | `domain/contract/record.rs` |
//! | 207 | balance_codes | SHA-256 | `domain/contract/codes.rs` |
//! | 208 | pending_codes | network | `domain/contract/codes.rs` |
//! | 209 | grant_keys | key | `domain/contract/grants.rs` |
//! | 210 | renewals | network, renewal | `domain/contract/grants.rs` |
//! | 211 | payments | network, payment | `domain/contract/payout.rs` |
//! | 212 | payout_totals | network | `domain/contract/payout.rs` |
//! | 213 | payment_ids | payment id | `domain/payment_id.rs` |
//! | 214 | recent_payment_ids | network | `domain/payment_id.rs` |
//! | 215 | keeper_users | network, user | `domain/wallet/keeper.rs` |
//! | 216 | keeper_user_owners | user at the keeper | `domain/wallet/keeper.rs` |
//! | 217 | sendings | payment or transfer | `domain/wallet/sending.rs` |
//! | 218 | paid_into_wallets | payment | `domain/payout/into_wallet.rs` |
//! | 219 | last_payout_run | none | `domain/payout/run.rs` |
//! | 220 | news_changes | keyed hash of a mail address | `domain/news.rs` |
//! | 221 | sold_codes | purchase key | `domain/purchase/code_sale.rs` |
//! | 222 | subnet_wallets | network, client | `domain/subnet.rs` |
//! | 250 | ledger_wallets | wallet | `domain/wallet/journal.rs` |
//! | 251 | wallet_owners | network, user | `domain/wallet/journal.rs` |
//! | 252 | postings | posting | `domain/wallet/journal.rs` |
//! | 253 | wallet_postings | wallet, posting | `domain/wallet/journal.rs` |
//! | 254 | challenges | challenge | `domain/wallet/challenge.rs` |
//! | 255 | open_transfers | wallet, challenge | `domain/wallet/challenge.rs` |
//! | 256 | challenge_deadlines | time, challenge | `domain/wallet/challenge.rs` |
//! | 257 | queued_transfers | challenge | `domain/wallet/challenge.rs` |
//! | 258 | transfer_calls | network | `domain/wallet/transfer_limit.rs` |
//! | 260 | account_wallets | network, wallet | `domain/wallet/account_wallet.rs` |
//! | 261 | account_wallet_addresses | network, chain and address | `domain/wallet/account_wallet.rs` |
//! | 262 | payout_wallets | network | `domain/wallet/account_wallet.rs` |
//! | 271 | orders | order | `domain/purchase/order.rs` |
//! | 272 | open_orders | network, order | `domain/purchase/order.rs` |
//! | 273 | paid_orders | order | `domain/purchase/order.rs` |
//! | 274 | shop_customers | network | `domain/purchase/checkout.rs` |
//! | 275 | purchase_references | what a shop calls it | `domain/purchase/checkout.rs` |
//! | 276 | store_reports | user | `domain/purchase/store_report.rs` |
//! | 277 | store_links | subscription of a store | `domain/purchase/store_report.rs` |
//! | 278 | solana_intents | reference | `domain/purchase/solana.rs` |
//! | 279 | open_intents | network, reference | `domain/purchase/solana.rs` |
//! | 280 | unfulfilled | payment | `domain/purchase/solana.rs` |
//! | 281 | paid_back | purchase key | `domain/purchase/delivery.rs` |
//! | 285 | subscribers | user | `domain/subscription/record.rs` |
//! | 286 | subscriptions | user, receipt | `domain/subscription/record.rs` |
//! | 287 | subscription_checks | time, user, receipt | `domain/subscription/record.rs` |
//! | 288 | subscription_proofs | user, receipt | `domain/subscription/record.rs` |
//! | 289 | subscription_users | receipt | `domain/subscription/record.rs` |
//! | 290 | due_deliveries | purchase key | `domain/subscription/due.rs` |
//! | 291 | cards | user, card | `domain/subscription/card.rs` |
//! | 292 | invoices | user, invoice | `domain/subscription/invoice.rs` |
//! | 293 | invoice_users | invoice | `domain/subscription/invoice.rs` |
//! | 300 | archive_marks | mark | `domain/contract/record.rs` |
//! | 301 | provider_days | day, provider | `domain/stats/record.rs` |
//! | 302 | peer_days | day, provider, client | `domain/stats/record.rs` |
//! | 303 | transfer_days | day | `domain/stats/record.rs` |
//! | 304 | uptime_days | day, client | `domain/stats/record.rs` |
//! | 305 | open_sessions | client | `domain/stats/record.rs` |
//! | 306 | heartbeat | none | `domain/stats/record.rs` |
//! | 307 | interest_days | day, client | `domain/stats/record.rs` |
//! | 308 | census_days | day | `domain/stats/record.rs` |
//! | 309 | shown_networks | network | `domain/stats/record.rs` |
