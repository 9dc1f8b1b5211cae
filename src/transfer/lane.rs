//! What tells parallel sequences between the same two clients apart.

use crate::wire::messages::{Pack, SequenceRole};

/// Highest data lane a receiver understands; a pack on a higher one is dropped (`connect/transfer_logical_lane.go`).
pub const MAX_LOGICAL_LANE: u8 = 8;

/// The discriminators of a sequence as they stand on the wire. Sequences replace each other only within one lane; the
/// default lane has every field false or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The sender wants a stream (Pack field 10).
    pub force_stream: bool,
    /// The sender pays with a companion of the receiver's contract (Pack field 11).
    pub companion_contract: bool,
    /// 0, or a negotiated data lane up to [`MAX_LOGICAL_LANE`] (Pack field 12).
    pub logical_lane: u8,
    /// The sender answers in the server role of the session (TransferFrame field 7 is 2); absent and 1 are the same.
    pub server_role: bool,
    /// The companion bit of the session (TransferFrame field 8).
    pub session_companion: bool,
}

impl Lane {
    /// The lane of a received pack; `None` when its number is above [`MAX_LOGICAL_LANE`].
    pub(crate) fn of(pack: &Pack, session_role: Option<i32>, session_companion: Option<bool>) -> Option<Self> {
        let logical_lane = u8::try_from(pack.logical_lane).ok().filter(|lane| *lane <= MAX_LOGICAL_LANE)?;
        Some(Self {
            force_stream: pack.force_stream,
            companion_contract: pack.companion_contract,
            logical_lane,
            server_role: session_role == Some(SequenceRole::Server.into()),
            session_companion: session_companion.unwrap_or_default(),
        })
    }

    /// The lane on which to answer what came on this one. `companion_contract` says who pays: true makes it a reply
    /// under the sender's own contract.
    pub fn reply(self, companion_contract: bool) -> Self {
        Self { companion_contract, server_role: !self.server_role, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_role_and_the_client_role_share_a_lane() {
        let pack = Pack { force_stream: true, logical_lane: 8, ..Pack::default() };
        let absent = Lane::of(&pack, None, None).unwrap();
        assert_eq!(Lane::of(&pack, Some(1), Some(false)), Some(absent));
        assert_ne!(Lane::of(&pack, Some(2), None), Some(absent));
        assert_ne!(Lane::of(&pack, None, Some(true)), Some(absent));
    }

    #[test]
    fn a_lane_above_the_highest_is_none() {
        for logical_lane in [9, 256, u32::MAX] {
            assert_eq!(Lane::of(&Pack { logical_lane, ..Pack::default() }, None, None), None);
        }
    }

    #[test]
    fn a_reply_takes_the_other_role_and_keeps_the_rest() {
        let asked = Lane { force_stream: true, logical_lane: 3, ..Lane::default() };
        let reply = asked.reply(true);
        assert_eq!(reply, Lane { companion_contract: true, server_role: true, ..asked });
        assert_eq!(reply.reply(false), asked);
    }
}
