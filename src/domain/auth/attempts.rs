//! Limits on attempts: sliding windows in memory, keyed so that no address is kept.
//!
//! A call reserves its place in the windows before it does the work; so calls at the same time cannot slip through
//! together. What it then does with the [`Reservation`] decides what counts: nothing (a failure, it stays), withdraw it
//! (it was no attempt), or clear the windows (success).
//! Windows do not outlive the process: an attacker cannot restart it, and a lockout is no treasure.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use rand::Rng;

use crate::domain::address_bucket::AddressBucket;
use crate::domain::error::DomainError;
use crate::domain::network::RenameKind;
use crate::time::{DAY, Timestamp};

/// Windows kept at once; above it the ones longest without an attempt are forgotten.
const MAX_WINDOWS: usize = 65_536;

/// The public door a call came through; each has windows of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// The bootstrap API.
    Api,
    /// The account website.
    Portal,
    /// The small `/api`.
    ClientApi,
    /// The operator's commands: no limits.
    Operator,
}

/// Where a call came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The door.
    pub surface: Surface,
    /// The client's address, forwarding headers resolved.
    pub address: IpAddr,
}

/// What is being limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Wrong secrets of one user (or of none) from one address.
    Secret,
    /// Wrong secrets of one user from anywhere.
    SecretAnywhere,
    /// Messages to one user.
    Message,
    /// Wrong auth codes from one address.
    CodeLogin,
    /// Calls for a wallet challenge that cannot be answered, and proofs that do not hold, from one address.
    Wallet,
    /// Accounts without a sign-in method from one address; the number is a setting.
    AnonymousAccount(u32),
    /// Changes of one kind by one user.
    MethodChange(MethodChange),
    /// New names for one network, each way of asking for itself.
    Rename(RenameKind),
    /// Device codes that one network adds, right or wrong.
    DeviceAdd,
    /// Wrong device codes and secrets from one address.
    DeviceCode,
    /// Adopt codes made from one address.
    AdoptCode,
    /// Adopt codes made by strangers altogether: what bounds the store.
    AdoptCodeAnywhere,
    /// Feedback of one network.
    Feedback,
    /// Letters of the account website that somebody at one address had sent, to whomever.
    Letter,
    /// Wrong balance codes from one address.
    BalanceCode,
    /// Wrong balance codes of one network, from anywhere.
    BalanceCodeAnywhere,
}

/// A change that a user may make a few times a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodChange {
    /// Adding a sign-in method.
    Add,
    /// Removing one.
    Remove,
    /// A first seedphrase.
    GenerateSeedphrase,
    /// Another seedphrase.
    RegenerateSeedphrase,
}

impl Limit {
    /// How many pass in how long, and a number that keeps windows of different limits apart.
    fn rule(self) -> (usize, Duration, u8) {
        const MINUTE: Duration = Duration::from_secs(60);
        match self {
            Limit::Secret => (4, 5 * MINUTE, 0),
            Limit::SecretAnywhere => (299, 30 * MINUTE, 1),
            Limit::Message => (5, 15 * MINUTE, 2),
            Limit::CodeLogin => (30, 5 * MINUTE, 3),
            Limit::AnonymousAccount(count) => (count as usize, DAY, 4),
            Limit::MethodChange(change) => (5, DAY, 0x10 + change as u8),
            Limit::Rename(kind) => (2, DAY, 0x20 + kind as u8),
            Limit::DeviceAdd => (9, 30 * MINUTE, 5),
            Limit::DeviceCode => (30, 5 * MINUTE, 6),
            Limit::AdoptCode => (20, 10 * MINUTE, 7),
            Limit::AdoptCodeAnywhere => (3000, 10 * MINUTE, 8),
            Limit::Feedback => (30, 60 * MINUTE, 9),
            Limit::Wallet => (5, 5 * MINUTE, 10),
            Limit::Letter => (60, 60 * MINUTE, 13),
            Limit::BalanceCode => (100, 5 * MINUTE, 11),
            Limit::BalanceCodeAnywhere => (100, 5 * MINUTE, 12),
        }
    }
}

type Window = VecDeque<Timestamp>;

/// All windows.
pub struct Attempts {
    /// `auth.attempt_limits`; accounts without a sign-in method have a setting of their own.
    is_on: bool,
    /// Random for each process: the keys of the windows tell nothing about addresses.
    secret: hmac::Key,
    windows: Mutex<HashMap<[u8; 16], (Duration, Window)>>,
}

/// A place taken in some windows.
#[must_use = "dropping it counts the attempt as failed"]
pub struct Reservation<'a> {
    attempts: &'a Attempts,
    at: Timestamp,
    keys: Vec<[u8; 16]>,
}

impl Attempts {
    /// No attempts yet. With `is_on` false, nothing but accounts without a sign-in method is limited.
    pub fn new(is_on: bool) -> Self {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        Self { is_on, secret: hmac::Key::new(hmac::HMAC_SHA256, &secret), windows: Mutex::default() }
    }

