//! The part of an address that stands for one user: what limits and "same place" questions compare.

use std::net::IpAddr;

/// An address masked to /29 (IPv4) or /56 (IPv6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressBucket(u128);

impl AddressBucket {
    /// The bucket of an address; IPv4 inside IPv6 counts as IPv4.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self((0xffff << 32) | u128::from(u32::from(address) & !0x7)),
            IpAddr::V6(address) => Self(u128::from(address) & !((1 << 72) - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> AddressBucket {
        AddressBucket::of(text.parse().unwrap())
    }

    #[test]
    fn neighbours_share_a_bucket() {
        assert_eq!(bucket("203.0.113.8"), bucket("203.0.113.15"));
        assert_ne!(bucket("203.0.113.7"), bucket("203.0.113.8"));
        assert_eq!(bucket("::ffff:203.0.113.9"), bucket("203.0.113.8"));
        assert_eq!(bucket("2001:db8:1:100::1"), bucket("2001:db8:1:1ff::2"));
        assert_ne!(bucket("2001:db8:1:100::1"), bucket("2001:db8:1:200::1"));
    }
}
