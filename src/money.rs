//! Amounts of money: US dollars, counted in billionths, so that a share of a cent per byte is still a number. The API
//! calls the unit nano-cents.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in what the API calls nano-cents, a billionth of a dollar; written in dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoCents(pub i64);

/// Nano-cents in a dollar.
const PER_DOLLAR: i64 = 1_000_000_000;

/// Digits behind the point that a nano-cent has.
const DECIMALS: usize = 9;

impl FromStr for NanoCents {
    type Err = String;

    /// Reads dollars, such as `12` or `4.99`, exactly; no sign.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not an amount in dollars such as 12 or 4.99");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > DECIMALS {
            return Err(wrong());
        }
        let too_large = || format!("'{text}' is more than {} dollars", i64::MAX / PER_DOLLAR);
        let dollars: i64 = whole.parse().map_err(|_| too_large())?;
        let rest: i64 = format!("{fraction:0<DECIMALS$}").parse().map_err(|_| wrong())?;
        dollars.checked_mul(PER_DOLLAR).and_then(|amount| amount.checked_add(rest)).map(Self).ok_or_else(too_large)
    }
}

/// In dollars, with two digits behind the point or as many as it takes.
impl fmt::Display for NanoCents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let amount = self.0.unsigned_abs();
        let (dollars, rest) = (amount / PER_DOLLAR as u64, amount % PER_DOLLAR as u64);
        let digits = format!("{rest:0DECIMALS$}");
        let fraction = format!("{:0<2}", digits.trim_end_matches('0'));
        write!(f, "{sign}{dollars}.{fraction}")
    }
}

/// For `#[serde(with = "dollars")]`: an amount as text in dollars, `"4.99"`.
pub mod dollars {
    use super::*;

    /// Writes an amount.
    pub fn serialize<S: Serializer>(amount: &NanoCents, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(amount)
    }

    /// Reads an amount.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NanoCents, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dollars_are_read_exactly_and_nothing_else_is() {
        for (text, amount) in [("0", 0), ("12", 12 * PER_DOLLAR), ("4.99", 4_990_000_000), ("0.000000001", 1)] {
            assert_eq!(text.parse(), Ok(NanoCents(amount)), "{text}");
        }
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "$4", "0.0000000001", "9223372037", " 1"] {
            assert!(wrong.parse::<NanoCents>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_written_with_as_many_digits_as_they_need() {
        for (amount, text) in [(0, "0.00"), (4_990_000_000, "4.99"), (1, "0.000000001"), (-500_000_000, "-0.50")] {
            assert_eq!(NanoCents(amount).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(amount in 0..=i64::MAX) {
            prop_assert_eq!(NanoCents(amount).to_string().parse(), Ok(NanoCents(amount)));
        }
    }
}
