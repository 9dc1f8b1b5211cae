//! Gathers what is to be acked in one lane: the newest delivery covers all before it, held packs are named one by one.

use std::time::Duration;

use super::outgoing::OutgoingAck;
use crate::ids::{ContractId, MessageId, SequenceId};
use crate::time::Timestamp;

/// Selective acks and contract requests gathered at once, at most; what finds no room is sent again by the peer.
const MAX_GATHERED: usize = 256;

/// One message to ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckOf {
    pub(crate) message_id: MessageId,
    pub(crate) sequence_number: u64,
    /// The send time to echo.
    pub(crate) sent_millis: Option<u64>,
}

/// The acks of one sequence that have not left yet.
#[derive(Debug, Default)]
pub(crate) struct AckWindow {
    cumulative: Option<AckOf>,
    selective: Vec<AckOf>,
    missing: Vec<(MessageId, ContractId)>,
    due: Option<Timestamp>,
}

impl AckWindow {
    /// Everything up to `of` is delivered.
    pub(crate) fn deliver(&mut self, now: Timestamp, delay: Duration, of: AckOf) {
        if self.cumulative.is_none_or(|known| known.sequence_number < of.sequence_number) {
            self.cumulative = Some(of);
            self.selective.retain(|held| held.sequence_number > of.sequence_number);
        }
        self.due.get_or_insert(now + delay);
    }

    /// `of` is held out of order.
    pub(crate) fn hold(&mut self, now: Timestamp, delay: Duration, of: AckOf) {
        match self.selective.iter().position(|known| known.sequence_number == of.sequence_number) {
            Some(at) => self.selective[at] = of,
            None if self.selective.len() < MAX_GATHERED => self.selective.push(of),
            None => return,
        }
        self.due.get_or_insert(now + delay);
    }

    /// The pack names a contract that is unknown here. Leaves at once: the sender waits.
    pub(crate) fn ask_for_contract(&mut self, now: Timestamp, message_id: MessageId, contract_id: ContractId) {
        if self.missing.len() < MAX_GATHERED && !self.missing.contains(&(message_id, contract_id)) {
            self.missing.push((message_id, contract_id));
        }
        self.due = Some(now);
    }

    /// What is gathered leaves at once.
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// Gives back the memory of acks that have left.
    pub(crate) fn shrink(&mut self) {
        self.selective.shrink_to_fit();
        self.missing.shrink_to_fit();
    }

    /// When the gathered acks must leave.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// The gathered acks, once due. `advertises` sets the capabilities of the receiver.
    pub(crate) fn take(&mut self, now: Timestamp, sequence_id: SequenceId, advertises: bool) -> Vec<OutgoingAck> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let ack = |message_id: MessageId, sent_millis: Option<u64>| OutgoingAck {
            message_id,
            sequence_id,
            selective: false,
            sent_millis,
            missing_contract_id: None,
            advertises,
        };
        let cumulative = self.cumulative.take().map(|of| ack(of.message_id, of.sent_millis));
        let selective =
            self.selective.drain(..).map(|of| OutgoingAck { selective: true, ..ack(of.message_id, of.sent_millis) });
        let missing = self.missing.drain(..).map(|(message_id, contract_id)| OutgoingAck {
            missing_contract_id: Some(contract_id),
            ..ack(message_id, None)
        });
        cumulative.into_iter().chain(selective).chain(missing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;

    const DELAY: Duration = Duration::from_millis(10);
    const NOW: Timestamp = Timestamp::from_secs(1000);
    const SEQUENCE: SequenceId = SequenceId::new([9; 16]);

    fn of(number: u64) -> AckOf {
        let message_id = MessageId::from_bytes([number as u8; 16]);
        AckOf { message_id, sequence_number: number, sent_millis: Some(number) }
    }

    fn taken(window: &mut AckWindow) -> Vec<(u8, bool)> {
        let acks = window.take(NOW + DELAY, SEQUENCE, false);
        acks.iter().map(|ack| (ack.message_id.as_bytes()[0], ack.selective)).collect()
    }

    #[test]
    fn one_ack_covers_all_that_was_delivered_in_time() {
        let mut window = AckWindow::default();
        for number in [1, 2, 3, 2] {
            window.deliver(NOW, DELAY, of(number));
        }
        assert_eq!(window.due(), Some(NOW + DELAY));
        assert!(window.take(NOW, SEQUENCE, false).is_empty());
        assert_eq!(taken(&mut window), [(3, false)]);
        assert_eq!(window.due(), None);
        assert!(taken(&mut window).is_empty());
    }

    #[test]
    fn held_packs_are_named_until_a_delivery_covers_them() {
        let mut window = AckWindow::default();
        for number in [5, 7, 5] {
            window.hold(NOW, DELAY, of(number));
        }
        window.deliver(NOW, DELAY, of(6));
        assert_eq!(taken(&mut window), [(6, false), (7, true)]);
    }

    #[test]
    fn a_missing_contract_is_asked_for_at_once() {
        let mut window = AckWindow::default();
        window.deliver(NOW, DELAY, of(1));
        window.ask_for_contract(NOW, of(2).message_id, ContractId::new([4; 16]));
        let acks = window.take(NOW, SEQUENCE, true);
        assert_eq!(acks.len(), 2);
        assert_eq!(acks[1].missing_contract_id, Some(ContractId::new([4; 16])));
        assert!(acks.iter().all(|ack| ack.advertises));
    }

    #[test]
    fn what_is_gathered_is_bounded() {
        let mut window = AckWindow::default();
        for number in 0..10_000 {
            window.hold(NOW, DELAY, of(number));
            let message_id = MessageId::from_bytes(u128::from(number).to_be_bytes());
            window.ask_for_contract(NOW, message_id, ContractId::default());
        }
        assert!(window.take(NOW, SEQUENCE, false).len() <= 2 * MAX_GATHERED);
    }
}
