//! The plans there are: which devices one opens, and how long a period of it is.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::purchase::item::Item;
use crate::time::Timestamp;

/// The devices that a plan opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// Every device.
    All,
    /// Apple's phones.
    Ios,
    /// Android phones.
    Android,
}

/// How long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A month.
    Monthly,
    /// A year.
    Annual,
}

/// What a device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Apple's phones.
    Ios,
    /// Android phones.
    Android,
    /// Windows.
    Windows,
    /// Apple's computers.
    Mac,
}

impl Platform {
    /// The platform of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "ios" => Some(Self::Ios),
            "android" => Some(Self::Android),
            "windows" => Some(Self::Windows),
            "mac" => Some(Self::Mac),
            _ => None,
        }
    }
}

/// A plan, written `all-monthly`, `ios-annual` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanType {
    /// What it opens.
    pub devices: Devices,
    /// How long a period is.
    pub period: Period,
}

impl PlanType {
    /// Every plan.
    pub const EVERY: [PlanType; 6] = {
        const fn plan(devices: Devices, period: Period) -> PlanType {
            PlanType { devices, period }
        }
        [
            plan(Devices::All, Period::Monthly),
            plan(Devices::All, Period::Annual),
            plan(Devices::Ios, Period::Monthly),
            plan(Devices::Ios, Period::Annual),
            plan(Devices::Android, Period::Monthly),
            plan(Devices::Android, Period::Annual),
        ]
    };

    /// The plan of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|plan| plan.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match (self.devices, self.period) {
            (Devices::All, Period::Monthly) => "all-monthly",
            (Devices::All, Period::Annual) => "all-annual",
            (Devices::Ios, Period::Monthly) => "ios-monthly",
            (Devices::Ios, Period::Annual) => "ios-annual",
            (Devices::Android, Period::Monthly) => "android-monthly",
            (Devices::Android, Period::Annual) => "android-annual",
        }
    }

    /// What a period of it is in the shop; the plans for one kind of phone bring as much as the others.
    pub fn item(self) -> Item {
        match self.period {
            Period::Monthly => Item::ProMonthly,
            Period::Annual => Item::ProYearly,
        }
    }

    /// The plan for every device that is sold as an item.
    pub fn of_item(item: Item) -> Option<Self> {
        Self::EVERY.into_iter().find(|plan| plan.devices == Devices::All && plan.item() == item)
    }

    /// Whether it opens a device.
    pub fn opens(self, platform: Platform) -> bool {
        match self.devices {
            Devices::All => true,
            Devices::Ios => platform == Platform::Ios,
            Devices::Android => platform == Platform::Android,
        }
    }

    /// When the first so many periods from `start` on are over.
    pub fn after(self, start: Timestamp, periods: u32) -> Timestamp {
        let months = match self.period {
            Period::Monthly => 1,
            Period::Annual => 12,
        };
        start.months_later(periods.saturating_mul(months))
    }
}

impl Serialize for PlanType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for PlanType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        PlanType::parse(&name).ok_or_else(|| serde::de::Error::custom("not a plan"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_reads_back_from_its_name() {
        for plan in PlanType::EVERY {
            assert_eq!(PlanType::parse(plan.name()), Some(plan));
        }
        assert_eq!(PlanType::parse("all"), None);
    }

    #[test]
    fn a_plan_for_phones_opens_phones_of_its_kind_only() {
        use Platform::{Android, Ios, Mac, Windows};
        let opened = |name: &str| {
            let plan = PlanType::parse(name).unwrap();
            [Ios, Android, Windows, Mac].map(|platform| plan.opens(platform))
        };
        assert_eq!(opened("all-monthly"), [true; 4]);
        assert_eq!(opened("ios-annual"), [true, false, false, false]);
        assert_eq!(opened("android-monthly"), [false, true, false, false]);
    }

    #[test]
    fn periods_are_counted_from_the_first_so_that_short_months_move_nothing() {
        let start = Timestamp::parse_rfc3339("2026-01-31T10:00:00Z").unwrap();
        let ends = [1, 2, 3].map(|periods| PlanType::EVERY[0].after(start, periods).to_date());
        assert_eq!(ends, ["2026-02-28", "2026-03-31", "2026-04-30"]);
        assert_eq!(PlanType::EVERY[1].after(start, 2).to_date(), "2028-01-31");
    }
}
