//! What one run of the demo measured, whether it adds up, and the table that shows it.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

/// Latencies kept for the percentiles; beyond them every second one is thrown away, again and again.
const MAX_SAMPLES: usize = 1 << 20;

/// Latencies of evenly spaced messages, bounded however many there are.
#[derive(Debug)]
pub struct Latencies {
    samples: Vec<Duration>,
    every: u64,
    seen: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { samples: Vec::new(), every: 1, seen: 0 }
    }
}

impl Latencies {
    /// Takes the latency of the next message.
    pub fn add(&mut self, latency: Duration) {
        if self.seen.is_multiple_of(self.every) {
            if self.samples.len() == MAX_SAMPLES {
                let mut nth = 0u32;
                self.samples.retain(|_| {
                    nth += 1;
                    !nth.is_multiple_of(2)
                });
                self.every *= 2;
            }
            self.samples.push(latency);
        }
        self.seen += 1;
    }

    /// The latency that so many percent of the messages did not exceed.
    pub fn percentile(&mut self, percent: usize) -> Duration {
        self.samples.sort_unstable();
        let rank = (self.samples.len() * percent).div_ceil(100).max(1) - 1;
        self.samples.get(rank).copied().unwrap_or_default()
    }
}

/// What one run measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The kind of transport.
    pub transport: &'static str,
    /// Length of the file, in bytes.
    pub file_bytes: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Frames delivered.
    pub frames: u64,
    /// From the first frame handed in to the last one delivered.
    pub elapsed: Duration,
    /// Half of the frames took no longer, from handing in to delivery.
    pub latency_p50: Duration,
    /// 99 of 100 frames took no longer.
    pub latency_p99: Duration,
    /// Contracts under which the file went.
    pub contracts: u64,
    /// Bytes that the sender reported on them.
    pub reported_by_sender: u64,
    /// Bytes that the receiver reported on them.
    pub reported_by_receiver: u64,
    /// Bytes by which the receiver's network was credited.
    pub credited: u64,
    /// What the payer could spend before.
    pub balance_before: u64,
    /// What the payer can spend after.
    pub balance_after: u64,
    /// SHA-256 of the file as it was read.
    pub digest_sent: String,
    /// SHA-256 of what was delivered.
    pub digest_received: String,
}

impl Run {
    /// Bytes for which the contracts were settled: what the payer lost.
    pub fn settled(&self) -> u64 {
        self.balance_before.saturating_sub(self.balance_after)
    }

    /// Everything that does not add up, in sentences; empty when the run is good.
    pub fn mismatches(&self) -> Vec<String> {
        // Opening a contract is charged 1 byte, so that a settled contract is never free.
        let expected = self.file_bytes + self.contracts;
        let pairs = [
            ("bytes delivered", self.bytes, "bytes of the file", self.file_bytes),
            ("bytes the sender reported", self.reported_by_sender, "bytes of the file and one per contract", expected),
            ("bytes the receiver reported", self.reported_by_receiver, "bytes the sender reported", expected),
            ("bytes the payer was charged", self.settled(), "bytes both ends reported", expected),
            ("bytes credited to the receiver's network", self.credited, "bytes the payer was charged", self.settled()),
        ];
        let mut mismatches = Vec::new();
        for (what, found, against, wanted) in pairs {
            if found != wanted {
                mismatches.push(format!("{what} ({found}) differ from the {against} ({wanted})"));
            }
        }
        if self.contracts == 0 {
            mismatches.push("no contract was used".into());
        }
        if self.digest_sent != self.digest_received {
            mismatches.push("sha256 differs between the two ends".into());
        }
        mismatches
    }

    /// The run as a table of two columns.
    pub fn table(&self) -> String {
        let per_second = self.bytes as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let mismatches = self.mismatches();
        let verdict = match mismatches.as_slice() {
            [] => "everything matches".into(),
            mismatches => mismatches.join("\n"),
        };
        let settled = format!("{} ({} of the file + 1 per contract)", bytes(self.settled()), self.file_bytes);
        let rows = [
            ("transport", self.transport.to_owned()),
            ("bytes", bytes(self.bytes)),
            ("frames", self.frames.to_string()),
            ("seconds", format!("{:.3}", self.elapsed.as_secs_f64())),
            ("throughput", format!("{:.1} MiB/s", per_second / (1024.0 * 1024.0))),
            ("latency p50", milliseconds(self.latency_p50)),
            ("latency p99", milliseconds(self.latency_p99)),
            ("contracts", self.contracts.to_string()),
            ("contracts settled for", settled),
            ("payer's balance before", bytes(self.balance_before)),
            ("payer's balance after", bytes(self.balance_after)),
            ("receiver's credit", bytes(self.credited)),
            ("sha256 sent", self.digest_sent.clone()),
            ("sha256 received", self.digest_received.clone()),
            ("verdict", verdict),
        ];
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        for (name, value) in rows {
            table.add_row([name.to_owned(), value]);
        }
        if let Some(names) = table.column_mut(0) {
            names.set_cell_alignment(CellAlignment::Left);
        }
        table.to_string()
    }
}

/// `67108864 bytes (64.0 MiB)`.
pub fn bytes(count: u64) -> String {
    let mut text = format!("{count} bytes");
    let (mut size, mut unit) = (count as f64, "");
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if !unit.is_empty() {
        let _ = write!(text, " ({size:.1} {unit})");
    }
    text
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Run {
        Run {
            transport: "websocket",
            file_bytes: 67_108_864,
            bytes: 67_108_864,
            frames: 21_846,
            elapsed: Duration::from_secs(2),
            latency_p50: Duration::from_micros(1500),
            latency_p99: Duration::from_millis(4),
            contracts: 2,
            reported_by_sender: 67_108_866,
            reported_by_receiver: 67_108_866,
            credited: 67_108_866,
            balance_before: 1 << 40,
            balance_after: (1 << 40) - 67_108_866,
            digest_sent: "ab".repeat(32),
            digest_received: "ab".repeat(32),
        }
    }

    #[test]
    fn a_good_run_matches_and_its_table_says_so() {
        assert_eq!(good().mismatches(), Vec::<String>::new());
        let table = good().table();
        for text in ["everything matches", "32.0 MiB/s", "1.500 ms", "67108864 bytes (64.0 MiB)", &"ab".repeat(32)] {
            assert!(table.contains(text), "{text} is not in\n{table}");
        }
    }

    #[test]
    fn whatever_differs_is_named() {
        let off: [fn(&mut Run); 7] = [
            |run| run.bytes -= 1,
            |run| run.contracts = 0,
            |run| run.reported_by_sender += 1,
            |run| run.reported_by_receiver = 0,
            |run| run.balance_after = run.balance_before,
            |run| run.credited -= 1,
            |run| run.digest_received = String::new(),
        ];
        for break_it in off {
            let mut run = good();
            break_it(&mut run);
            assert!(!run.mismatches().is_empty(), "{run:?}");
        }
    }

    #[test]
    fn percentiles_are_ranks_and_samples_stay_bounded() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(99), Duration::ZERO);
        for micros in 1..=100 {
            latencies.add(Duration::from_micros(micros));
        }
        assert_eq!(latencies.percentile(50), Duration::from_micros(50));
        assert_eq!(latencies.percentile(99), Duration::from_micros(99));
        for _ in 0..3 * MAX_SAMPLES {
            latencies.add(Duration::from_millis(1));
        }
        assert!(latencies.samples.len() <= MAX_SAMPLES);
        assert_eq!(latencies.percentile(50), Duration::from_millis(1));
    }
}
