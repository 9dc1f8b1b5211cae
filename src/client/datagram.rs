//! UDP datagrams as raw IPv4 packets (RFC 791, RFC 768), for going out through a provider.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;

/// Largest packet that providers take.
pub const MAX_PACKET_BYTES: usize = 1100;

const IP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;

/// Largest payload of a datagram.
pub const MAX_PAYLOAD_BYTES: usize = MAX_PACKET_BYTES - IP_HEADER_BYTES - UDP_HEADER_BYTES;

const VERSION_AND_LENGTH: u8 = 0x45;
const HOPS: u8 = 64;
const UDP: u8 = 17;

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sends it.
    pub from: SocketAddrV4,
    /// To whom.
    pub to: SocketAddrV4,
    /// What it says.
    pub payload: Bytes,
}

impl Datagram {
    /// The packet; `None` when the payload is above [`MAX_PAYLOAD_BYTES`].
    pub fn encode(&self) -> Option<Bytes> {
        if self.payload.len() > MAX_PAYLOAD_BYTES {
            return None;
        }
        let udp_bytes = UDP_HEADER_BYTES + self.payload.len();
        // Both lengths are far below 64 KiB.
        let (total, length) = ((IP_HEADER_BYTES + udp_bytes) as u16, udp_bytes as u16);
        let mut packet = vec![0; IP_HEADER_BYTES];
        packet[0] = VERSION_AND_LENGTH;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[8] = HOPS;
        packet[9] = UDP;
        packet[12..16].copy_from_slice(&self.from.ip().octets());
        packet[16..20].copy_from_slice(&self.to.ip().octets());
        let checksum = !sum(&packet, 0);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend_from_slice(&self.from.port().to_be_bytes());
        packet.extend_from_slice(&self.to.port().to_be_bytes());
        packet.extend_from_slice(&length.to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
        packet.extend_from_slice(&self.payload);
        // Zero says that there is none; it is written as its other form.
        let checksum = match !self.udp_sum(&packet[IP_HEADER_BYTES..]) {
            0 => 0xffff,
            checksum => checksum,
        };
        packet[IP_HEADER_BYTES + 6..IP_HEADER_BYTES + 8].copy_from_slice(&checksum.to_be_bytes());
        Some(packet.into())
    }

    /// Reads a packet; `None` when it is anything but a whole UDP datagram over IPv4 with right checksums.
    pub fn decode(packet: &Bytes) -> Option<Self> {
        let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes(*packet.get(2..4)?.first_chunk()?));
        let is_fragment = u16::from_be_bytes(*packet.get(6..8)?.first_chunk()?) & 0x3fff != 0;
        let is_udp = packet[0] >> 4 == 4 && header_bytes >= IP_HEADER_BYTES && !is_fragment && *packet.get(9)? == UDP;
        if !is_udp || sum(packet.get(..header_bytes)?, 0) != 0xffff {
            return None;
        }
        let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..at + 4)?.first_chunk::<4>()?));
        let udp = packet.get(header_bytes..total)?;
        let word = |at: usize| Some(u16::from_be_bytes(*udp.get(at..at + 2)?.first_chunk()?));
        let length = usize::from(word(4)?);
        if length < UDP_HEADER_BYTES || length > udp.len() {
            return None;
        }
        let datagram = Self {
            from: SocketAddrV4::new(address(12)?, word(0)?),
            to: SocketAddrV4::new(address(16)?, word(2)?),
            payload: packet.slice(header_bytes + UDP_HEADER_BYTES..header_bytes + length),
        };
        let is_right = word(6)? == 0 || datagram.udp_sum(&udp[..length]) == 0xffff;
        is_right.then_some(datagram)
    }

    /// The sum over a datagram and the addresses it goes between.
    fn udp_sum(&self, udp: &[u8]) -> u16 {
        let [from, to] = [self.from.ip().octets(), self.to.ip().octets()];
        let around = sum(&[from, to].concat(), u32::from(UDP) + udp.len() as u32);
        sum(udp, u32::from(around))
    }
}

/// The sum of the Internet checksum (RFC 1071).
fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum = words.fold(start, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(payload: &[u8]) -> Datagram {
        Datagram {
            from: "169.254.2.1:4660".parse().unwrap(),
            to: "8.8.8.8:53".parse().unwrap(),
            payload: Bytes::copy_from_slice(payload),
        }
    }

    #[test]
    fn a_packet_is_as_the_standards_say() {
        let packet = datagram(b"hi!").encode().unwrap();
        assert_eq!(hex::encode(&packet), "4500001f000000004011bebfa9fe02010808080812340035000ba7f6686921");
    }

    #[test]
    fn what_is_no_whole_datagram_is_not_taken_for_one() {
        let good = datagram(b"hello").encode().unwrap();
        let with = |at: usize, byte: u8| {
            let mut packet = good.to_vec();
            packet[at] ^= byte;
            Bytes::from(packet)
        };
        for damaged in [with(0, 0x20), with(9, 1), with(6, 0x20), with(10, 1), with(24, 0x40), with(30, 1)] {
            assert_eq!(Datagram::decode(&damaged), None);
        }
        for end in 0..good.len() {
            assert_eq!(Datagram::decode(&good.slice(..end)), None, "{end}");
        }
        assert_eq!(datagram(&[0; MAX_PAYLOAD_BYTES + 1]).encode(), None);
        assert_eq!(datagram(&[0; MAX_PAYLOAD_BYTES]).encode().unwrap().len(), MAX_PACKET_BYTES);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(
            from: [u8; 4], to: [u8; 4], ports: (u16, u16), payload in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let datagram = Datagram {
                from: SocketAddrV4::new(from.into(), ports.0),
                to: SocketAddrV4::new(to.into(), ports.1),
                payload: payload.into(),
            };
            prop_assert_eq!(Datagram::decode(&datagram.encode().unwrap()), Some(datagram));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Datagram::decode(&bytes.into());
        }
    }
}
