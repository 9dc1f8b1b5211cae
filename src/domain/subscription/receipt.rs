//! Receipts of the stores of phones, as a phone hands them in: base64, in one piece.

use futures_util::future::BoxFuture;

use super::plan::PlanType;
use super::record::ReceiptType;
use crate::domain::error::DomainError;
use crate::domain::purchase::store_report::Receipt;
use crate::time::Timestamp;

/// Longest receipt that is looked at.
pub const MAX_RECEIPT_BYTES: usize = 256 << 10;

/// Receipts of the stores' own test suites, which prove nothing.
pub const TEST_RECEIPTS: [&str; 2] = ["1000000386259702", "GPA.3330-7836-8005-98670"];

/// What a store says of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReceipt {
    /// Which store.
    pub receipt_type: ReceiptType,
    /// What users know it by.
    pub receipt_id: String,
    /// The plan.
    pub plan: PlanType,
    /// The period that is paid.
    pub period: Receipt,
    /// Whether it is only tried.
    pub in_trial: bool,
    /// Whether it goes on after the period.
    pub renews: bool,
    /// When the store took it back.
    pub cancellation: Option<Timestamp>,
    /// What to ask the store with later; none when it need not be asked.
    pub proof: Option<String>,
}

/// Why a receipt counts for nothing. Each has a number that clients know.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptProblem {
    /// 5: there is none.
    #[error("Missing receipt.")]
    Missing,
    /// 9: Apple's, without a subscription or with a field missing.
    #[error("Invalid iOS receipt: {0}.")]
    Apple(String),
    /// 10: Apple answered with an error.
    #[error("Apple refuses the receipt: {0}.")]
    AppleRefuses(String),
    /// 995: Apple answered with an error that a retry cannot cure.
    #[error("Apple refuses the receipt for good: {0}.")]
    AppleFinal(String),
    /// 49: Apple's, of a product that is not sold here.
    #[error("Unrecognized product ID in the iOS receipt: {0}.")]
    AppleProduct(String),
    /// 57: of a store's own test suite.
    #[error("A receipt of the test suite cannot be used here.")]
    TestSuite,
    /// 62: Google's token is no longer valid.
    #[error("Invalid purchase token.")]
    TokenGone,
    /// 63: Google's, with a wrong signature.
    #[error("The Android receipt does not match its signature.")]
    Signature,
    /// 64: the purchase failed on the phone.
    #[error("The Android purchase failed with response code {0}.")]
    PhoneFailed(String),
    /// 65: Google's, not to be decoded.
    #[error("The Android receipt cannot be decoded.")]
    Undecodable,
    /// 66: Google's, with a field missing, or of another app.
    #[error("The Android receipt is wrong: {0}.")]
    Field(String),
    /// 67: not paid yet.
    #[error("The payment has not been received yet.")]
    Pending,
    /// 68: Google's, of a product that is not sold here.
    #[error("Invalid Android product ID: {0}.")]
    GoogleProduct(String),
    /// 69: Google knows it by another order id.
    #[error("The order ID of the receipt is not the verified one.")]
    Order,
    /// 26: it belongs to somebody else.
    #[error("No such subscription.")]
    NotTheirs,
    /// The store does not answer, or is not configured; the cause is in the log.
    #[error("The store cannot be reached. Try again later.")]
    Unreachable,
    /// The server itself.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

impl ReceiptProblem {
    /// The number that clients know; none for what is not the receipt's fault.
    pub fn code(&self) -> Option<i32> {
        Some(match self {
            Self::Missing => 5,
            Self::Apple(_) => 9,
            Self::AppleRefuses(_) => 10,
            Self::NotTheirs => 26,
            Self::AppleProduct(_) => 49,
            Self::TestSuite => 57,
            Self::TokenGone => 62,
            Self::Signature => 63,
            Self::PhoneFailed(_) => 64,
            Self::Undecodable => 65,
            Self::Field(_) => 66,
            Self::Pending => 67,
            Self::GoogleProduct(_) => 68,
            Self::Order => 69,
            Self::AppleFinal(_) => 995,
            Self::Unreachable | Self::Domain(_) => return None,
        })
    }

    /// Whether asking again later is of no use.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::TokenGone | Self::AppleFinal(_))
    }
}

/// Checks the receipts of a store.
pub trait ReceiptVerifier: Send + Sync + 'static {
    /// What a receipt is, as a phone handed it in.
    fn verify(&self, receipt: String, now: Timestamp) -> BoxFuture<'_, Result<StoreReceipt, ReceiptProblem>>;

    /// How a plan stands now, by the proof that an earlier receipt left.
    fn look_again(&self, proof: String, now: Timestamp) -> BoxFuture<'_, Result<StoreReceipt, ReceiptProblem>>;

    /// Tells the store that what it sold was delivered; some pay back what is not.
    fn acknowledge(&self, _: StoreReceipt) -> BoxFuture<'_, Result<(), ReceiptProblem>> {
        Box::pin(async { Ok(()) })
    }
}