    /// Takes a place for the test of a secret: in the window of this user at this address, and in the user's own.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] when either is full.
    pub fn secret(
        &self,
        now: Timestamp,
        origin: &Origin,
        user_auth: Option<&str>,
    ) -> Result<Reservation<'_>, DomainError> {
        let here = (Limit::Secret, self.key(Limit::Secret, origin, true, user_auth.unwrap_or_default()));
        let anywhere = user_auth
            .map(|user_auth| (Limit::SecretAnywhere, self.key(Limit::SecretAnywhere, origin, false, user_auth)));
        self.reserve(now, origin, std::iter::once(here).chain(anywhere).collect())
    }

    /// Takes a place under the caller's address.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] when it is full.
    pub fn by_address(&self, now: Timestamp, origin: &Origin, limit: Limit) -> Result<Reservation<'_>, DomainError> {
        self.reserve(now, origin, vec![(limit, self.key(limit, origin, true, ""))])
    }

    /// Takes a place for an adopt code: in the window of the caller's address, and in the one of all strangers.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] when either is full.
    pub fn adopt_code(&self, now: Timestamp, origin: &Origin) -> Result<Reservation<'_>, DomainError> {
        let here = (Limit::AdoptCode, self.key(Limit::AdoptCode, origin, true, ""));
        let anywhere = (Limit::AdoptCodeAnywhere, self.key(Limit::AdoptCodeAnywhere, origin, false, ""));
        self.reserve(now, origin, vec![here, anywhere])
    }

    /// Takes a place for the test of a balance code: in the window of the caller's address, and in their network's.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] when either is full.
    pub fn balance_code(&self, now: Timestamp, origin: &Origin, network: &str) -> Result<Reservation<'_>, DomainError> {
        let here = (Limit::BalanceCode, self.key(Limit::BalanceCode, origin, true, ""));
        let anywhere = (Limit::BalanceCodeAnywhere, self.key(Limit::BalanceCodeAnywhere, origin, false, network));
        self.reserve(now, origin, vec![here, anywhere])
    }

    /// Takes a place under a user's name, wherever the call comes from.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] when it is full.
    pub fn by_user(
        &self,
        now: Timestamp,
        origin: &Origin,
        limit: Limit,
        user: &str,
    ) -> Result<Reservation<'_>, DomainError> {
        self.reserve(now, origin, vec![(limit, self.key(limit, origin, false, user))])
    }

    fn key(&self, limit: Limit, origin: &Origin, with_address: bool, user: &str) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(&[limit.rule().2, origin.surface as u8, u8::from(with_address)]);
        if with_address {
            context.update(format!("{:?}/", AddressBucket::of(origin.address)).as_bytes());
        }
        context.update(user.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&context.sign().as_ref()[..16]);
        key
    }

    fn reserve(
        &self,
        now: Timestamp,
        origin: &Origin,
        wanted: Vec<(Limit, [u8; 16])>,
    ) -> Result<Reservation<'_>, DomainError> {
        let is_limited = self.is_on || matches!(wanted[..], [(Limit::AnonymousAccount(_), _)]);
        if origin.surface == Surface::Operator || !is_limited {
            return Ok(Reservation { attempts: self, at: now, keys: Vec::new() });
        }
        let mut windows = self.windows.lock();
        for (limit, key) in &wanted {
            let (count, length, _) = limit.rule();
            if let Some((_, window)) = windows.get_mut(key) {
                expire(window, length, now);
                if window.len() >= count {
                    let oldest = window.front().copied().unwrap_or(now);
                    // At least a second: a client told to wait for none comes back at once.
                    let retry_after = (oldest + length).since(now).max(Duration::from_secs(1));
                    return Err(DomainError::TooMany { retry_after });
                }
            }
        }
        make_room(&mut windows, now);
        let mut keys = Vec::with_capacity(wanted.len());
        for (limit, key) in wanted {
            windows.entry(key).or_insert_with(|| (limit.rule().1, Window::new())).1.push_back(now);
            keys.push(key);
        }
        Ok(Reservation { attempts: self, at: now, keys })
    }
}

impl Reservation<'_> {
    /// The right secret was given: earlier failures are forgiven.
    pub fn clear(self) {
        let mut windows = self.attempts.windows.lock();
        for key in &self.keys {
            windows.remove(key);
        }
    }

    /// This was no attempt after all.
    pub fn withdraw(self) {
        let mut windows = self.attempts.windows.lock();
        for key in &self.keys {
            if let Some((_, window)) = windows.get_mut(key)
                && let Some(at) = window.iter().rposition(|at| *at == self.at)
            {
                window.remove(at);
            }
        }
    }

    /// It counts: same as dropping it, said aloud.
    pub fn keep(self) {}
}

fn expire(window: &mut Window, length: Duration, now: Timestamp) {
    while window.front().is_some_and(|at| *at + length <= now) {
        window.pop_front();
    }
}

