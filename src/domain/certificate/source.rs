//! Sources: the names under which certificates are given out. One is current, by `portal.current_source_id`; moving to
//! another makes every certificate of the one before worthless.

use super::record::{CERTIFICATES, SOURCES, SourceRecord};
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::UserId;

/// Certificates looked at in one transaction.
const PAGE: usize = 256;

/// Notes a source.
pub struct AddSource {
    /// Its name.
    pub source_id: String,
}

impl Operation for AddSource {
    /// Whether it is new.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        if tx.get(&SOURCES, &self.source_id)?.is_some() {
            return Ok(false);
        }
        tx.put(&SOURCES, &self.source_id, &SourceRecord { create_time: tx.now })?;
        Ok(true)
    }
}

/// The sources behind one, in the order of their names.
pub struct PageSources {
    /// The last one seen.
    pub after: Option<String>,
    /// Most to give.
    pub count: usize,
}

impl Operation for PageSources {
    type Output = Vec<(String, SourceRecord)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(tx.page_snapshot(&SOURCES, self.after.as_ref(), self.count)?)
    }
}

/// Where [`EndSource`] goes on.
pub(super) type Place = (UserId, String);

/// Cuts the transports of clients whose certificate is of a source that is not current any more, a page at a time.
pub(super) struct EndSource<'a> {
    pub(super) source_id: &'a str,
    pub(super) after: Option<Place>,
}

impl Operation for EndSource<'_> {
    /// Where to go on; `None` at the end.
    type Output = Option<Place>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Place>, DomainError> {
        let rows = tx.page_snapshot(&CERTIFICATES, self.after.as_ref(), PAGE)?;
        for (key, record) in &rows {
            if key.1 == self.source_id && record.revoke_time.is_none() {
                tx.effect(Effect::ProofEnded(record.client_id));
            }
        }
        let is_more = rows.len() == PAGE;
        Ok(rows.into_iter().next_back().map(|(key, _)| key).filter(|_| is_more))
    }
}
