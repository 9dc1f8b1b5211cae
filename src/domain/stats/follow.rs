//! Following the archive: settled contracts into the days, page by page.
//!
//! A page's rows and the place in the archive that they reach are one commit. Whatever happens between two of them,
//! the days say exactly what the archive says up to that place. The archive only grows at its end, and a row that is
//! seen before it is durable comes to disk before the commit that counts it, because the store keeps their order.

use std::ops::ControlFlow;

use super::rollup::Rollup;
use crate::domain::contract::record::{ARCHIVE, ARCHIVE_MARKS, ArchivePosition, COUNTED_UP_TO, Settled};
use crate::ids::{ClientId, ContractId};
use crate::store::table::TableValue;
use crate::store::{Commit, Store, StoreError, Version};

/// Rows after which a page is closed. Large, because many contracts share a row; small enough not to hold up the
/// ledger's own commits.
pub(super) const PAGE_ROWS: usize = 4096;

/// Archive rows read at once; each may hold a few hundred contracts.
const ARCHIVE_PAGE: usize = 32;

/// The next contracts of the archive, ready to be committed.
pub(super) struct Page {
    pub(super) commit: Commit,
    /// Provider and contract, for those who count what is not settled.
    pub(super) settled: Vec<(ClientId, ContractId)>,
    /// The archive goes on.
    pub(super) is_more: bool,
}

/// The place up to which the archive is counted, with the version of its row.
pub(super) fn counted_up_to(store: &dyn Store) -> Result<(Option<ArchivePosition>, Version), StoreError> {
    match store.get(&ARCHIVE_MARKS.key(&COUNTED_UP_TO))? {
        Some(row) => Ok((Some(ARCHIVE_MARKS.decode_value(&row.value)?), row.version)),
        None => Ok((None, Version::ABSENT)),
    }
}

/// Shows the archive behind a place, until it has seen enough.
pub(super) fn each_after(
    store: &dyn Store,
    position: Option<ArchivePosition>,
    mut see: impl FnMut(ArchivePosition, Vec<Settled>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let after = position.map(|position| ARCHIVE.key(&(position.hour, position.sequence)));
    ARCHIVE.each(store, &ARCHIVE.prefix(&()), after, ARCHIVE_PAGE, |(hour, sequence), blob| {
        see(ArchivePosition { hour, sequence }, blob.0)
    })
}

/// Counts on from where the last page ended; none at the end of the archive.
pub(super) fn next_page(store: &dyn Store, page_rows: usize) -> Result<Option<Page>, StoreError> {
    let (position, version) = counted_up_to(store)?;
    let (mut rollup, mut settled) = (Rollup::default(), Vec::new());
    let (mut reached, mut is_more) = (None, false);
    each_after(store, position, |at, contracts| {
        if rollup.row_count() >= page_rows {
            is_more = true;
            return ControlFlow::Break(());
        }
        for contract in &contracts {
            rollup.add(contract);
            let provider = super::rollup::parties(&contract.contract).map(|(provider, _)| provider);
            settled.extend(provider.map(|provider| (provider, contract.contract_id)));
        }
        reached = Some(at);
        ControlFlow::Continue(())
    })?;
    let Some(reached) = reached else { return Ok(None) };
    let mut writes = rollup.merge(store)?;
    let mark = ARCHIVE_MARKS.key(&COUNTED_UP_TO);
    writes.push((mark.clone(), Some(reached.encode().into())));
    Ok(Some(Page { commit: Commit { reads: vec![(mark, version)], writes }, settled, is_more }))
}