fn make_room(windows: &mut HashMap<[u8; 16], (Duration, Window)>, now: Timestamp) {
    if windows.len() < MAX_WINDOWS {
        return;
    }
    windows.retain(|_, (length, window)| {
        expire(window, *length, now);
        !window.is_empty()
    });
    // An eighth at a time, so that a flood of names does not make every call sort them all.
    let excess = windows.len().saturating_sub(MAX_WINDOWS - MAX_WINDOWS / 8);
    if excess > 0 {
        let mut by_age: Vec<(Timestamp, [u8; 16])> =
            windows.iter().map(|(key, (_, window))| (window.back().copied().unwrap_or_default(), *key)).collect();
        by_age.sort_unstable();
        for (_, key) in by_age.into_iter().take(excess) {
            windows.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn from(address: &str) -> Origin {
        Origin { surface: Surface::Api, address: address.parse().unwrap() }
    }

    fn wait(refused: Result<Reservation<'_>, DomainError>) -> Duration {
        match refused {
            Err(DomainError::TooMany { retry_after }) => retry_after,
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("it passed"),
        }
    }

    #[test]
    fn the_fifth_wrong_secret_in_five_minutes_waits() {
        let attempts = Attempts::new(true);
        let origin = from("203.0.113.9");
        for second in 0..4 {
            attempts.secret(NOW + Duration::from_secs(second), &origin, Some("ada")).unwrap().keep();
        }
        let later = NOW + Duration::from_secs(60);
        assert_eq!(wait(attempts.secret(later, &origin, Some("ada"))), Duration::from_secs(240));
        assert_eq!(wait(attempts.secret(later, &from("203.0.113.10"), Some("ada"))), Duration::from_secs(240));
        attempts.secret(later, &from("203.0.113.99"), Some("ada")).unwrap().keep();
        attempts.secret(later, &origin, Some("bob")).unwrap().keep();
        attempts.secret(later, &Origin { surface: Surface::Portal, ..origin }, Some("ada")).unwrap().keep();
        attempts.secret(NOW + Duration::from_secs(300), &origin, Some("ada")).unwrap().keep();
    }

    #[test]
    fn success_clears_and_withdrawal_leaves_no_trace() {
        let attempts = Attempts::new(true);
        let origin = from("2001:db8::1");
        for _ in 0..3 {
            attempts.secret(NOW, &origin, None).unwrap().keep();
        }
        for _ in 0..10 {
            attempts.secret(NOW, &origin, None).unwrap().withdraw();
        }
        attempts.secret(NOW, &origin, None).unwrap().clear();
        for _ in 0..4 {
            attempts.secret(NOW, &origin, None).unwrap().keep();
        }
        wait(attempts.secret(NOW, &origin, None));
    }

    #[test]
    fn a_user_is_guarded_against_many_addresses_too() {
        let attempts = Attempts::new(true);
        for host in 0..299u32 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + host * 8);
            attempts.secret(NOW, &from(&address.to_string()), Some("ada")).unwrap().keep();
        }
        assert_eq!(wait(attempts.secret(NOW, &from("198.51.100.1"), Some("ada"))), Duration::from_secs(1800));
    }

    #[test]
    fn places_are_taken_before_the_work_so_that_calls_at_once_cannot_slip_through() {
        let attempts = Attempts::new(true);
        let origin = from("203.0.113.9");
        let held: Vec<_> = (0..4).map(|_| attempts.secret(NOW, &origin, Some("ada")).unwrap()).collect();
        wait(attempts.secret(NOW, &origin, Some("ada")));
        drop(held);
    }

    #[test]
    fn switched_off_nothing_but_new_accounts_is_limited() {
        let attempts = Attempts::new(false);
        let origin = from("203.0.113.9");
        for _ in 0..400 {
            attempts.secret(NOW, &origin, Some("ada")).unwrap().keep();
            attempts.adopt_code(NOW, &origin).unwrap().keep();
        }
        attempts.by_address(NOW, &origin, Limit::AnonymousAccount(1)).unwrap().keep();
        wait(attempts.by_address(NOW, &origin, Limit::AnonymousAccount(1)));
    }

    #[test]
    fn strangers_from_many_addresses_make_a_bounded_number_of_adopt_codes() {
        let attempts = Attempts::new(true);
        for host in 0..3000u32 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + host * 8);
            attempts.adopt_code(NOW, &from(&address.to_string())).unwrap().keep();
        }
        assert_eq!(wait(attempts.adopt_code(NOW, &from("198.51.100.1"))), Duration::from_secs(600));
    }

    #[test]
    fn windows_stay_bounded_and_the_operator_has_none() {
        let attempts = Attempts::new(true);
        let origin = from("203.0.113.9");
        for name in 0..MAX_WINDOWS {
            let at = NOW + Duration::from_millis(name as u64 / 64);
            attempts.by_user(at, &origin, Limit::Message, &name.to_string()).unwrap().keep();
        }
        attempts.by_user(NOW + Duration::from_secs(2), &origin, Limit::Message, "one more").unwrap().keep();
        assert!(attempts.windows.lock().len() <= MAX_WINDOWS);
        let operator = Origin { surface: Surface::Operator, ..origin };
        for _ in 0..100 {
            attempts.secret(NOW, &operator, Some("ada")).unwrap().keep();
        }
    }
}
