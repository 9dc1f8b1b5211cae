//! What the statistics store, and under which keys. Days lead wherever they can, so that old ones go as one range.
//!
//! The first three tables are rollups of the archive: what they say can be counted again from it. The others are
//! written from memory.

use crate::domain::contract::codec::{Decoder, Encoder};
use crate::ids::{ClientId, NetworkId};
use crate::store::table::{Table, TableValue};
use crate::time::Timestamp;

/// What each provider earned on each day.
pub const PROVIDER_DAYS: Table<(u32, ClientId), ProviderDay> = Table::new(301, "provider_days");

/// The same by the client at the other end: day, provider, other client.
pub const PEER_DAYS: Table<(u32, ClientId, ClientId), PeerDay> = Table::new(302, "peer_days");

/// What all contracts carried on each day.
pub const TRANSFER_DAYS: Table<u32, TransferDay> = Table::new(303, "transfer_days");

/// When each client was connected, by day.
pub const UPTIME_DAYS: Table<(u32, ClientId), UptimeDay> = Table::new(304, "uptime_days");

/// Connected clients, since when.
pub const OPEN_SESSIONS: Table<ClientId, Instant> = Table::new(305, "open_sessions");

/// When this server was last known to run: where sessions that a crash left open have ended.
pub const HEARTBEAT: Table<(), Instant> = Table::new(306, "heartbeat");

/// How often each provider was offered, by day.
pub const INTEREST_DAYS: Table<(u32, ClientId), Hours<u32>> = Table::new(307, "interest_days");

/// Who was there at the end of each day.
pub const CENSUS_DAYS: Table<u32, CensusDay> = Table::new(308, "census_days");

/// Networks that show their name on the leaderboard.
pub const SHOWN_NETWORKS: Table<NetworkId, ()> = Table::new(309, "shown_networks");

const FORMAT: u8 = 1;

/// Milliseconds in an hour.
pub const HOUR_MILLIS: u64 = 3_600_000;

/// Connects and disconnects remembered per client and day; the newest win.
pub const MAX_EVENTS: usize = 256;

/// One value for each hour of a day. Stored as a mask of the hours that have one, then these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours<T>(pub [T; 24]);

impl<T: Copy + Default> Default for Hours<T> {
    fn default() -> Self {
        Self([T::default(); 24])
    }
}

/// A value of one hour.
pub trait Hourly: Copy + Default + PartialEq {
    /// Appends it to a record.
    fn write(self, out: &mut Encoder);
    /// Takes it off a record.
    fn read(input: &mut Decoder<'_>) -> Option<Self>;
}

impl<T: Hourly> Hours<T> {
    /// The value of an hour since 1970.
    pub fn at(&mut self, hour: u32) -> &mut T {
        &mut self.0[hour as usize % 24]
    }

    fn write(&self, out: &mut Encoder) {
        let used = |at: &usize| self.0[*at] != T::default();
        out.u32((0..24).filter(used).fold(0, |mask, at| mask | 1 << at));
        for at in (0..24).filter(used) {
            self.0[at].write(out);
        }
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        let mask = input.u32()?;
        let mut hours = Self::default();
        for (at, value) in hours.0.iter_mut().enumerate() {
            if mask >> at & 1 == 1 {
                *value = T::read(input)?;
            }
        }
        Some(hours)
    }
}

impl Hourly for u32 {
    fn write(self, out: &mut Encoder) {
        out.u32(self);
    }
    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        input.u32()
    }
}

impl Hourly for i64 {
    fn write(self, out: &mut Encoder) {
        out.i64(self);
    }
    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        input.i64()
    }
}

impl TableValue for Hours<u32> {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        self.write(&mut out);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let hours = Self::read(&mut input)?;
        input.is_at_end().then_some(hours)
    }
}

/// What a provider earned in one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderHour {
    /// Bytes of the contracts that were closed in it.
    pub bytes: i64,
    /// The provider's share of the revenue behind them, nano-cents.
    pub revenue: i64,
    /// Contracts that were made in it and are settled by now.
    pub contracts: u32,
}

impl Hourly for ProviderHour {
    fn write(self, out: &mut Encoder) {
        out.i64(self.bytes).i64(self.revenue).u32(self.contracts);
    }
    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { bytes: input.i64()?, revenue: input.i64()?, contracts: input.u32()? })
    }
}

/// What a provider earned on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderDay {
    /// By the hour.
    pub hours: Hours<ProviderHour>,
    /// Different clients at the other end of the contracts made on this day.
    pub clients: u32,
}

impl ProviderDay {
    /// Adds what came later; `clients` is not a sum and stays.
    pub fn add_hours(&mut self, more: &Hours<ProviderHour>) {
        for (hour, more) in self.hours.0.iter_mut().zip(more.0) {
            hour.bytes = hour.bytes.saturating_add(more.bytes);
            hour.revenue = hour.revenue.saturating_add(more.revenue);
            hour.contracts = hour.contracts.saturating_add(more.contracts);
        }
    }
}

impl TableValue for ProviderDay {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        self.hours.write(&mut out);
        out.u32(self.clients);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let day = Self { hours: Hours::read(&mut input)?, clients: input.u32()? };
        input.is_at_end().then_some(day)
    }
}

/// What a provider carried for one other client on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerDay {
    /// Bytes of the contracts closed in each hour.
    pub bytes: Hours<i64>,
    /// The hours in which contracts were made, as bits.
    pub made_in: u32,
}

impl PeerDay {
    /// Adds what came later.
    pub fn add(&mut self, more: &Self) {
        for (bytes, more) in self.bytes.0.iter_mut().zip(more.bytes.0) {
            *bytes = bytes.saturating_add(more);
        }
        self.made_in |= more.made_in;
    }
}

