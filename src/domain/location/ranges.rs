//! Address tables as text: lines of `start,end,CC`, sorted, as many free country tables are published.
//!
//! Addresses are written as such, or IPv4 as a plain number. Empty lines and lines that begin with `#` are skipped,
//! quotes are taken off, and further columns do not matter. A line costs 12 bytes for IPv4 and 34 for IPv6.

use std::net::{IpAddr, Ipv4Addr};

use super::country::CountryCode;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {problem}")]
pub struct RangesError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Range<A> {
    first: A,
    last: A,
    country: CountryCode,
}

/// A table of ranges, each in a country.
#[derive(Debug, Default)]
pub struct Ranges {
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
}

impl Ranges {
    /// Reads a table.
    pub fn parse(text: &str) -> Result<Self, RangesError> {
        let mut ranges = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                ranges.add(line).map_err(|problem| RangesError { line: at + 1, problem })?;
            }
        }
        Ok(ranges)
    }

    /// The country of an address.
    pub fn country(&self, address: IpAddr) -> Option<CountryCode> {
        match address.to_canonical() {
            IpAddr::V4(address) => find(&self.v4, address.to_bits()),
            IpAddr::V6(address) => find(&self.v6, address.to_bits()),
        }
    }

    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        let mut columns = line.split(',').map(|column| column.trim().trim_matches('"'));
        let (Some(first), Some(last), Some(code)) = (columns.next(), columns.next(), columns.next()) else {
            return Err("is not start,end,CC");
        };
        let (Some(first), Some(last)) = (address(first), address(last)) else {
            return Err("does not begin with two addresses");
        };
        // "??", "ZZ" and the like mean nowhere.
        let Some(country) = CountryCode::parse(code).filter(|country| country.name().is_some()) else {
            return Ok(());
        };
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                push(&mut self.v4, Range { first: first.to_bits(), last: last.to_bits(), country })
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                push(&mut self.v6, Range { first: first.to_bits(), last: last.to_bits(), country })
            }
            _ => Err("mixes IPv4 and IPv6"),
        }
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let plain = || text.parse().ok().map(|number| IpAddr::V4(Ipv4Addr::from_bits(number)));
    text.parse::<IpAddr>().ok().or_else(plain)
}

fn push<A: Copy + Ord>(ranges: &mut Vec<Range<A>>, range: Range<A>) -> Result<(), &'static str> {
    if range.first > range.last {
        return Err("ends before it begins");
    }
    if ranges.last().is_some_and(|before| before.last >= range.first) {
        return Err("is not behind the one before; the table must be sorted");
    }
    ranges.push(range);
    Ok(())
}

fn find<A: Copy + Ord>(ranges: &[Range<A>], address: A) -> Option<CountryCode> {
    let after = ranges.partition_point(|range| range.first <= address);
    let range = ranges.get(after.checked_sub(1)?)?;
    (address <= range.last).then_some(range.country)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn country(ranges: &Ranges, address: &str) -> Option<String> {
        ranges.country(address.parse().unwrap()).map(|code| code.as_str().to_owned())
    }

    #[test]
    fn addresses_are_found_in_their_range_and_between_ranges_nowhere() {
        let text = "# a comment\n1.0.0.0,1.0.0.255,AU\n\"1.0.4.0\",\"1.0.7.255\",\"CN\",\"more\"\n16842752,16843007,JP\n\
                    2.0.0.0,2.0.0.255,??\r\n\n2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,de\n";
        let ranges = Ranges::parse(text).unwrap();
        let cases = [
            ("1.0.0.0", Some("au")),
            ("1.0.0.255", Some("au")),
            ("::ffff:1.0.0.7", Some("au")),
            ("1.0.1.0", None),
            ("1.0.5.5", Some("cn")),
            ("1.1.0.3", Some("jp")),
            ("2.0.0.1", None),
            ("0.0.0.0", None),
            ("255.255.255.255", None),
            ("2001:db8::1", Some("de")),
            ("2001:db9::1", None),
        ];
        for (address, expected) in cases {
            assert_eq!(country(&ranges, address).as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn complaints_name_the_line() {
        let complaint = |text: &str| Ranges::parse(text).unwrap_err().to_string();
        assert_eq!(complaint("\n1.0.0.0"), "line 2 is not start,end,CC");
        assert!(complaint("1.0.0,x,de").contains("two addresses"));
        assert!(complaint("1.0.0.9,1.0.0.0,de").contains("ends before"));
        assert!(complaint("1.0.0.0,::1,de").contains("mixes"));
        assert!(complaint("1.0.0.0,1.0.0.9,de\n1.0.0.9,1.0.1.0,fr").starts_with("line 2"));
        assert!(Ranges::parse("").unwrap().country([1, 1, 1, 1].into()).is_none());
    }
}
