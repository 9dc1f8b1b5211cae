//! `docs/api-coverage.md`: every route that clients know, and whether it is served. Written from the routes themselves.

use std::collections::BTreeSet;
use std::path::Path;

use super::tests::BOOTSTRAP_API;
use super::*;

/// What clients of today ask for beside the bootstrap API: users notice when it is missing.
const EXPECTED: &[&str] = &[
    "GET /account/api-keys",
    "GET /account/balance-codes",
    "GET /account/payments",
    "GET /account/points",
    "GET /account/referral-network",
    "GET /account/unlink-referral-network",
    "GET /auth/refresh",
    "GET /key/{clientId}",
    "GET /my-ip-info",
    "GET /network/peers",
    "GET /network/user",
    "GET /privacy.txt",
    "GET /status",
    "GET /terms.txt",
    "GET /vdp.txt",
    "POST /account/api-key",
    "POST /account/api-key/remove",
    "POST /account/change-name",
    "POST /account/claim-name",
    "POST /account/set-referral",
    "POST /auth/network-delete",
    "POST /log/{id}/upload",
    "POST /network/remove-clients",
    "POST /network/user/update",
    "POST /pay/stripe",
    "POST /referral-code/validate",
    "POST /solana/payment-intent",
    "POST /stats/leaderboard",
    "POST /stats/provider-last-n",
    "POST /stats/providers-last-n",
    "POST /stats/providers-overview-last-n",
    "POST /stripe/create-checkout-session",
    "POST /stripe/customer-portal",
    "POST /stripe/payment-intent",
    "POST /subscription/verify-apple-transaction",
    "POST /subscription/verify-play-purchase",
];

/// Rare or old, or of use with an outside service only.
const RARE: &[&str] = &[
    "GET /.well-known/jwks.json",
    "GET /connect",
    "GET /network/blocked-locations",
    "GET /network/ranking",
    "GET /network/reliability",
    "GET /sn/artifact",
    "GET /sn/artifacts",
    "GET /sn/epoch",
    "GET /sn/evidence",
    "GET /sn/evidence/history",
    "GET /sn/pool/claim",
    "GET /stats/providers-map",
    "GET /verify/keys",
    "GET /verify/proofs",
    "GET /verify/stats",
    "GET /x402/skus",
    "POST /account/circle-wallet",
    "POST /account/wallets/verify-seeker",
    "POST /apple/notification",
    "POST /auth/add-auth",
    "POST /auth/generate-seedphrase",
    "POST /auth/regenerate-seedphrase",
    "POST /auth/remove-auth",
    "POST /auth/wallet-challenge",
    "POST /auth/wallet-nonce",
    "POST /connect",
    "POST /network/block-location",
    "POST /network/ranking-visibility",
    "POST /network/unblock-location",
    "POST /pay/circle",
    "POST /pay/coinbase",
    "POST /pay/play",
    "POST /pay/solana",
    "POST /sn/evidence",
    "POST /sn/wallet",
    "POST /updates/brevo",
    "POST /verify",
    "POST /x402/purchase",
];

const INTRODUCTION: &str = "\
# API coverage

Every route that clients of the upstream network know, and whether this server answers it. A route that is not served
answers 404. This file is written from the routes by a test; do not edit it. To write it again:

```sh
WARREN_UPDATE_COVERAGE=1 cargo test --lib openapi::coverage
```
";

/// The names of parameters differ between documents; their places do not.
fn shape(route: &str) -> String {
    route.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

fn written() -> String {
    let document = super::tests::document();
    let served: Vec<(String, String)> = each_operation(&document)
        .map(|(method, path, operation)| {
            let about = operation.summary.clone().unwrap_or_default();
            (format!("{method} {path}"), about.trim().trim_end_matches('.').replace('|', "\\|"))
        })
        .collect();
    let find = |route: &str| served.iter().find(|(one, _)| shape(one) == shape(route));
    let mut text = INTRODUCTION.to_owned();
    let mut known = BTreeSet::new();
    let lists = [
        ("The bootstrap API", "All of the published document, version 2023.12.19.", BOOTSTRAP_API),
        ("Later routes that clients use", "Users notice when one of these is missing.", EXPECTED),
        ("Rare routes", "Old ones, and those that need an outside service.", RARE),
    ];
    for (title, about, routes) in lists {
        let count = routes.iter().filter(|route| find(route).is_some()).count();
        text += &format!("\n## {title}\n\n{about} Served: {count} of {}.\n\n", routes.len());
        text += "| route | served | what it does |\n|---|---|---|\n";
        for route in routes {
            let (mark, about) = find(route).map_or(("no", ""), |(_, about)| ("yes", about.as_str()));
            text += &format!("| `{route}` | {mark} | {about} |\n");
            assert!(known.insert(shape(route)), "{route} stands in two lists");
        }
    }
    let own: Vec<_> = served.iter().filter(|(route, _)| !known.contains(&shape(route))).collect();
    if !own.is_empty() {
        text += "\n## Routes of this server alone\n\n| route | what it does |\n|---|---|\n";
        own.iter().for_each(|(route, about)| text += &format!("| `{route}` | {about} |\n"));
    }
    text
}

#[test]
fn the_table_of_routes_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api-coverage.md");
    let written = written();
    if std::env::var("WARREN_UPDATE_COVERAGE").is_ok_and(|value| value == "1") {
        std::fs::write(&path, written).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == written,
        "docs/api-coverage.md is out of date; WARREN_UPDATE_COVERAGE=1 cargo test --lib openapi::coverage writes it"
    );
}
