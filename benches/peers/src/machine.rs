//! What Linux says of processes and of the whole machine. All times in microseconds.

use std::fs;

/// CPU time of a process, user and system, of threads that have ended too, as the scheduler counted it.
pub fn process_cpu(process: u64) -> f64 {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    let is_read = unsafe {
        libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) == 0 && libc::clock_gettime(clock, &mut time) == 0
    };
    if is_read { time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3 } else { 0.0 }
}

/// Busy time of all cores, interrupts included.
pub fn busy() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice and system; irq and softirq
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    busy as f64 * 1e6 / per_second
}

/// Memory of a process that is in RAM, in KiB.
pub fn resident_kib(process: u64) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The monotonic clock, in nanoseconds.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a measurement is the difference of.
#[derive(Clone, Copy)]
pub struct Mark {
    pub ns: u64,
    pub frames: u64,
    /// CPU of the relay, of this process, of the machine.
    pub relay: f64,
    pub own: f64,
    pub busy: f64,
}

impl Mark {
    pub fn new(process: u64, frames: u64) -> Self {
        Self {
            ns: now_ns(),
            frames,
            relay: process_cpu(process),
            own: process_cpu(std::process::id() as u64),
            busy: busy(),
        }
    }

    /// The JSON fields that every measurement has, from an earlier mark to this one. `others` is the time of every
    /// other task of the machine, in cores: how far the run was disturbed.
    pub fn since(&self, before: &Mark) -> String {
        let us = (self.ns - before.ns) as f64 / 1e3;
        let (relay, own) = (self.relay - before.relay, self.own - before.own);
        let others = (self.busy - before.busy - relay - own).max(0.0);
        format!("\"use\":{:.3},\"generator_use\":{:.3},\"others\":{:.3}", relay / us, own / us, others / us)
    }
}
