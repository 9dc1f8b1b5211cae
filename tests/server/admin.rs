//! `warren admin` as operators run it: beside a server, without one, and where it must refuse.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use warren::store::sled::SledStore;

use crate::support::{Process, command, config, install_crypto};

/// Exit code, stdout and stderr of `warren admin` over a data folder.
pub fn admin(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(data).arg("admin").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The answer of a command that must succeed.
pub fn answer(data: &Path, arguments: &[&str]) -> Value {
    let (code, stdout, stderr) = admin(data, &[arguments, &["--json"]].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}: {stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// The one sentence of a command that must fail with this code.
pub fn refusal(data: &Path, arguments: &[&str], expected: i32) -> String {
    let (code, stdout, stderr) = admin(data, arguments);
    assert_eq!((code, stdout.as_str()), (Some(expected), ""), "{arguments:?}: {stderr}");
    assert!(expected == 2 || stderr.lines().count() == 1, "one sentence: {stderr}");
    stderr
}

/// Makes a network over the public API.
pub async fn make_network(process: &Process, name: &str) {
    let url = format!("http://{}/auth/network-create", process.addresses()["http"].as_str().unwrap());
    let body = json!({
        "user_name": "Ada", "user_auth": format!("{name}@hill.example"), "password": "correct horse",
        "network_name": name, "terms": true,
    });
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn the_same_commands_work_beside_a_server_and_without_one() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut process = Process::start(folder.path(), |_| ());
    for name in ["hilltop-lab", "valley-lab"] {
        make_network(&process, name).await;
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("admin.sock"))), (0o700, 0o600));

    let status = answer(&data, &["status"]);
    assert_eq!(status["state"], "ok");
    let with_server = answer(&data, &["network", "list"]);
    assert_eq!(with_server["networks"].as_array().unwrap().len(), 2);
    let first = answer(&data, &["network", "list", "--limit", "1"]);
    assert_eq!(first["networks"][0], with_server["networks"][0]);
    let rest = answer(&data, &["network", "list", "--after", first["next"].as_str().unwrap()]);
    assert_eq!((&rest["networks"][0], rest.get("next")), (&with_server["networks"][1], None));
    let (code, table, _) = admin(&data, &["network", "list", "--limit", "1"]);
    assert_eq!(code, Some(0));
    assert!(table.starts_with("NETWORK") && table.contains("hilltop-lab") && table.contains("--after"), "{table}");
    let granted =
        answer(&data, &["balance", "grant", "hilltop-lab", "2GiB", "--days", "7", "--pro", "--revenue", "4.99"]);
    let balance = answer(&data, &["balance", "show", "hilltop-lab"]);
    assert_eq!(balance["balances"][0]["balance_id"], granted["balance_id"]);
    assert_eq!(balance["balances"][0]["net_revenue"], 4_990_000_000i64);
    for (arguments, title) in [
        (&["client", "list", "hilltop-lab"][..], "CLIENT"),
        (&["session", "list", "hilltop-lab"], "SESSION"),
        (&["balance", "show", "hilltop-lab"], "network"),
        (&["contract", "list", "--state", "open"], "CONTRACT"),
        (&["contract", "sweep"], "contracts settled: 0"),
        (&["balance-code", "create", "1GiB", "--count", "2"], "ID"),
        (&["balance-code", "list"], "ID"),
        (&["payout", "plan"], "planned"),
        (&["payout", "list", "--state", "planned"], "PAYMENT"),
        (&["provider", "list"], "CLIENT"),
        (&["stats", "recount", "--fix"], "days"),
    ] {
        let (code, table, stderr) = admin(&data, arguments);
        assert!(code == Some(0) && table.starts_with(title), "{arguments:?}: {table}{stderr}");
    }
    let shown = answer(&data, &["network", "show", "hilltop-lab"]);
    assert_eq!(shown["sign_in"][0]["user_auth"], "hilltop-lab@hill.example");

    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    assert!(!data.join("admin.sock").exists());
    assert_eq!(answer(&data, &["network", "list"]), with_server);
    assert_eq!(answer(&data, &["network", "show", "hilltop-lab"]), shown);
    let without_server = answer(&data, &["balance", "show", "hilltop-lab"]);
    assert_eq!(without_server, balance);
    let codes = answer(&data, &["balance-code", "list"]);
    assert_eq!(codes["codes"].as_array().unwrap().len(), 2);
    let code = codes["codes"][0]["code_id"].as_str().unwrap();
    assert_eq!(admin(&data, &["balance-code", "cancel", code]).1, format!("cancelled code {code}\n"));
    let ended = granted["balance_id"].as_str().unwrap();
    assert_eq!(admin(&data, &["balance", "claw-back", ended]).1, format!("ended balance {ended}\n"));
    assert_eq!(answer(&data, &["balance", "show", "hilltop-lab"])["is_pro"], false);
    assert!(answer(&data, &["status"])["state"].as_str().unwrap().contains("no server runs"));
    // What is changed without a server is there for the next one.
    let (code, line, _) = admin(&data, &["network", "delete", "hilltop-lab"]);
    assert!(code == Some(0) && line.contains("hilltop-lab"), "{line}");
    let _process = Process::start(folder.path(), |_| ());
    let left = answer(&data, &["network", "list"]);
    assert_eq!(left["networks"].as_array().unwrap(), &with_server["networks"].as_array().unwrap()[1..]);
}

#[test]
fn a_killed_server_leaves_a_socket_that_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut process = Process::start(folder.path(), |_| ());
    process.signal("KILL");
    process.wait();
    assert!(data.join("admin.sock").exists());
    assert_eq!(answer(&data, &["network", "list"])["networks"], json!([]));
    let _process = Process::start(folder.path(), |_| ());
    assert_eq!(answer(&data, &["status"])["state"], "ok");
}

#[test]
fn a_store_held_by_a_process_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let _held = SledStore::open(&config(folder.path()).store).unwrap();
    let text = refusal(folder.path(), &["network", "list"], 1);
    let folder = folder.path().to_str().unwrap();
    assert!(text.contains(folder) && text.contains("in use") && text.contains("admin.sock"), "{text}");
}

#[test]
fn a_folder_without_data_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("typo");
    for path in [folder.path(), missing.as_path()] {
        let text = refusal(folder.path(), &["--data", path.to_str().unwrap(), "network", "list"], 1);
        assert!(text.contains(path.to_str().unwrap()) && text.contains("--data"), "{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn unknown_networks_and_bad_arguments_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _process = Process::start(folder.path(), |_| ());
    let text = refusal(&data, &["network", "show", "nobody"], 1);
    assert!(text.contains("\"nobody\"") && text.contains("warren admin network list"), "{text}");
    let text = refusal(&data, &["network", "list", "--after", "12"], 2);
    assert!(text.contains("'12'") && text.contains("36 characters"), "{text}");
    let wrong_arguments = [
        &["network"][..],
        &["network", "list", "--limit", "0"],
        &["client", "remove", "laptop"],
        &["balance", "grant", "nobody", "much"],
        &["balance", "grant", "nobody", "1GiB", "--revenue", "-1"],
        &["contract", "list", "--state", "settled"],
        &["network", "list", "--config", "/nowhere"],
    ];
    for wrong in wrong_arguments {
        refusal(&data, wrong, 2);
    }
}