impl TableValue for PeerDay {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        self.bytes.write(&mut out);
        out.u32(self.made_in);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let day = Self { bytes: Hours::read(&mut input)?, made_in: input.u32()? };
        input.is_at_end().then_some(day)
    }
}

/// What all contracts that were closed on one day carried, those that nobody paid for included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferDay {
    /// Bytes.
    pub bytes: i64,
    /// Contracts.
    pub contracts: u64,
}

impl TransferDay {
    /// Adds what came later.
    pub fn add(&mut self, more: &Self) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.contracts = self.contracts.saturating_add(more.contracts);
    }
}

impl TableValue for TransferDay {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.i64(self.bytes).u64(self.contracts);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let day = Self { bytes: input.i64()?, contracts: input.u64()? };
        input.is_at_end().then_some(day)
    }
}

/// A client came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectEvent {
    /// Milliseconds since the day began.
    pub at_millis: u32,
    /// It came.
    pub connected: bool,
}

/// When a client was connected on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UptimeDay {
    /// Milliseconds of each hour.
    pub hours: Hours<u32>,
    /// When it came and went, oldest first, the newest [`MAX_EVENTS`].
    pub events: Vec<ConnectEvent>,
}

impl UptimeDay {
    /// Adds what came later.
    pub fn add(&mut self, more: &Self) {
        for (hour, more) in self.hours.0.iter_mut().zip(more.hours.0) {
            *hour = (*hour + more).min(HOUR_MILLIS as u32);
        }
        more.events.iter().for_each(|event| self.push(*event));
    }

    /// Adds a later event.
    pub fn push(&mut self, event: ConnectEvent) {
        if self.events.len() == MAX_EVENTS {
            self.events.remove(0);
        }
        self.events.push(event);
    }
}

impl TableValue for UptimeDay {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        self.hours.write(&mut out);
        out.u32(self.events.len() as u32);
        for event in &self.events {
            out.u32(event.at_millis).u8(u8::from(event.connected));
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let hours = Hours::read(&mut input)?;
        let count = input.u32()?;
        let event =
            |input: &mut Decoder<'_>| Some(ConnectEvent { at_millis: input.u32()?, connected: input.u8()? != 0 });
        let events = (0..count).map(|_| event(&mut input)).collect::<Option<_>>()?;
        input.is_at_end().then_some(Self { hours, events })
    }
}

/// A stored time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

impl TableValue for Instant {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.time(self.0);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let time = input.time()?;
        input.is_at_end().then_some(Self(time))
    }
}

/// Who was there on one day: `devices` through the day, all others at its end, which for today is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CensusDay {
    /// Clients that were connected at some time.
    pub devices: u64,
    /// Connected providers that everyone may use.
    pub providers: u64,
    /// Countries where they are.
    pub countries: u64,
    /// Regions where they are.
    pub regions: u64,
    /// Cities where they are.
    pub cities: u64,
    /// Networks that exist.
    pub networks: u64,
}

impl TableValue for CensusDay {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.u64(self.devices).u64(self.providers).u64(self.countries);
        out.u64(self.regions).u64(self.cities).u64(self.networks);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(FORMAT, bytes)?;
        let day = Self {
            devices: input.u64()?,
            providers: input.u64()?,
            countries: input.u64()?,
            regions: input.u64()?,
            cities: input.u64()?,
            networks: input.u64()?,
        };
        input.is_at_end().then_some(day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives<V: TableValue + PartialEq + std::fmt::Debug>(value: V) {
        let encoded = value.encode();
        assert_eq!(V::decode(&encoded), Some(value));
        for length in 0..encoded.len() {
            assert_eq!(V::decode(&encoded[..length]), None, "cut at {length}");
        }
        assert_eq!(V::decode(&[encoded, vec![0]].concat()), None);
    }

    #[test]
    fn records_survive_the_store_and_damaged_ones_are_refused() {
        let mut day = ProviderDay { clients: 3, ..ProviderDay::default() };
        *day.hours.at(23) = ProviderHour { bytes: 1, revenue: -2, contracts: 3 };
        *day.hours.at(24) = ProviderHour { bytes: i64::MAX, revenue: 0, contracts: 0 };
        survives(day);
        let mut peer = PeerDay { made_in: 1 << 5, ..PeerDay::default() };
        *peer.bytes.at(7) = 9;
        survives(peer);
        survives(TransferDay { bytes: 5, contracts: 6 });
        let events =
            vec![ConnectEvent { at_millis: 7, connected: true }, ConnectEvent { at_millis: 8, connected: false }];
        survives(UptimeDay { hours: Hours([HOUR_MILLIS as u32; 24]), events });
        survives(CensusDay { devices: 1, providers: 2, countries: 3, regions: 4, cities: 5, networks: 6 });
        survives(Instant(Timestamp::from_secs(9)));
        survives(Hours([1u32; 24]));
    }

    #[test]
    fn an_hour_never_has_more_uptime_than_it_is_long_and_old_events_make_room() {
        let mut day = UptimeDay::default();
        let mut more = UptimeDay { hours: Hours([2_000_000; 24]), events: Vec::new() };
        more.push(ConnectEvent { at_millis: 1, connected: true });
        for _ in 0..300 {
            day.add(&more);
        }
        day.push(ConnectEvent { at_millis: 2, connected: false });
        assert_eq!(day.hours.0[5], HOUR_MILLIS as u32);
        assert_eq!(day.events.len(), MAX_EVENTS);
        assert_eq!(day.events.last().unwrap().at_millis, 2);
    }
}
