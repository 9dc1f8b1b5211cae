//! Balance codes that were bought: one for each purchase, whose secret is chosen before, so that it is not lost when a
//! crash falls between its making and its sending.

use super::Ledger;
use super::codes::{CancelOutcome, CodeRefusal, MadeCode, NewCodes, Secret};
use crate::domain::error::DomainError;

impl Ledger {
    /// Makes one code with this secret; a purchase that has its code gets no other.
    pub async fn create_code(
        &self,
        new: NewCodes,
        secret: Secret,
    ) -> Result<Result<MadeCode, CodeRefusal>, DomainError> {
        let new = NewCodes { count: 1, ..new };
        let made = self.run(move |state| state.create_codes(&new, vec![secret])).await?;
        Ok(made.and_then(|made| made.into_iter().next().ok_or(CodeRefusal::Malformed)))
    }

    /// Makes the code of a purchase worthless; the balance of a redeemed one ends now.
    pub async fn cancel_code_of(&self, purchase_event_id: String) -> Result<CancelOutcome, DomainError> {
        self.run(move |state| match state.code_of(&purchase_event_id) {
            Some(code) => state.cancel_code(code),
            None => CancelOutcome::Unknown,
        })
        .await
    }
}
