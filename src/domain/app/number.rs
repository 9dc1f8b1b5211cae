//! Small numbers for things whose ids are too long for some apps: counted up, never used twice.

use serde::{Deserialize, Serialize};

use crate::domain::operation::Tx;
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;

/// The last number given, by what it was given to.
const LAST_NUMBERS: Table<u8, Number> = Table::new(77, "last_numbers");

/// What is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbered {
    /// Devices of the client API.
    Device = 1,
    /// Servers of the client API.
    Server = 2,
}

/// A number, where one is all there is to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number {
    /// The number.
    pub number: u32,
}
json_record!(Number, 1);

/// The next number, from 1 on.
pub(super) fn next(tx: &mut Tx<'_>, numbered: Numbered) -> Result<Number, StoreError> {
    let last = tx.get(&LAST_NUMBERS, &(numbered as u8))?.map_or(0, |last| last.number);
    // Four thousand million of either do not fit on a disk.
    let next = Number { number: last.saturating_add(1) };
    tx.put(&LAST_NUMBERS, &(numbered as u8), &next)?;
    Ok(next)
}
